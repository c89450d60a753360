from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import safetensors as make
from tests.support.loopback_http import Reply, Request, serve
from tests.support.model_store import QUICK, fetch, leftovers, ranged, store
from worker.contract.types.model_ref import LoraRef, ModelRef
from worker.errors import (
    DownloadFailed,
    DownloadRefused,
    HashMismatch,
    InvalidInput,
    ModelDamaged,
    ModelNotFound,
    NoSpace,
    WorkerError,
)
from worker.models.sources.model_catalog import CatalogEntry, ModelCatalog
from worker.models.sources.web import Web
from worker.models.volume.eviction import Evictor
from worker.models.volume.registry import Entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from worker.models.download.download_progress import FetchProgress
    from worker.settings import ModelKind

SMALL = make.safetensors(make.SDXL_LORA, metadata={"modelspec.trigger_phrase": "ohwx"})
LARGE = make.safetensors(make.SDXL_LORA, pad_to=20 * 1024 * 1024, fill=bytes(range(251)))
DIGEST = {id(body): hashlib.sha256(body).hexdigest() for body in (SMALL, LARGE)}


def _sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _run(root: Path, script: Callable[[Request], Reply], raw: Any, **options: Any) -> tuple[Any, list[Request]]:
    """Fetch one LoRA through a server that answers by `script`; return the model or the error, and the requests."""
    with serve(script) as server:
        raw = json.loads(json.dumps(raw).replace("{server}", server.url))
        where = store(root, server.url, **options)
        try:
            return asyncio.run(fetch(where, LoraRef.model_validate(raw))), server.seen
        except WorkerError as error:
            return error, server.seen
        finally:
            where.close()


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_url_becomes_a_verified_file_once(tmp_path: Path, body: bytes) -> None:
    with serve(lambda request: ranged(request, body)) as server:
        where = store(tmp_path, server.url)
        ref = ModelRef(url=f"{server.url}/My%20LoRA.safetensors")
        model = asyncio.run(fetch(where, ref))
        count = len(server.seen)
        again = asyncio.run(fetch(where, ref))
        where.close()
        other = asyncio.run(fetch(store(tmp_path, server.url), ref))
        assert len(server.seen) == count
    assert model.fetched
    assert not again.fetched
    assert not other.fetched
    assert model.path.read_bytes() == body
    assert model.path == again.path == other.path
    assert model.name.startswith("My_LoRA-")
    assert (model.sha256, model.base_model) == (_sha(body), "SDXL")
    assert leftovers(tmp_path) == []


def test_large_files_come_over_several_connections(tmp_path: Path) -> None:
    open_now, most, lock = 0, 0, threading.Lock()

    def script(request: Request) -> Reply:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        time.sleep(0.05)  # long enough that those that are let in at once meet here
        with lock:
            open_now -= 1
        return ranged(request, LARGE)

    model, _ = _run(tmp_path, script, {"url": "{server}/x.safetensors"})
    assert model.path.read_bytes() == LARGE
    assert most > 1


@pytest.mark.parametrize("etag", ['"one"', None])
@pytest.mark.parametrize("length", [True, False])
def test_a_server_without_ranges_is_read_in_one_stream(tmp_path: Path, etag: str | None, *, length: bool) -> None:
    def raw(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if etag:
            handler.send_header("ETag", etag)
        if length:
            handler.send_header("Content-Length", str(len(LARGE)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(LARGE)

    model, seen = _run(tmp_path, lambda _: Reply(raw=raw), {"url": "{server}/x.safetensors"})
    assert model.path.read_bytes() == LARGE
    assert model.sha256 == _sha(LARGE)
    assert len(seen) == 1


def _cut(request: Request, body: bytes, after: int) -> Reply:
    """Announce everything, send a part, hang up."""
    whole = ranged(request, body)

    def raw(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(whole.status)
        for name, value in {**whole.headers, "Content-Length": str(len(whole.body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(whole.body[:after])

    return Reply(raw=raw)


def test_a_connection_that_breaks_is_resumed_where_it_broke(tmp_path: Path) -> None:
    model, seen = _run(tmp_path, lambda request: _cut(request, LARGE, 1_000_000), {"url": "{server}/x.safetensors"})
    assert model.path.read_bytes() == LARGE
    asked = [request.headers["range"] for request in seen]
    assert len(asked) == len(set(asked))


def test_a_truncating_server_without_ranges_fails_in_the_end(tmp_path: Path) -> None:
    def script(_: Request) -> Reply:
        def raw(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(LARGE)))
            handler.end_headers()
            handler.wfile.write(LARGE[: len(LARGE) // 2])

        return Reply(raw=raw)

    error, seen = _run(tmp_path, script, {"url": "{server}/x.safetensors"})
    assert isinstance(error, DownloadFailed)
    assert "loras[0]" in error.message
    assert 2 <= len(seen) <= 8
    assert leftovers(tmp_path) == []


def test_a_stalling_server_is_given_up(tmp_path: Path) -> None:
    released = threading.Event()

    def script(request: Request) -> Reply:
        def raw(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(LARGE)))
            handler.end_headers()
            handler.wfile.write(LARGE[:1000])
            released.wait(20)

        return Reply(raw=raw)

    try:
        error, _ = _run(tmp_path, script, {"url": "{server}/x.safetensors"}, read_s=0.2)
    finally:
        released.set()
    assert isinstance(error, DownloadFailed)


def test_a_file_that_changes_on_the_way_is_fetched_anew(tmp_path: Path) -> None:
    other = make.safetensors(make.SDXL_LORA, pad_to=20 * 1024 * 1024, fill=b"\x07")
    count, lock = 0, threading.Lock()

    def script(request: Request) -> Reply:
        nonlocal count
        with lock:
            count += 1
            first = count <= 2
        return ranged(request, LARGE, etag='"one"') if first else ranged(request, other, etag='"two"')

    model, _ = _run(tmp_path, script, {"url": "{server}/x.safetensors"})
    assert model.path.read_bytes() == other
    assert model.sha256 == _sha(other)


def test_a_file_that_always_changes_and_never_comes_in_one_piece_is_given_up(tmp_path: Path) -> None:
    tags = iter(range(10**6))

    def script(request: Request) -> Reply:
        whole = ranged(request, LARGE, etag=f'"{next(tags)}"')
        return replace(
            whole,
            body=whole.body[:100_000],
            headers={**whole.headers, "Content-Length": str(len(whole.body)), "Connection": "close"},
        )

    error, _ = _run(tmp_path, script, {"url": "{server}/x.safetensors"})
    assert isinstance(error, DownloadFailed)
    assert "changed" in error.message
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>" + bytes(500), "HTML"),
        (b'{"error":"Unauthorized"}', "JSON text"),
        (LARGE[: len(LARGE) // 2], "its header says"),
        (LARGE + b"x", "its header says"),
        (b"PK\x03\x04\x14\x00\x08\x08" + bytes(500), "pickle"),
        (b"", "0 bytes"),
    ],
    ids=["html", "json", "truncated", "longer", "pickle", "empty"],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_what_is_no_model_never_gets_the_final_name(tmp_path: Path, body: bytes, message: str, *, ranges: bool) -> None:
    error, _ = _run(
        tmp_path,
        lambda request: ranged(request, body) if ranges and body else Reply(body=body),
        {"url": "{server}/x.safetensors"},
    )
    assert isinstance(error, DownloadRefused)
    assert message in error.message
    assert list((tmp_path / "loras").rglob("*.safetensors")) == []
    assert leftovers(tmp_path) == []


def test_a_wrong_hash_never_gets_the_final_name(tmp_path: Path) -> None:
    error, _ = _run(
        tmp_path, lambda request: ranged(request, SMALL), {"url": "{server}/x.safetensors", "sha256": "ab" * 32}
    )
    assert isinstance(error, HashMismatch)
    assert _sha(SMALL) in error.message
    assert list((tmp_path / "loras").glob("*.safetensors")) == []
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("digits", [64, 10])
def test_the_right_hash_passes(tmp_path: Path, digits: int) -> None:
    raw = {"url": "{server}/x.safetensors", "hash": _sha(SMALL)[:digits].upper()}
    model, _ = _run(tmp_path, lambda request: ranged(request, SMALL), raw)
    assert model.fetched


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin"])
def test_pickles_are_refused_unless_the_operator_allows_them(tmp_path: Path, suffix: str) -> None:
    body = b"PK\x03\x04\x14\x00\x08\x08" + bytes(500)
    error, seen = _run(tmp_path, lambda request: ranged(request, body), {"url": f"{{server}}/x{suffix}"})
    assert isinstance(error, DownloadRefused)
    assert "MODEL_ALLOW_PICKLE" in (error.hint or "")
    assert seen == []
    model, _ = _run(
        tmp_path, lambda request: ranged(request, body), {"url": f"{{server}}/x{suffix}"}, MODEL_ALLOW_PICKLE="1"
    )
    assert model.path.suffix == suffix


@pytest.mark.parametrize("pinned", [True, False])
def test_a_pickle_of_the_catalog_is_fetched_where_its_hash_is_pinned(tmp_path: Path, *, pinned: bool) -> None:
    body = b"PK\x03\x04\x14\x00" + bytes(5000)
    with serve(lambda request: ranged(request, body)) as server:
        entry = CatalogEntry(
            name="4x-Sharp",
            kind="upscaler",
            sources=(f"{server.url}/x/4x-Sharp.pth",),
            sha256=hashlib.sha256(body).hexdigest() if pinned else None,
            stated_by="its publisher",
        )
        where = store(tmp_path, server.url, catalog=ModelCatalog((entry,)))
        if pinned:
            assert asyncio.run(fetch(where, ModelRef(name="4x-sharp"), "upscaler")).path.name == "4x-Sharp.pth"
        else:
            with pytest.raises(DownloadRefused, match="can run code"):
                asyncio.run(fetch(where, ModelRef(name="4x-sharp"), "upscaler"))
        where.close()


def test_a_preprocessors_weights_come_into_the_folder_of_their_own(tmp_path: Path) -> None:
    body, asked = b"PK\x03\x04\x14\x00" + bytes(5000), []

    def script(request: Request) -> Reply:
        asked.append(request.path)
        return ranged(request, body)

    with serve(script) as server:
        entry = CatalogEntry(
            name="EdgeNet",
            kind="annotator",
            folder="edges",
            sources=(f"{server.url}/x/EdgeNet.pth",),
            sha256=hashlib.sha256(body).hexdigest(),
            stated_by="its publisher",
        )
        where = store(tmp_path, server.url, catalog=ModelCatalog((entry,)))
        fetched = asyncio.run(fetch(where, ModelRef(name="EdgeNet"), "annotator"))
        assert fetched.path == where.volume.path("annotator", "edges/EdgeNet.pth")
        assert fetched.path.read_bytes() == body
        before = len(asked)
        assert asyncio.run(fetch(where, ModelRef(name="edgenet.pth"), "annotator")).path == fetched.path
        assert len(asked) == before
        where.close()


def test_a_pinned_pickle_with_another_content_is_not_kept(tmp_path: Path) -> None:
    body = b"PK\x03\x04\x14\x00" + bytes(5000)
    with serve(lambda request: ranged(request, body)) as server:
        source = f"{server.url}/x/4x-Sharp.pth"
        entry = CatalogEntry(
            name="4x-Sharp", kind="upscaler", sources=(source,), sha256="ab" * 32, stated_by="its publisher"
        )
        where = store(tmp_path, server.url, catalog=ModelCatalog((entry,)))
        with pytest.raises(HashMismatch):
            asyncio.run(fetch(where, ModelRef(name="4x-sharp"), "upscaler"))
        where.close()
    assert not (tmp_path / "upscalers/4x-Sharp.pth").exists()


def test_a_pickle_that_is_named_by_the_download_only_is_refused_too(tmp_path: Path) -> None:
    headers = {"Content-Disposition": 'attachment; filename="evil.ckpt"'}
    error, _ = _run(tmp_path, lambda request: ranged(request, SMALL, headers=headers), {"url": "{server}/"})
    assert isinstance(error, DownloadRefused)
    assert ".ckpt" in error.message


def test_a_suggested_name_stays_in_the_folder(tmp_path: Path) -> None:
    headers = {"Content-Disposition": "attachment; filename*=UTF-8''..%2F..%2Fetc%2Fevil.safetensors"}
    model, _ = _run(tmp_path, lambda request: ranged(request, SMALL, headers=headers), {"url": "{server}/"})
    assert model.path.parent == tmp_path / "loras"
    assert model.name.startswith("etc_evil-")


def test_a_lora_where_a_checkpoint_belongs_is_refused(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        with pytest.raises(DownloadRefused, match="is a lora, not a checkpoint"):
            asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors"), "checkpoint", path="checkpoint"))
        where.close()


@pytest.mark.parametrize(
    ("status", "error_class", "words"),
    [
        (401, DownloadRefused, "token"),
        (403, DownloadRefused, "token"),
        (404, ModelNotFound, "removed"),
        (410, ModelNotFound, "removed"),
        (400, DownloadRefused, "address"),
        (500, DownloadFailed, "later"),
        (503, DownloadFailed, "later"),
    ],
)
def test_each_refusal_says_what_to_do(tmp_path: Path, status: int, error_class: type[WorkerError], words: str) -> None:
    error, seen = _run(tmp_path, lambda _: Reply(status), {"url": "{server}/x.safetensors"})
    assert isinstance(error, error_class)
    assert f"HTTP {status}" in error.message
    assert words in (error.hint or "")
    assert len(seen) == (4 if status >= 500 else 1)
    assert leftovers(tmp_path) == []


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    times: list[float] = []

    def script(request: Request) -> Reply:
        times.append(time.monotonic())
        return Reply(429, headers={"Retry-After": "1"}) if len(times) == 1 else ranged(request, SMALL)

    model, _ = _run(tmp_path, script, {"url": "{server}/x.safetensors"})
    assert model.fetched
    assert times[1] - times[0] >= 1


def test_a_long_retry_after_is_told_instead_of_waited_for(tmp_path: Path) -> None:
    error, seen = _run(
        tmp_path, lambda _: Reply(429, headers={"Retry-After": "600"}), {"url": "{server}/x.safetensors"}
    )
    assert isinstance(error, DownloadFailed)
    assert error.details["retry_after_s"] == 600
    assert error.retryable
    assert len(seen) == 1


def test_a_server_that_is_asked_too_much_gets_fewer_connections(tmp_path: Path) -> None:
    busy, lock = 0, threading.Lock()

    def script(request: Request) -> Reply:
        nonlocal busy
        with lock:
            busy += 1
            too_many = busy > 1
        time.sleep(0.02)  # as above, for two that should not
        with lock:
            busy -= 1
        return Reply(429) if too_many else ranged(request, LARGE)

    model, _ = _run(tmp_path, script, {"url": "{server}/x.safetensors"})
    assert model.path.read_bytes() == LARGE


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2/x.safetensors",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/x",
        "http://[::1]/x",
    ],
)
def test_addresses_inside_are_refused(tmp_path: Path, url: str) -> None:
    error, _ = _run(tmp_path, lambda _: Reply(), {"url": url})
    assert isinstance(error, DownloadRefused)
    assert "ALLOW_HOSTS" in (error.hint or "")


def test_a_redirect_to_an_address_inside_is_refused(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        port = request.headers["host"].split(":")[1]
        return Reply(302, headers={"Location": f"http://127.0.0.2:{port}/secret"})

    error, seen = _run(tmp_path, script, {"url": "{server}/x.safetensors"})
    assert isinstance(error, DownloadRefused)
    assert [request.path for request in seen] == ["/x.safetensors"]


def test_a_token_is_dropped_by_a_redirect_and_is_nowhere_to_be_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serve(lambda request: ranged(request, LARGE)) as cdn,
        serve(lambda _: Reply(302, headers={"Location": f"{cdn.url}/blob?sig=letmein"})) as front,
    ):
        where = store(tmp_path, front.url)
        ref = ModelRef.model_validate({"url": f"{front.url}/x.safetensors?key=hidden", "token": "sesame"})
        model = asyncio.run(fetch(where, ref))
        where.close()
    assert [request.headers["authorization"] for request in front.seen] == ["Bearer sesame"]
    assert all("authorization" not in request.headers for request in cdn.seen)
    assert len(cdn.seen) > 1
    written = "".join(path.read_text("latin-1") for path in tmp_path.rglob("*.json*") if path.is_file())
    for secret in ("sesame", "letmein", "hidden"):
        assert secret not in written
        assert secret not in caplog.text
        assert secret not in repr(model)


def _same(reply: Reply, _: Request) -> Reply:
    return reply


def test_errors_show_no_secret(tmp_path: Path) -> None:
    raw = {"url": "{server}/x.safetensors?key=hidden", "token": "sesame"}
    for reply in (Reply(401), Reply(404), Reply(500)):
        error, _ = _run(tmp_path, partial(_same, reply), raw)
        assert "hidden" not in json.dumps(error.to_answer())
        assert "sesame" not in json.dumps(error.to_answer())


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_an_expired_signature_is_renewed_through_the_front_door(tmp_path: Path, status: int) -> None:
    served = 0

    def script(request: Request) -> Reply:
        nonlocal served
        if request.path == "/front":
            return Reply(302, headers={"Location": f"/blob?n={served}"})
        served += 1
        if served % 2 == 0 and "range" in request.headers and request.query == "n=0":
            return Reply(status)
        return ranged(request, LARGE)

    model, seen = _run(tmp_path, script, {"name": "x", "url": "{server}/front"}, retry=replace(QUICK, connections=1))
    assert model.path.read_bytes() == LARGE
    assert [request.path for request in seen].count("/front") == 2


def test_the_same_name_and_two_urls_are_two_files(tmp_path: Path) -> None:
    other = make.safetensors(make.SD15_LORA)
    bodies = {"/a.safetensors": SMALL, "/b.safetensors": other}
    with serve(lambda request: ranged(request, bodies[request.path])) as server:
        where = store(tmp_path, server.url)
        first = asyncio.run(fetch(where, ModelRef(name="Mine", url=f"{server.url}/a.safetensors")))
        second = asyncio.run(fetch(where, ModelRef(name="Mine", url=f"{server.url}/b.safetensors")))
        again = asyncio.run(fetch(where, ModelRef(name="Mine", url=f"{server.url}/a.safetensors")))
        where.close()
    assert first.name == "Mine"
    assert second.name.startswith("Mine-")
    assert second.path.read_bytes() == other
    assert (again.path, again.fetched) == (first.path, False)


def test_catalog_models_come_from_their_sources_in_order(tmp_path: Path) -> None:
    with serve(lambda request: Reply(404) if request.path == "/gone" else ranged(request, SMALL)) as server:
        sources = (f"{server.url}/gone", f"{server.url}/there.safetensors")
        entry = CatalogEntry(name="Nice LoRA", kind="lora", sources=sources, default_scale=0.7, trigger_words=("nice",))
        where = store(tmp_path, server.url, catalog=ModelCatalog((entry,)))
        model = asyncio.run(fetch(where, ModelRef(name="nice lora")))
        where.close()
    assert (model.name, model.default_scale, model.trigger_words) == ("Nice_LoRA", 0.7, ("nice",))


def test_jobs_that_want_the_same_share_one_fetch(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        ref = ModelRef(url=f"{server.url}/x.safetensors")

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(fetch(where, ref) for _ in range(8)))

        models = asyncio.run(all_at_once())
        where.close()
    assert len({model.path for model in models}) == 1
    assert len(server.seen) == 1


def test_a_file_that_is_replaced_by_one_of_the_same_size_is_measured_anew(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        model = asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors")))
        other = SMALL[:-1] + bytes([SMALL[-1] ^ 1])
        model.path.write_bytes(other)
        found = where.find(ModelRef(name=model.name), "lora")
        assert found is not None
        assert found.sha256 is None, "nobody has looked yet"
        with pytest.raises(HashMismatch, match=_sha(other)):
            asyncio.run(fetch(where, ModelRef(name=model.name, sha256=_sha(SMALL))))
        assert asyncio.run(fetch(where, ModelRef(name=model.name, sha256=_sha(other)))).sha256 == _sha(other)
        again = where.find(ModelRef(name=model.name), "lora")
        assert again is not None
        assert (again.sha256, again.source) == (_sha(other), None), "it does not come from there"


def test_a_file_that_was_only_touched_keeps_what_is_known_once_it_was_measured(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        model = asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors")))
        os.utime(model.path, ns=(1, 1))
        again = asyncio.run(fetch(where, ModelRef(name=model.name, sha256=_sha(SMALL))))
        assert (again.sha256, again.source) == (model.sha256, model.source)
        seen = where.find(ModelRef(name=model.name), "lora")
        assert seen is not None
        assert seen.sha256 == model.sha256


def test_a_file_that_people_put_in_the_place_of_a_fetched_one_is_not_removed_for_room(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        model = asyncio.run(fetch(where, ModelRef(url=f"{server.url}/x.safetensors")))
        model.path.write_bytes(SMALL[:-1] + bytes([SMALL[-1] ^ 1]))
        assert not where.space.make_room(tmp_path / "loras", 10**15, keep=frozenset(), full=True)
        assert not where.space.make_room(tmp_path / "loras", 1, keep=frozenset(), full=True)
        assert model.path.exists()


def test_one_address_under_two_names_is_fetched_once(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        refs = [ModelRef(name=name, url=f"{server.url}/x.safetensors") for name in ("one", "two")]
        alone = ModelRef(url=f"{server.url}/x.safetensors")
        wanted: list[tuple[str, ModelRef, ModelKind]] = [
            (f"loras[{n}]", ref, "lora") for n, ref in enumerate([*refs, alone])
        ]
        made = asyncio.run(where.prepare(wanted))
        sizes = sum(request.method == "GET" for request in server.seen)
        assert asyncio.run(where.prepare(wanted)) == [replace(each, fetched=False) for each in made]
    assert len({each.path for each in made}) == 1
    assert sorted(each.fetched for each in made) == [False, False, True]
    with serve(lambda request: ranged(request, SMALL)) as server:
        asyncio.run(fetch(store(tmp_path / "other", server.url), ModelRef(url=f"{server.url}/x.safetensors")))
        assert sizes == sum(request.method == "GET" for request in server.seen), "as often as for one"


def test_an_unknown_name_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        wanted = [("loras[0]", ModelRef(url=f"{server.url}/x"), "lora"), ("loras[1]", ModelRef(name="nope"), "lora")]
        with pytest.raises(ModelNotFound, match=r"loras\[1\]"):
            asyncio.run(where.prepare(wanted))  # type: ignore[arg-type]  # literals of the list above
        where.close()
    assert server.seen == []


@pytest.mark.parametrize("name", ["../x", "hf:nothing", "ftp://a/b", "https://user:pw@a/b"])
def test_a_reference_that_can_not_be_one_is_an_input_error(tmp_path: Path, name: str) -> None:
    where = store(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match=r"loras\[0\]"):
        asyncio.run(fetch(where, ModelRef(name=name)))
    where.close()


def test_progress_is_told_and_ends_with_everything(tmp_path: Path) -> None:
    seen: list[FetchProgress] = []

    def script(request: Request) -> Reply:
        time.sleep(0.15)  # the rate of a slow source
        return ranged(request, LARGE)

    with serve(script) as server:
        where = store(tmp_path, server.url, retry=replace(QUICK, connections=1))
        ref = ModelRef(url=f"{server.url}/x.safetensors")
        asyncio.run(where.prepare([("loras[0]", ref, "lora")], on_progress=seen.append))
        where.close()
    assert seen
    assert [each.done for each in seen] == sorted(each.done for each in seen)
    assert seen[-1].done == seen[-1].total == len(LARGE)
    assert any(each.speed > 0 for each in seen)


def test_a_cancelled_fetch_stops_and_goes_on_later_from_where_it_was(tmp_path: Path) -> None:
    gate, started = threading.Event(), threading.Event()
    asked: list[str] = []

    def script(request: Request) -> Reply:
        asked.append(request.headers.get("range", ""))
        if len(asked) > 3 and not gate.is_set():
            started.set()
            gate.wait(20)
        return ranged(request, LARGE)

    async def cancelled() -> None:
        task = asyncio.create_task(fetch(where, ref))
        await asyncio.to_thread(started.wait, 20)
        await asyncio.sleep(0.2)  # what came before is on the disk by then
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with serve(script) as server:
        where = store(tmp_path, server.url)
        ref = ModelRef(url=f"{server.url}/x.safetensors")
        asyncio.run(cancelled())
        gate.set()
        where.close()
        assert any(name.endswith(".ranges") for name in leftovers(tmp_path))
        first = len(asked)
        other = store(tmp_path, server.url)
        model = asyncio.run(fetch(other, ref))
        other.close()
    assert model.path.read_bytes() == LARGE
    assert model.sha256 == _sha(LARGE)
    assert not any(text.startswith("bytes=0-") for text in asked[first:])
    assert leftovers(tmp_path) == []


def test_a_leftover_of_another_version_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "loras/.incoming"
    folder.mkdir(parents=True)
    with serve(lambda request: ranged(request, LARGE)) as server:
        ref = ModelRef(url=f"{server.url}/x.safetensors")
        where = store(tmp_path, server.url)
        resolution = where.resolve(ref, "lora")
        from worker.models.format.filenames import short_hash

        prefix = short_hash(f"{resolution.identity} {resolution.locators[0].key}")
        (folder / f"{prefix}-dead.part").write_bytes(b"\xff" * len(LARGE))
        record = {"size": len(LARGE), "tag": '"older"', "done": [[0, len(LARGE) - 5]]}
        (folder / f"{prefix}-dead.part.ranges").write_text(json.dumps(record))
        model = asyncio.run(fetch(where, ref))
        where.close()
    assert model.path.read_bytes() == LARGE
    assert leftovers(tmp_path) == []


def test_models_make_room_for_each_other_the_least_recently_used_first(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        models = [asyncio.run(fetch(where, ModelRef(url=f"{server.url}/{n}.safetensors"))) for n in range(4)]
        where.close()
    mine = make.write(tmp_path / "loras/by_hand.safetensors", make.SDXL_LORA)
    where = store(tmp_path, "http://127.0.0.1:9")
    file = where.volume.look("lora", models[0].path.name)
    assert file is not None
    where.inventory.pin(file, pinned=True)
    space = Evictor(where.inventory, where.marks, floor=1000, evict=True, free=lambda _: 1500)
    folder = tmp_path / "loras"
    with where.holding([models[1]]):
        assert space.make_room(folder, 400, keep=frozenset())
        assert all(model.path.exists() for model in models)
        assert space.make_room(folder, 501, keep=frozenset())
        left = [model.path.exists() for model in models]
        assert not space.make_room(folder, 10**12, keep=frozenset())
        assert [model.path.exists() for model in models] == left
    assert left == [True, True, False, True]
    assert mine.exists()
    assert {key for key in where.inventory.entries() if "by_hand" not in key} == {models[n].key for n in (0, 1, 3)}
    where.close()


def test_what_another_worker_uses_is_not_removed(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        one, two = store(tmp_path, server.url), store(tmp_path, server.url)
        model = asyncio.run(fetch(one, ModelRef(url=f"{server.url}/x.safetensors")))
        space = Evictor(two.inventory, two.marks, floor=0, evict=True, free=lambda _: 0)
        with one.holding([model]):
            assert not space.make_room(tmp_path / "loras", 1, keep=frozenset())
        one.close()
        assert space.make_room(tmp_path / "loras", 1, keep=frozenset())
        two.close()
    assert not model.path.exists()


def test_a_file_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    error, _ = _run(
        tmp_path, lambda request: ranged(request, LARGE), {"url": "{server}/x.safetensors"}, MODEL_MAX_BYTES="100000"
    )
    assert isinstance(error, DownloadRefused)
    assert "MODEL_MAX_BYTES" in (error.hint or "")


def test_no_room_at_all_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    error, _ = _run(
        tmp_path,
        lambda request: ranged(request, LARGE),
        {"url": "{server}/x.safetensors"},
        MODEL_FREE_BYTES=str(10**18),
    )
    assert isinstance(error, NoSpace)
    assert leftovers(tmp_path) == []


def test_a_corrupt_file_is_set_aside_and_fetched_again(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        ref = ModelRef(url=f"{server.url}/x.safetensors")
        model = asyncio.run(fetch(where, ref))
        aside = where.quarantine.put(model, "SafetensorError: invalid header")
        assert aside is not None
        assert aside.exists()
        assert where.find(ref, "lora") is None
        again = asyncio.run(fetch(where, ref))
        where.close()
    assert again.fetched
    assert again.path == model.path


def test_a_fetch_counts_though_another_worker_removes_the_file_at_once(tmp_path: Path) -> None:
    def removed(progress: FetchProgress) -> None:
        if progress.done == progress.total:
            for file in (tmp_path / "loras").glob("*.safetensors"):
                file.unlink()

    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        wanted = ("loras[0]", ModelRef(url=f"{server.url}/x.safetensors"), "lora")
        (model,) = asyncio.run(where.prepare([wanted], on_progress=removed))  # type: ignore[list-item]  # literals
        where.close()
    assert not model.path.exists()
    assert where.fetched == (1, len(SMALL))


def test_a_file_that_was_damaged_later_is_set_aside_and_fetched_again(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        ref = ModelRef(url=f"{server.url}/x.safetensors")
        model = asyncio.run(fetch(where, ref))
        model.path.write_bytes(SMALL[:-100])
        assert where.find(ref, "lora") is None
        again = asyncio.run(fetch(where, ref))
        where.close()
    assert again.fetched
    assert again.path.read_bytes() == SMALL
    assert len(list((tmp_path / "loras/.quarantine").glob("*.corrupt"))) == 1


def test_a_damaged_file_that_people_put_there_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "loras/mine.safetensors"
    path.parent.mkdir()
    path.write_bytes(SMALL[:-100])
    where = store(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(ModelDamaged, match=r"loras\[0\].*damaged"):
        asyncio.run(fetch(where, ModelRef(name="mine")))
    where.close()
    assert path.exists()


def test_only_what_is_corrupt_is_set_aside_after_the_webui_failed(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url)
        models = [asyncio.run(fetch(where, ModelRef(url=f"{server.url}/{n}.safetensors"))) for n in range(2)]
        body = bytearray(SMALL)
        body[9] ^= 0xFF
        models[1].path.write_bytes(body)
        assert where.quarantine.put_corrupt(models) == [models[1]]
        assert asyncio.run(fetch(where, ModelRef(url=f"{server.url}/1.safetensors"))).fetched
        where.close()


def test_a_hash_is_measured_once_for_a_file_that_people_put_there(tmp_path: Path) -> None:
    path = make.write(tmp_path / "loras/mine.safetensors", make.SDXL_LORA)
    where = store(tmp_path, "http://127.0.0.1:9")
    digest = _sha(path.read_bytes())
    model = asyncio.run(fetch(where, ModelRef.model_validate({"name": "mine", "sha256": digest})))
    assert model.sha256 == digest
    assert where.inventory.entries()[model.key].sha256 == digest
    with pytest.raises(HashMismatch):
        asyncio.run(fetch(where, ModelRef.model_validate({"name": "mine", "sha256": "00" * 32})))
    where.close()


def test_the_registry_knows_a_file_before_it_has_its_name(tmp_path: Path) -> None:
    where = store(tmp_path, "http://127.0.0.1:9")
    where.inventory.record(Entry("lora", "x.safetensors", 5, source=Web("http://127.0.0.1:9/x").key))
    assert where.find(ModelRef(url="http://127.0.0.1:9/x"), "lora") is None
    where.close()
