from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import safetensors as make
from tests.support.loopback_http import Reply, Request, serve
from tests.support.model_store import fetch, leftovers, ranged, store
from tests.support.ports import free_port
from tests.support.servers.s3 import Store, running_store
from worker.contract.types.model_ref import ModelRef
from worker.default_checkpoint import checkpoint
from worker.errors import DownloadFailed, DownloadRefused, HashMismatch, ModelNotFound
from worker.jobs.prepare.resolved_models import ResolvedModel, left_open
from worker.models.download.download_errors import fetch_error
from worker.models.format.safetensors import BrokenHeader
from worker.models.sources.civitai_listing import UnknownModel, read_answer
from worker.models.sources.references import locate
from worker.models.sources.s3_file import S3Source
from worker.models.store import ModelStore
from worker.models.volume.hf_cache import only_cached
from worker.net.fetch import FetchLimits
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = make.safetensors(make.SDXL_LORA, pad_to=6_000_000)
SHA = hashlib.sha256(BODY).hexdigest()
VERSION = {
    "id": 77,
    "modelId": 5,
    "baseModel": "Pony",
    "trainedWords": ["ohwx", "style"],
    "files": [
        {"name": "pretty.safetensors", "type": "Model", "primary": True, "hashes": {"SHA256": SHA.upper()},
         "metadata": {"fp": "fp16", "size": "pruned", "format": "SafeTensor"}},
        {"name": "notes.zip", "type": "Archive", "hashes": {"SHA256": "00" * 32}},
    ],
}  # fmt: skip


def _json(data: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(data).encode(), {"Content-Type": "application/json"})


def _civitai(request: Request, *, version: Any = VERSION, body: bytes = BODY) -> Reply:
    if request.headers.get("authorization") != "Bearer sesame":
        return Reply(401)
    if request.path == "/api/v1/model-versions/77":
        return _json(version)
    if request.path == "/api/v1/models/5":
        return _json({"id": 5, "modelVersions": [version, {"id": 66}]})
    if request.path == "/api/download/models/77":
        return Reply(302, headers={"Location": "/blob"})
    return ranged(request, body) if request.path == "/blob" else Reply(404)


def _fetch(root: Path, script: Any, ref: ModelRef, **options: Any) -> Any:
    with serve(script) as server:
        where = store(root, server.url, **options)
        try:
            return asyncio.run(fetch(where, ref))
        finally:
            where.close()


TOKEN = {"civitai_token": "sesame"}


def test_a_civitai_version_brings_its_name_base_and_words(tmp_path: Path) -> None:
    model = _fetch(tmp_path, _civitai, ModelRef(name="civitai:77"), sources=TOKEN)
    assert (model.name, model.base_model, model.trigger_words) == ("pretty-77", "SDXL (Pony)", ("ohwx", "style"))
    assert model.sha256 == SHA


@pytest.mark.parametrize(
    "reference",
    ["civitai:5@77", "https://civitai.com/models/5?modelVersionId=77", "urn:air:sdxl:lora:civitai:5@77", "77",
     "https://civitai.com/api/download/models/77"],
)  # fmt: skip
def test_all_forms_of_a_civitai_version_are_one_file(tmp_path: Path, reference: str) -> None:
    with serve(_civitai) as server:
        where = store(tmp_path, server.url, sources=TOKEN)
        first = asyncio.run(fetch(where, ModelRef(name="civitai:77")))
        count = len(server.seen)
        assert asyncio.run(fetch(where, ModelRef(name=reference))).path == first.path
        assert len(server.seen) == count
        where.close()


def test_the_newest_version_of_a_civitai_model_is_also_found_as_that_version(tmp_path: Path) -> None:
    with serve(_civitai) as server:
        where = store(tmp_path, server.url, sources=TOKEN)
        first = asyncio.run(fetch(where, ModelRef(name="https://civitai.com/models/5")))
        count = len(server.seen)
        assert asyncio.run(fetch(where, ModelRef(name="civitai:77"))).path == first.path
        assert len(server.seen) == count
        where.close()


PRUNED, FULL, UNET = (make.safetensors(make.SDXL_LORA, pad_to=1_000_000, fill=fill) for fill in (b"a", b"b", b"c"))


def _file(number: int, body: bytes, **facts: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"f{number}.safetensors",
        "hashes": {"SHA256": hashlib.sha256(body).hexdigest()},
        **facts,
    }


FILES: list[tuple[int, bytes, dict[str, Any]]] = [
    (101, PRUNED, {"type": "Model", "primary": True, "metadata": {"size": "pruned"}}),
    (102, FULL, {"type": "Model", "metadata": {"size": "full"}}),
    (103, UNET, {"type": "UNet", "metadata": {}}),
]


def _several(request: Request, *, gone: str = "nothing") -> Reply:
    """A site with three files of one version; a download without the file's id gives the primary one."""
    if request.path == "/api/v1/model-versions/40":
        return _json({"id": 40, "modelId": 4, "files": [_file(number, body, **facts) for number, body, facts in FILES]})
    if request.path != "/api/download/models/40" or request.query == gone:
        return Reply(404)
    asked = dict(pair.split("=") for pair in request.query.split("&") if pair)
    return ranged(request, next((body for number, body, _ in FILES if str(number) == asked.get("fileId")), PRUNED))


@pytest.mark.parametrize(
    ("reference", "body"),
    [
        ("https://civitai.com/api/download/models/40?fileId=102", FULL),
        ("civitai:40?fileId=103", UNET),
        ("https://civitai.com/models/4?modelVersionId=40&fileId=102", FULL),
        ("civitai:40?fileId=101", PRUNED),
        ("civitai:40", PRUNED),
    ],
)
def test_exactly_the_file_with_the_id_comes_and_is_proved_by_its_own_hash(
    tmp_path: Path, reference: str, body: bytes
) -> None:
    model = _fetch(tmp_path, _several, ModelRef(name=reference))
    assert model.path.read_bytes() == body


def test_files_of_one_version_lie_beside_each_other_and_are_told_apart(tmp_path: Path) -> None:
    with serve(_several) as server:
        where = store(tmp_path, server.url)
        names = ("civitai:40", "civitai:40?fileId=102", "civitai:40?fileId=103")
        models = [asyncio.run(fetch(where, ModelRef(name=name))) for name in names]
        assert [model.path.read_bytes() for model in models] == [PRUNED, FULL, UNET]
        assert [asyncio.run(fetch(where, ModelRef(name=name))).path for name in names] == [m.path for m in models]
        where.close()


def test_a_file_id_that_the_version_lacks_is_an_error_that_names_its_files(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"fileId=101.*fileId=102"):
        _fetch(tmp_path, _several, ModelRef(name="civitai:40?fileId=999"))


def test_half_a_query_that_leaves_out_the_primary_file_is_an_error_that_names_what_it_fits(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        if request.path != "/api/v1/model-versions/40":
            return ranged(request, PRUNED)
        files = [_file(number, PRUNED, type=kind) for number, kind in ((101, "Model"), (102, "UNet"), (103, "UNet"))]
        return _json({"id": 40, "modelId": 4, "files": [{**files[0], "primary": True}, *files[1:]]})

    with pytest.raises(ModelNotFound, match=r"fits 'f102\.safetensors' \(UNet, fileId=102\), .*fileId=103"):
        _fetch(tmp_path, script, ModelRef(name="civitai:40?type=UNet"))


def test_half_a_query_gives_the_primary_file_proved_and_kept_once(tmp_path: Path) -> None:
    with serve(_several) as server:
        where = store(tmp_path, server.url)
        reference = ModelRef(name="https://civitai.com/api/download/models/40?type=Model")
        half = asyncio.run(fetch(where, reference))
        whole = asyncio.run(fetch(where, ModelRef(name="civitai:40")))
        exact = asyncio.run(fetch(where, ModelRef(name="civitai:40?fileId=103")))
        where.close()
    assert half.path == whole.path
    assert half.name.startswith("f101-")
    assert half.path.read_bytes() == PRUNED
    asked = [
        ResolvedModel("loras[0]", reference, "lora", half),
        ResolvedModel("loras[1]", ModelRef(name="civitai:40"), "lora", whole),
        ResolvedModel("loras[2]", ModelRef(name="civitai:40?fileId=103"), "lora", exact),
    ]
    assert len(list((tmp_path / "loras").glob("f101-*.safetensors"))) == 1
    (warning,) = left_open(asked)
    assert warning.startswith("loras[0]: the query fits 'f101.safetensors' (Model, fileId=101), 'f102.safetensors'")


def test_a_query_that_the_site_has_no_file_for_falls_back_to_the_files_id(tmp_path: Path) -> None:
    reference = "https://civitai.com/api/download/models/40?type=UNet"
    model = _fetch(tmp_path, lambda request: _several(request, gone="type=UNet"), ModelRef(name=reference))
    assert model.path.read_bytes() == UNET


def test_where_nothing_helps_the_error_says_which_files_there_are(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        return Reply(404) if "download" in request.path else _several(request)

    with pytest.raises(ModelNotFound, match=r"the version has 'f101\.safetensors'"):
        _fetch(tmp_path, script, ModelRef(name="civitai:40"))


def test_a_version_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="belongs to the model 4"):
        _fetch(tmp_path, _several, ModelRef(name="civitai:9@40"))


def test_a_token_that_was_sent_is_not_asked_for_again_and_the_site_is_quoted(tmp_path: Path) -> None:
    def script(_: Request) -> Reply:
        return _json({"error": "Unauthorized", "message": "The creator of this asset requires you to be a member"}, 403)

    with pytest.raises(DownloadRefused, match="requires you to be a member") as caught:
        _fetch(tmp_path, script, ModelRef(name="civitai:40"), sources=TOKEN)
    assert "A token was sent" in (caught.value.hint or "")
    assert "CIVITAI_API_KEY" not in (caught.value.hint or "")


def test_a_signed_address_that_ends_midway_is_retryable_and_what_came_is_kept(tmp_path: Path) -> None:
    served: list[str] = []

    def elsewhere(request: Request) -> Reply:
        served.append(request.headers.get("range", ""))
        return ranged(request, BODY) if len(served) == 1 else Reply(403)

    with serve(elsewhere) as storage:

        def front(request: Request) -> Reply:
            if request.path.startswith("/api/v1"):
                return Reply(404)
            return Reply(302, headers={"Location": f"{storage.url}/blob"})

        with serve(front) as server:
            where = store(tmp_path, server.url, sources=TOKEN)
            with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1 answered HTTP 403 in the middle") as caught:
                asyncio.run(fetch(where, ModelRef(name="civitai:40")))
            assert caught.value.retryable
            assert leftovers(tmp_path)
            served.clear()
            where.close()
    assert "Try again" in (caught.value.hint or "")


def test_a_jobs_own_token_is_used_for_its_model(tmp_path: Path) -> None:
    ref = ModelRef.model_validate({"name": "civitai:77", "token": "sesame"})
    assert _fetch(tmp_path, _civitai, ref).sha256 == SHA
    assert "sesame" not in (tmp_path / "cache_registry.json").read_text()


def test_a_civitai_model_without_a_token_says_which_one_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DownloadRefused) as caught:
        _fetch(tmp_path, _civitai, ModelRef(name="civitai:77"))
    assert "CIVITAI_API_KEY" in (caught.value.hint or "")


def test_an_unknown_civitai_id_is_not_found(tmp_path: Path) -> None:
    for name in ("civitai:88", "https://civitai.com/models/9"):
        with pytest.raises(ModelNotFound):
            _fetch(tmp_path, _civitai, ModelRef(name=name), sources=TOKEN)


def test_a_download_that_is_not_what_civitai_says_is_not_kept(tmp_path: Path) -> None:
    other = make.safetensors(make.SDXL_LORA)
    with pytest.raises(HashMismatch):
        _fetch(tmp_path, lambda r: _civitai(r, body=other), ModelRef(name="civitai:77"), sources=TOKEN)


def test_without_the_sites_word_a_version_is_fetched_all_the_same(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        return Reply(404) if request.path.startswith("/api/v1") else _civitai(request)

    assert _fetch(tmp_path, script, ModelRef(name="civitai:77"), sources=TOKEN).name.endswith("-77")


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"files": 3}, {"files": [None, {"hashes": []}]}, {"trainedWords": {}}]
)
def test_an_odd_answer_of_civitai_is_worth_nothing_but_does_no_harm(answer: Any) -> None:
    assert read_answer(answer, version=7).sha256 is None
    with pytest.raises(UnknownModel):
        read_answer(answer, version=None, model=7)


def test_the_hash_is_taken_only_of_the_file_that_the_download_gives() -> None:
    assert read_answer(VERSION, version=77).sha256 == SHA
    assert read_answer(VERSION, version=77, choices=(("fp", "fp16"), ("type", "Model"))).sha256 == SHA
    assert read_answer(VERSION, version=77, choices=(("fp", "fp32"),)).sha256 is None


# Hugging Face

COMMIT = "c" * 40


def _hub(request: Request, *, body: bytes = BODY, sha: str = SHA) -> Reply:
    if request.path == "/org/private/resolve/main/x.safetensors":
        if request.headers.get("authorization") != "Bearer sesame":
            return Reply(403, headers={"X-Error-Code": "GatedRepo"})
    elif request.path not in {f"/org/repo/resolve/{name}/x.safetensors" for name in ("main", COMMIT, "v2")}:
        return Reply(404, headers={"X-Error-Code": "EntryNotFound"})
    headers = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(body))}
    if request.method == "HEAD":
        return Reply(headers={**headers, "Content-Length": str(len(body)), "ETag": f'"{sha}"'}, body=body)
    return ranged(request, body, headers=headers, etag=f'"{sha}"')


@pytest.mark.parametrize("by_hub", [False, True])
def test_a_hugging_face_file_is_fetched_and_checked(tmp_path: Path, *, by_hub: bool) -> None:
    ref = ModelRef(name="hf:org/repo/x.safetensors")
    model = _fetch(tmp_path, _hub, ref, sources={"by_hub": lambda _: by_hub})
    assert model.path.read_bytes() == BODY
    assert model.sha256 == SHA
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("by_hub", [False, True])
def test_a_hugging_face_file_of_another_hash_is_not_kept(tmp_path: Path, *, by_hub: bool) -> None:
    with pytest.raises(HashMismatch):
        _fetch(
            tmp_path,
            lambda request: _hub(request, sha="ab" * 32),
            ModelRef(name="hf:org/repo/x.safetensors"),
            sources={"by_hub": lambda _: by_hub},
        )
    assert leftovers(tmp_path) == []


def test_a_revision_is_another_file(tmp_path: Path) -> None:
    with serve(_hub) as server:
        where = store(tmp_path, server.url)
        main = asyncio.run(fetch(where, ModelRef(name="hf:org/repo/x.safetensors")))
        branch = asyncio.run(fetch(where, ModelRef(name="hf:org/repo/x.safetensors", revision="v2")))
        where.close()
    assert main.path != branch.path


def test_a_gated_repository_says_what_to_accept(tmp_path: Path) -> None:
    with pytest.raises(DownloadRefused) as caught:
        _fetch(tmp_path, _hub, ModelRef(name="hf:org/private/x.safetensors"))
    assert "HF_TOKEN" in (caught.value.hint or "")
    assert "org/private" in (caught.value.hint or "")


def test_an_unknown_file_of_a_repository_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        _fetch(tmp_path, _hub, ModelRef(name="hf:org/repo/y.safetensors"))


def test_where_the_hubs_library_fails_the_file_comes_by_ranges(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        plain = "range" not in request.headers and request.method == "GET"  # as the library asks for all of it
        return Reply(500) if plain else _hub(request)

    model = _fetch(tmp_path, script, ModelRef(name="hf:org/repo/x.safetensors"), sources={"by_hub": lambda _: True})
    assert model.sha256 == SHA
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("ref", ["hf:org/repo/x.safetensors", "civitai:model/5"])
def test_a_source_that_is_busy_when_it_is_asked_about_a_file_is_asked_again(tmp_path: Path, ref: str) -> None:
    asked: list[float] = []

    def script(request: Request) -> Reply:
        asked.append(time.monotonic())
        if len(asked) == 1:
            return Reply(429, headers={"Retry-After": "1"})
        return _civitai(request) if ref.startswith("civitai") else _hub(request)

    assert _fetch(tmp_path, script, ModelRef(name=ref), sources=TOKEN).sha256 == SHA
    assert asked[1] - asked[0] >= 1


@pytest.mark.parametrize("ref", ["hf:org/repo/x.safetensors", "civitai:model/5"])
def test_a_source_that_stays_busy_says_when_to_come_back(tmp_path: Path, ref: str) -> None:
    with pytest.raises(DownloadFailed) as caught:
        _fetch(tmp_path, lambda _: Reply(429, headers={"Retry-After": "3600"}), ModelRef(name=ref), sources=TOKEN)
    assert caught.value.details["retry_after_s"] == 3600


def test_a_hub_that_is_down_is_no_fault_of_the_client(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed):
        _fetch(tmp_path, lambda _: Reply(503), ModelRef(name="hf:org/repo/x.safetensors"))


def test_a_hub_that_can_not_be_reached_is_a_failed_download_not_a_defect(tmp_path: Path) -> None:
    where = store(tmp_path / "models", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(DownloadFailed) as caught:
        asyncio.run(fetch(where, ModelRef(name="hf:org/repo/x.safetensors")))
    assert "could not be reached" in caught.value.message


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_file_in_the_hubs_cache_is_used_in_place(tmp_path: Path, revision: str | None) -> None:
    hub = tmp_path / "huggingface-cache/hub/models--org--repo"
    cached = hub / "snapshots" / COMMIT / "x.safetensors"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(BODY)
    (hub / "refs").mkdir()
    (hub / "refs/main").write_text(COMMIT)
    where = store(tmp_path / "models", "http://127.0.0.1:9", hf_caches=[tmp_path / "huggingface-cache/hub"])
    model = where.find(ModelRef(name="hf:org/repo/x.safetensors", revision=revision), "lora")
    assert model is not None
    assert model.path.parent == tmp_path / "models/loras"
    assert model.path.resolve() == cached
    assert asyncio.run(fetch(where, ModelRef(name="hf:org/repo/x.safetensors", revision=revision))).path == model.path
    where.close()


def _put_in_cache(caches: Path, repo: str, files: dict[str, dict[str, list[int]]]) -> None:
    hub = caches / f"models--{repo.replace('/', '--')}"
    for name, tensors in files.items():
        make.write(hub / "snapshots" / COMMIT / name, tensors)
    (hub / "refs").mkdir()
    (hub / "refs/main").write_text(COMMIT)


@pytest.mark.parametrize("name", ["org/sdxl", "Org/SDXL", "hf:org/sdxl", "big_one", "big one.safetensors"])
def test_a_cached_repository_serves_as_checkpoint_by_name(tmp_path: Path, name: str) -> None:
    caches = tmp_path / "cache"
    _put_in_cache(caches, "org/sdxl", {"big_one.safetensors": make.SDXL_CHECKPOINT, "vae.safetensors": make.VAE})
    where = store(tmp_path / "models", "http://127.0.0.1:9", hf_caches=[caches])
    model = where.find(ModelRef(name=name), "checkpoint")
    where.close()
    assert model is not None
    assert (model.name, model.base_model) == ("big_one", "SDXL")


def test_a_cached_repository_with_several_checkpoints_means_none_and_says_which(tmp_path: Path) -> None:
    caches = tmp_path / "cache"
    files = {"one.safetensors": make.SDXL_CHECKPOINT, "two.safetensors": make.SDXL_CHECKPOINT}
    _put_in_cache(caches, "org/sdxl", files)
    where = store(tmp_path / "models", "http://127.0.0.1:9", hf_caches=[caches])
    assert where.find(ModelRef(name="org/sdxl"), "checkpoint") is None
    assert only_cached("checkpoint", [caches]) is None
    two = where.find(ModelRef(name="two"), "checkpoint")
    with pytest.raises(ModelNotFound, match="did you mean 'one'"):
        asyncio.run(fetch(where, ModelRef(name="ones"), "checkpoint"))
    where.close()
    assert two is not None


def test_the_only_cached_checkpoint_is_what_a_worker_without_models_starts_with(tmp_path: Path) -> None:
    caches = tmp_path / "cache"
    _put_in_cache(caches, "org/sdxl", {"big_one.safetensors": make.SDXL_CHECKPOINT})
    where = store(tmp_path / "models", "http://127.0.0.1:9", hf_caches=[caches])
    chosen = checkpoint(where.settings, lambda: where, demo=False)
    where.close()
    assert chosen == tmp_path / "models/checkpoints/big_one.safetensors"


def _repository(request: Request) -> Reply:
    files = [{"rfilename": name} for name in ("README.md", "sub/a.safetensors", "b.ckpt")]
    if request.path in {"/api/models/org/repo", "/api/models/org/repo/revision/main"}:
        return _json({"id": "org/repo", "siblings": files, "sha": COMMIT})
    if request.path.startswith("/api/models/org/repo/tree"):
        return _json([{"type": "file", "path": each["rfilename"], "size": 1, "oid": "0" * 40} for each in files])
    return Reply(404)


def test_a_repository_without_a_file_is_refused_with_its_files(tmp_path: Path) -> None:
    with pytest.raises(DownloadRefused, match=r"b\.ckpt, sub/a\.safetensors") as caught:
        _fetch(tmp_path, _repository, ModelRef(name="hf:org/repo"))
    assert "hf:org/repo/<file>" in (caught.value.hint or "")
    assert "README" not in caught.value.message


@pytest.mark.parametrize(("setting", "sent"), [({}, False), ({"HF_ENDPOINT_TOKEN": "true"}, True)])
def test_a_mirror_is_asked_in_the_place_of_the_hub(tmp_path: Path, setting: dict[str, str], *, sent: bool) -> None:
    with serve(_hub) as server:
        environment = {"MODELS_DIR": str(tmp_path), "HF_ENDPOINT": server.url, "HF_TOKEN": "sesame", **setting}
        where = ModelStore(read_settings(environment), hf_caches=())
        model = asyncio.run(fetch(where, ModelRef(name="https://huggingface.co/org/repo/resolve/main/x.safetensors")))
        where.close()
        assert model.sha256 == SHA
        assert {"Bearer sesame" in request.headers.get("authorization", "") for request in server.seen} == {sent}
        assert not [request.path for request in server.seen if request.path.startswith("/api/")]


def test_a_mirror_that_is_down_is_named(tmp_path: Path) -> None:
    place = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1 could not be reached"):
        _fetch_from(tmp_path, place, ModelRef(name="hf:org/repo/x.safetensors"))


def _fetch_from(root: Path, url: str, ref: ModelRef) -> Any:
    where = store(root, url)
    try:
        return asyncio.run(fetch(where, ref))
    finally:
        where.close()


# plain addresses


def test_a_source_without_a_tag_is_read_over_one_connection(tmp_path: Path) -> None:
    big = make.safetensors(make.SDXL_LORA, pad_to=12_000_000, fill=bytes(range(251)))
    with serve(lambda request: ranged(request, big, etag=None)) as server:
        where = store(tmp_path, server.url)
        model = asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors")))
        where.close()
        assert model.path.read_bytes() == big
        whole = [request for request in server.seen if request.headers["range"] == f"bytes=0-{len(big) - 1}"]
        assert len(whole) == 1
        assert len(server.seen) == 2  # the first asks for the beginning alone


@pytest.mark.parametrize(
    ("url", "way_out"),
    [
        ("https://drive.google.com/uc?export=download&id=1", "Google Drive"),
        ("https://www.dropbox.com/s/x/y.safetensors?dl=0", "dl=1"),
        ("https://drive.usercontent.google.com/download?id=1", "Google Drive"),
        ("https://1drv.ms/u/x", "download button"),
        ("https://mega.nz/file/x", "MEGA"),
        ("https://civitai.red/user/x", "civitai:<version id>"),
        ("https://github.com/o/r/blob/main/x.safetensors", "raw.githubusercontent.com"),
        ("https://huggingface.co/datasets/o/r", "name the file"),
        ("https://example.com/x", "not of a page about it"),
    ],
)
def test_a_page_in_place_of_a_file_is_told_with_what_works_at_its_site(url: str, way_out: str) -> None:
    locator = locate(ModelRef(url=url))
    assert locator is not None
    error = fetch_error(BrokenHeader("it is an HTML or XML page"), locator, "lora", "loras[0]")
    assert way_out in (error.hint or "")


# S3


@pytest.fixture(scope="module")
def s3_store() -> Iterator[Store]:
    with running_store() as running:
        running.make_bucket("models")
        running.client().put_object(Bucket="models", Key="mine/my lora.safetensors", Body=BODY)
        yield running


def test_an_s3_object_of_the_operators_store_is_fetched(tmp_path: Path, s3_store: Store) -> None:
    source = S3Source(s3_store.target("models"), FetchLimits(read_s=5), allowed_hosts=(), connections=4)
    where = store(tmp_path, "http://127.0.0.1:9", sources={"s3": source})
    model = asyncio.run(fetch(where, ModelRef(name="s3://models/mine/my lora.safetensors")))
    with pytest.raises(ModelNotFound):
        asyncio.run(fetch(where, ModelRef(name="s3://models/other.safetensors")))
    where.close()
    assert model.name.startswith("my_lora-")
    assert model.sha256 == SHA
    written = (tmp_path / "cache_registry.json").read_text()
    assert "Signature" not in written
    assert "testing" not in written


def test_nothing_is_signed_for_buckets_that_are_not_the_operators(tmp_path: Path, s3_store: Store) -> None:
    source = S3Source(s3_store.target("pictures"), FetchLimits(read_s=5), allowed_hosts=(), connections=4)
    where = store(tmp_path, "http://127.0.0.1:9", sources={"s3": source})
    with pytest.raises(DownloadRefused, match=r"not in a bucket that models may come from \(pictures\)"):
        asyncio.run(fetch(where, ModelRef(name="s3://models/mine/my lora.safetensors")))
    where.close()


def test_models_come_from_the_buckets_that_the_operator_names(tmp_path: Path, s3_store: Store) -> None:
    allowed = read_settings({"MODEL_BUCKETS": "models, other"}).readable_buckets
    source = S3Source(
        s3_store.target("pictures"), FetchLimits(read_s=5), allowed_hosts=(), connections=4, buckets=allowed
    )
    where = store(tmp_path, "http://127.0.0.1:9", sources={"s3": source})
    model = asyncio.run(fetch(where, ModelRef(name="s3://models/mine/my lora.safetensors")))
    with pytest.raises(DownloadRefused, match=r"\(models, other\)"):
        asyncio.run(fetch(where, ModelRef(name="s3://pictures/mine/my lora.safetensors")))
    where.close()
    assert model.sha256 == SHA


def test_an_s3_store_that_refuses_says_which_keys(tmp_path: Path, s3_store: Store) -> None:
    forged = S3Source(
        s3_store.target("models", secret_key="forged"), FetchLimits(read_s=5), allowed_hosts=(), connections=4
    )
    where = store(tmp_path, "http://127.0.0.1:9", sources={"s3": forged})
    with pytest.raises(DownloadRefused) as caught:
        asyncio.run(fetch(where, ModelRef(name="s3://models/mine/my lora.safetensors")))
    where.close()
    assert "BUCKET_SECRET_ACCESS_KEY" in (caught.value.hint or "")


def test_s3_without_a_store_says_which_settings_are_missing(tmp_path: Path) -> None:
    with pytest.raises(DownloadRefused) as caught:
        _fetch(tmp_path, _hub, ModelRef(name="s3://bucket/x.safetensors"))
    assert "BUCKET_ENDPOINT_URL" in (caught.value.hint or "")


@pytest.mark.parametrize("address", ["http://[", "https://x/]?fp=fp16", "", None])
def test_an_address_in_civitais_answer_that_is_none_chooses_no_file(address: str | None) -> None:
    files = [{"id": 1, "name": "one.safetensors", "downloadUrl": address, "metadata": {"fp": "fp32"}}]
    chosen = read_answer({"files": files}, version=5, model=None, choices=(("fp", "fp16"), ("size", "full")))
    assert chosen.name is None
