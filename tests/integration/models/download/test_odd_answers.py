"""Sources whose answers are odd though somebody serves files that way: each ends in the file or in the right error."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from tests.support import safetensors as make
from tests.support.loopback_http import Reply, Request, serve
from tests.support.model_store import QUICK, fetch, leftovers, ranged, store
from worker.contract.types.model_ref import ModelRef
from worker.errors import DownloadFailed, DownloadRefused, HashMismatch, InvalidInput, ModelNotFound, WorkerError
from worker.models.sources.http_file import suggested_name
from worker.models.sources.model_catalog import CatalogEntry, ModelCatalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

IMPATIENT = replace(QUICK, patience_s=0.5)
BODY = make.safetensors(make.SDXL_LORA)
LARGE = make.safetensors(make.SDXL_LORA, pad_to=20 * 1024 * 1024, fill=bytes(range(251)))


def _fetched(root: Path, script: Callable[[Request], Reply], ref: str, **options: Any) -> Any:
    """Return the model, or the error; `{server}` in `ref` is the server's address."""
    with serve(script) as server:
        where = store(root, server.url, **options)
        try:
            return asyncio.run(fetch(where, ModelRef(name=ref.replace("{server}", server.url))))
        except WorkerError as error:
            return error
        finally:
            where.close()


def _until(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not seen() and time.monotonic() < deadline:
        time.sleep(0.005)  # what another thread does inside the store is told to nobody


def test_a_source_that_trickles_is_given_up(tmp_path: Path) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + BODY[:9])
        with contextlib.suppress(OSError):
            for at in range(9, 500):
                handler.wfile.write(BODY[at : at + 1])
                time.sleep(0.02)  # a source like this one takes hours for a model

    began = time.monotonic()
    error = _fetched(tmp_path, lambda _: Reply(raw=trickle), "{server}/x.safetensors", retry=IMPATIENT)
    assert isinstance(error, DownloadFailed)
    assert error.retryable
    assert "hardly a byte" in error.message
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("reply", "hint"),
    [
        (Reply(302, headers={"Location": "/x.safetensors"}), "round in a circle"),
        (Reply(302, headers={"Location": "http://169.254.169.254/"}), "ALLOW_HOSTS"),
        (Reply(302, headers={"Location": "http://me:secret@127.0.0.1/"}), "token field"),
        (Reply(302, headers={"Location": "ftp://127.0.0.1/"}), "Check the address"),
        (Reply(200, BODY, {"Content-Encoding": "gzip"}), "as they are"),
        (Reply(200, BODY[:-1]), "cut short"),
        (Reply(200, b"<html>"), "not of a page"),
    ],
)
def test_a_refusal_says_what_to_do_about_this_one(tmp_path: Path, reply: Reply, hint: str) -> None:
    error = _fetched(tmp_path, lambda _: reply, "{server}/x.safetensors")
    assert isinstance(error, DownloadRefused)
    assert hint in (error.hint or "")
    assert ("ALLOW_HOSTS" in (error.hint or "")) == (hint == "ALLOW_HOSTS")


NINES = "9" * 5000


@pytest.mark.parametrize(
    "reply",
    [
        Reply(429, headers={"Retry-After": NINES}),
        Reply(503, headers={"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}),
        Reply(206, BODY, {"Content-Range": f"bytes 0-9/{NINES}"}),
        Reply(206, BODY, {"Content-Range": f"bytes {NINES}-{NINES}/5", "Content-Length": NINES}),
        Reply(200, BODY, {"Content-Length": NINES}),
    ],
    ids=["wait", "date", "size", "range", "length"],
)
def test_numbers_of_any_length_in_headers_end_in_a_typed_error(tmp_path: Path, reply: Reply) -> None:
    error = _fetched(tmp_path, lambda _: reply, "{server}/x.safetensors", retry=IMPATIENT)
    assert isinstance(error, DownloadFailed | DownloadRefused)
    assert error.details.get("retry_after_s", 0) < 1e9


def test_a_redirect_whose_address_is_not_ascii_is_followed(tmp_path: Path) -> None:
    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write("HTTP/1.1 302 Found\r\nLocation: /модель.safetensors\r\nContent-Length: 0\r\n\r\n".encode())

    def script(request: Request) -> Reply:
        if request.path == "/x.safetensors":
            return Reply(raw=elsewhere)
        return ranged(request, BODY) if unquote(request.path) == "/модель.safetensors" else Reply(404)

    assert _fetched(tmp_path, script, "{server}/x.safetensors").path.read_bytes() == BODY


def test_a_store_that_still_tells_how_the_object_was_uploaded_is_read(tmp_path: Path) -> None:
    encoded = {"Content-Encoding": "aws-chunked"}
    model = _fetched(tmp_path, lambda request: ranged(request, BODY, headers=encoded), "{server}/x.safetensors")
    assert model.path.read_bytes() == BODY


@pytest.mark.parametrize("ranges", [True, False])
def test_an_empty_file_is_no_model_of_any_format(tmp_path: Path, *, ranges: bool) -> None:
    empty = Reply(416, headers={"Content-Range": "bytes */0"}) if ranges else Reply()
    error = _fetched(tmp_path, lambda _: empty, "{server}/x.pt", MODEL_ALLOW_PICKLE="true")
    assert isinstance(error, DownloadRefused)
    assert leftovers(tmp_path) == []


def test_servers_that_do_not_agree_on_the_tag_are_read_in_one_answer(tmp_path: Path) -> None:
    tags = iter(range(10**6))
    model = _fetched(tmp_path, lambda request: ranged(request, LARGE, etag=f'"{next(tags)}"'), "{server}/x.safetensors")
    assert model.path.read_bytes() == LARGE


def test_servers_of_which_some_ignore_ranges_are_read_in_one_answer(tmp_path: Path) -> None:
    count = iter(range(10**6))

    def script(request: Request) -> Reply:
        return ranged(request, LARGE) if next(count) % 2 == 0 else Reply(body=LARGE, headers={"ETag": '"one"'})

    assert _fetched(tmp_path, script, "{server}/x.safetensors").path.read_bytes() == LARGE


def test_all_connections_refused_at_the_same_moment_leave_one_that_goes_on(tmp_path: Path) -> None:
    count, lock, together = 0, threading.Lock(), threading.Barrier(4)

    def script(request: Request) -> Reply:
        nonlocal count
        with lock:
            count += 1
            refused = 1 < count <= 5
        if refused:
            together.wait(5)
            return Reply(503)
        return ranged(request, LARGE)

    assert _fetched(tmp_path, script, "{server}/x.safetensors").path.read_bytes() == LARGE


def test_a_page_in_the_place_of_what_civitai_knows_of_a_model_is_not_the_clients_fault(tmp_path: Path) -> None:
    error = _fetched(tmp_path, lambda _: Reply(body=b"<html>Back soon</html>"), "civitai:model/5")
    assert isinstance(error, DownloadFailed)


@pytest.mark.parametrize("status", [520, 522, 529])
def test_the_statuses_of_proxies_are_not_the_clients_fault(tmp_path: Path, status: int) -> None:
    assert isinstance(_fetched(tmp_path, lambda _: Reply(status), "civitai:model/5"), DownloadFailed)
    assert isinstance(_fetched(tmp_path, lambda _: Reply(status), "{server}/x.safetensors"), DownloadFailed)


@pytest.mark.parametrize("repo", ["org/a--b", "org/repo.git", "org/repo-", "org/a..b", "org/модель"])
def test_what_no_repository_can_be_called_is_an_input_error(tmp_path: Path, repo: str) -> None:
    assert isinstance(_fetched(tmp_path, lambda _: Reply(404), f"hf:{repo}/x.safetensors"), InvalidInput)


def test_of_the_hubs_cache_only_models_are_used_and_pickles_with_leave_only(tmp_path: Path) -> None:
    cached = tmp_path / "hub/models--org--repo/snapshots" / ("a" * 40)
    cached.mkdir(parents=True)
    for name in ("config.json", "old.ckpt"):
        (cached / name).write_bytes(b"\x80\x02 some bytes")
    refs = [ModelRef(name=f"hf:org/repo/{name}") for name in ("config.json", "old.ckpt")]
    found = []
    for leave in ("false", "true"):
        where = store(tmp_path / leave, "http://127.0.0.1:9", hf_caches=[tmp_path / "hub"], MODEL_ALLOW_PICKLE=leave)
        found.append([where.find(ref, "checkpoint") is not None for ref in refs])
        where.close()
    assert found == [[False, False], [False, True]]


def test_a_token_goes_to_the_site_that_the_client_named_and_to_no_other(tmp_path: Path) -> None:
    with serve(lambda _: Reply(404)) as first, serve(lambda request: ranged(request, BODY)) as second:
        sources = (f"{first.url}/a.safetensors", f"{second.url}/b.safetensors")
        catalog = ModelCatalog((CatalogEntry(name="Nice", kind="lora", sources=sources),))
        where = store(tmp_path, first.url, catalog=catalog)
        asyncio.run(fetch(where, ModelRef(url=sources[1], token="mine")))
        where.close()
    assert [request.headers.get("authorization") for request in first.seen] == [None]
    assert [request.headers.get("authorization") for request in second.seen] == ["Bearer mine"]


def test_a_source_that_may_give_it_later_counts_more_than_one_that_never_will(tmp_path: Path) -> None:
    with serve(lambda request: Reply(503) if request.path == "/busy.safetensors" else Reply(404)) as server:
        sources = (f"{server.url}/busy.safetensors", f"{server.url}/gone.safetensors")
        where = store(
            tmp_path, server.url, catalog=ModelCatalog((CatalogEntry(name="Nice", kind="lora", sources=sources),))
        )
        with pytest.raises(DownloadFailed):
            asyncio.run(fetch(where, ModelRef(name="Nice")))
        where.close()


@pytest.mark.parametrize("announced", [True, False])
def test_a_size_that_the_catalog_knows_is_held_to(tmp_path: Path, *, announced: bool) -> None:
    def unannounced(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY)

    with serve(lambda request: ranged(request, BODY) if announced else Reply(raw=unannounced)) as server:
        right, wrong = (
            CatalogEntry(name=f"Nice {size}", kind="lora", sources=(f"{server.url}/{size}",), size=size)
            for size in (len(BODY), len(BODY) + 1)
        )
        where = store(tmp_path, server.url, catalog=ModelCatalog((right, wrong)))
        assert asyncio.run(fetch(where, ModelRef(name=right.name))).size == len(BODY)
        with pytest.raises(HashMismatch, match="the catalog says"):
            asyncio.run(fetch(where, ModelRef(name=wrong.name)))
        where.close()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("attachment; filename=\"a b.safetensors\"; filename*=UTF-8''%E6%97%A5.safetensors", "日.safetensors"),
        ("attachment; filename*=utf-8'en'x.safetensors", "x.safetensors"),
        ("attachment; filename*=ISO-8859-1''na%EFve.safetensors", "naïve.safetensors"),
        ('attachment; filename="мод.safetensors"'.encode().decode("latin-1"), "мод.safetensors"),
        ('attachment; filename="quo\\"te.safetensors"', 'quo"te.safetensors'),
        ("attachment; filename = x.ckpt", "x.ckpt"),
        ("attachment; filename=;", None),
        ("inline", None),
    ],
)
def test_a_suggested_name_is_read_as_it_was_meant(disposition: str, name: str | None) -> None:
    assert suggested_name(disposition) == name


# Jobs that want the same at the same time


@pytest.mark.parametrize(("mine", "others"), [({}, {"sha256": "0" * 64}), ({"token": "good"}, {"token": "bad"})])
def test_one_jobs_wrong_hash_or_token_is_not_another_jobs_failure(
    tmp_path: Path, mine: dict[str, str], others: dict[str, str]
) -> None:
    asked, goes_on = threading.Event(), threading.Event()

    def script(request: Request) -> Reply:
        asked.set()
        goes_on.wait(5)
        return Reply(401) if request.headers.get("authorization") == "Bearer bad" else ranged(request, BODY)

    with serve(script) as server:
        where = store(tmp_path, server.url)

        async def both() -> list[Any]:
            url = f"{server.url}/x.safetensors"
            first = asyncio.create_task(fetch(where, ModelRef.model_validate({"url": url, **others})))
            await asyncio.to_thread(asked.wait, 5)
            second = asyncio.create_task(fetch(where, ModelRef.model_validate({"url": url, **mine})))
            await asyncio.sleep(0)
            goes_on.set()
            return [*await asyncio.gather(first, second, return_exceptions=True)]

        wrong, right = asyncio.run(both())
        where.close()
    assert isinstance(wrong, WorkerError)
    assert right.path.read_bytes() == BODY


def test_an_error_that_two_jobs_share_names_each_ones_own_field(tmp_path: Path) -> None:
    asked, goes_on = threading.Event(), threading.Event()

    def script(_: Request) -> Reply:
        asked.set()
        goes_on.wait(5)
        return Reply(404)

    with serve(script) as server:
        where = store(tmp_path, server.url)

        async def both() -> list[Any]:
            ref = ModelRef(url=f"{server.url}/x.safetensors")
            first = asyncio.create_task(fetch(where, ref, path="loras[3]"))
            await asyncio.to_thread(asked.wait, 5)
            second = asyncio.create_task(fetch(where, ref, path="loras[0]"))
            await asyncio.to_thread(
                _until, lambda: any(known.state.waiters == 2 for known in list(where._supply._flights.values()))
            )
            goes_on.set()
            return [*await asyncio.gather(first, second, return_exceptions=True)]

        errors = asyncio.run(both())
        where.close()
    assert [type(error) for error in errors] == [ModelNotFound, ModelNotFound]
    assert [error.message.split(":")[0] for error in errors] == ["loras[3]", "loras[0]"]
    assert [error.details["path"] for error in errors] == ["loras[3]", "loras[0]"]
    assert len(server.seen) == 1


def test_a_name_that_another_worker_gave_away_meanwhile_is_fetched_once_under_another(tmp_path: Path) -> None:
    """Worker A brings `Mine` from the first address; two jobs of worker B want `Mine` from the second."""
    asked, goes_on = threading.Event(), threading.Event()

    def script(request: Request) -> Reply:
        if request.path == "/first.safetensors":
            asked.set()
            goes_on.wait(5)
            return ranged(request, BODY)
        return ranged(request, LARGE)

    with serve(script) as server:
        first, second = store(tmp_path, server.url), store(tmp_path, server.url)
        wanted = ModelRef(name="Mine", url=f"{server.url}/second.safetensors")

        async def three() -> list[Any]:
            one = asyncio.create_task(fetch(first, ModelRef(name="Mine", url=f"{server.url}/first.safetensors")))
            await asyncio.to_thread(asked.wait, 5)
            two = asyncio.create_task(fetch(second, wanted))
            await asyncio.to_thread(_until, lambda: second._supply._flights)
            goes_on.set()
            await one
            return [await one, *await asyncio.gather(two, fetch(second, wanted))]

        models = asyncio.run(three())
        first.close()
        second.close()
    assert [model.path.read_bytes() for model in models] == [BODY, LARGE, LARGE]
    assert models[1].path == models[2].path
    ranges = [request.headers["range"] for request in server.seen if request.path == "/second.safetensors"]
    assert len(ranges) == len(set(ranges)), "fetched once"
