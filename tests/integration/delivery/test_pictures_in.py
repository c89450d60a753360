"""Where a job's own pictures may come from."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.loopback_http import Reply, Request, serve
from tests.support.pace import stretched
from tests.support.pictures import png
from worker.errors import InvalidInput
from worker.jobs.picture_source import PictureSource
from worker.net.addresses import AllowList
from worker.net.guard import Guard
from worker.storage.stores import StoreClients
from worker.storage.target import from_job

if TYPE_CHECKING:
    from tests.support.servers.s3 import Store
    from worker.storage.object_store import StoreTarget


def source(*allow: str, store: StoreTarget | None = None, fetch_s: float = 20) -> PictureSource:
    guard = Guard(AllowList.of(allow))
    return PictureSource(guard, StoreClients(guard), store=store, fetch_s=fetch_s)


def read(one: PictureSource, text: str, target: StoreTarget | None = None) -> bytes | str:
    return one.read(text, "init_images[0]", target=target, deadline=time.monotonic() + 60)


def refusal(one: PictureSource, text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(one, text)
    (problem,) = caught.value.problems
    assert problem.path == "init_images[0]"
    return problem.message


def test_a_url_is_fetched_from_where_the_operator_allows_and_nowhere_else_inside() -> None:
    with serve(lambda _request: Reply(body=png())) as server:
        assert read(source("127.0.0.1"), f"{server.url}/a.png") == png()
        assert "does not lead to a public address" in refusal(source(), server.url)
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(404), "HTTP 404"),
        (Reply(503), "HTTP 503"),
        (Reply(302, headers={"Location": "http://169.254.169.254/latest/meta-data/"}), "public address"),
        (Reply(302, headers={"Location": "file:///etc/passwd"}), "only http and https"),
        (Reply(headers={"Content-Length": "99999999999"}), "the limit is"),
    ],
)
def test_what_a_url_must_not_do_is_refused_with_its_field_and_without_its_secret(reply: Reply, words: str) -> None:
    with serve(lambda _request: reply) as server:
        message = refusal(source("127.0.0.1"), f"{server.url}/a.png?sig=s3cr3t")
    assert words in message
    assert "s3cr3t" not in message


def test_a_slow_url_is_given_up() -> None:
    stop = threading.Event()

    def wait(_request: Request) -> Reply:
        stop.wait(20)
        return Reply()

    with serve(wait) as server:
        started = time.monotonic()
        assert "in time" in refusal(source("127.0.0.1", fetch_s=1), server.url)
        assert time.monotonic() - started < stretched(15)
        stop.set()


def test_a_picture_of_an_earlier_job_is_read_from_the_store(store: Store) -> None:
    operators = store.target("pics", prefix="again")
    store.client().put_object(Bucket="pics", Key="again/job/0-1.png", Body=png())
    store.client().put_object(Bucket="pics", Key="secret/other.png", Body=png())
    assert read(source(store=operators), "s3://pics/again/job/0-1.png") == png()
    assert "NoSuchKey" in refusal(source(store=operators), "s3://pics/secret/other.png")
    assert "not in the bucket" in refusal(source(store=operators), "s3://private/again/job/0-1.png")
    assert "no store" in refusal(source(), "s3://pics/again/job/0-1.png")


def test_a_stored_object_larger_than_a_picture_may_be_is_not_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.jobs import picture_source as module

    monkeypatch.setattr(module, "LARGEST_FILE", 1000)
    store.client().put_object(Bucket="pics", Key="large.png", Body=png())
    assert "more than 1000 bytes" in refusal(source(store=store.target("pics")), "s3://pics/large.png")


def test_a_jobs_own_store_inside_is_not_read(store: Store) -> None:
    own = from_job(
        {"accessId": "test:tester", "accessSecret": "testing", "bucketName": "pics", "endpointUrl": store.url}
    )
    with pytest.raises(InvalidInput, match="public address"):
        read(source(), "s3://pics/again/job/0-1.png", own)
