"""Parts of the bridge: what waits for what, listings that are kept, pictures behind links."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback_http import Reply, serve
from worker.bridge.endpoint_gateway import deliverable
from worker.bridge.listing_cache import STALE_S, ListingCache, ListingsUnreadable
from worker.bridge.picture_links import embed_pictures
from worker.errors import InvalidInput, WebUIUnreachable
from worker.serving.gateway import JobError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.loopback_http import Request

PATH = "/sdapi/v1/samplers"


class Endpoint:
    """Answers listings, and counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: JobError | None = None

    async def ask(self, path: str) -> Any:
        self.asked.append(path)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return [len(self.asked)]


def test_a_listing_is_asked_for_once_by_many_clients() -> None:
    async def run() -> tuple[list[Any], list[str]]:
        endpoint = Endpoint()
        cache = ListingCache(endpoint.ask, None)
        told = await asyncio.gather(*(cache.get(PATH) for _ in range(5)))
        return [*told, await cache.get(PATH)], endpoint.asked

    told, asked = asyncio.run(run())
    assert told == [[1]] * 6
    assert asked == [PATH]


def test_a_refusal_is_remembered_and_an_outage_is_not() -> None:
    async def run(error: JobError) -> int:
        endpoint = Endpoint()
        endpoint.error = error
        cache = ListingCache(endpoint.ask, None)
        for _ in range(2):
            with pytest.raises(JobError):
                await cache.get(PATH)
        return len(endpoint.asked)

    assert asyncio.run(run(JobError(InvalidInput.at("api", "is not installed").to_answer()))) == 1
    assert asyncio.run(run(JobError(WebUIUnreachable("gone").to_answer()))) == 2


def test_only_old_listings_are_asked_for_anew() -> None:
    async def run() -> list[int]:
        clock, endpoint, seen = [0.0], Endpoint(), []
        cache = ListingCache(endpoint.ask, None, now=lambda: clock[0])
        await cache.get(PATH)
        for now in (STALE_S - 1, STALE_S + 1):
            clock[0] = now
            await cache.refresh_stale()
            seen.append(len(endpoint.asked))
        cache.expire()
        await cache.refresh_stale()
        endpoint.error = JobError(WebUIUnreachable("gone").to_answer())
        cache.expire()
        await cache.refresh_stale()
        assert await cache.get(PATH) == [3]
        return [*seen, len(endpoint.asked)]

    assert asyncio.run(run()) == [1, 2, 4]


def test_listings_survive_in_their_file(tmp_path: Path) -> None:
    file = tmp_path / "folder/listings.json"

    async def run() -> list[str]:
        endpoint = Endpoint()
        await ListingCache(endpoint.ask, file).get(PATH)
        assert await ListingCache(endpoint.ask, file).get(PATH) == [1]
        return endpoint.asked

    assert asyncio.run(run()) == [PATH]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"listings": {"a": 1}}', '{"listings": []}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "listings.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ListingsUnreadable, match=r"listings\.json"):
        ListingCache(Endpoint().ask, file)


def _store(request: Request) -> Reply:
    return Reply(200, request.path.encode()) if request.path.startswith("/there") else Reply(403)


def test_links_become_pictures_in_every_form_of_answer() -> None:
    with serve(_store) as store:
        one, two = f"{store.url}/there/1.png", f"{store.url}/there/2.png"
        answer = {"images": [one, "iVBOR"], "image": two, "data": [{"url": one, "seed": 7}, {"b64_json": "x"}]}
        told = asyncio.run(embed_pictures(answer, keep_openai_links=False))
        kept = asyncio.run(embed_pictures(answer, keep_openai_links=True))
    first, second = (base64.b64encode(path).decode() for path in (b"/there/1.png", b"/there/2.png"))
    assert told == {
        "images": [first, "iVBOR"],
        "image": second,
        "data": [{"b64_json": first, "seed": 7}, {"b64_json": "x"}],
    }
    assert kept["data"] == answer["data"]
    assert asyncio.run(embed_pictures(["a listing"], keep_openai_links=False)) == ["a listing"]


def test_a_link_that_is_no_address_is_a_picture_that_can_not_be_fetched() -> None:
    with pytest.raises(JobError, match=r"can't be fetched from \[:"):
        asyncio.run(embed_pictures({"images": ["http://[/1.png?token=hidden"]}, keep_openai_links=False))


def test_a_link_that_cannot_be_read_is_not_lost() -> None:
    with serve(_store) as store:
        link = f"{store.url}/gone.png"
        with pytest.raises(JobError, match="made and stored") as caught:
            asyncio.run(embed_pictures({"images": [link]}, keep_openai_links=False))
    assert caught.value.answer["details"]["link"] == link


def test_pictures_too_large_for_an_answer_may_come_as_links_unless_asked_otherwise() -> None:
    def sent(**fields: Any) -> Any:
        return json.loads(json.dumps(deliverable({"openai_route": "r", "openai_input": fields})))["openai_input"]

    assert sent(prompt="a", response_format="b64_json") == {"prompt": "a", "output": {"delivery": "auto"}}
    assert sent(prompt="a", output={"grid": True})["output"] == {"delivery": "auto", "grid": True}
    assert sent(prompt="a", output={"delivery": "base64"})["output"] == {"delivery": "base64"}
    assert sent(prompt="a", response_format="url") == {"prompt": "a", "response_format": "url"}
    assert sent(prompt="a", response_format="bad") == {"prompt": "a", "response_format": "bad"}
    assert deliverable({"prompt": "a"}) == {"prompt": "a"}
