"""LinkVerifier are opened before they are handed out: what does not open is found before a customer finds it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback_http import Reply, Request, serve
from tests.support.pictures import png
from tests.support.servers.fake_s3 import error, fake_store
from tests.support.servers.tls import server_context
from worker.contract.types.job import Output
from worker.delivery.deliver import Delivery
from worker.errors import DeliveryFailed
from worker.images.inspect import inspect
from worker.net.addresses import AllowList
from worker.net.guard import Guard
from worker.storage.links import PROVEN_S, UNKNOWN_S, DeadLink, LinkVerifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.servers.s3 import Store
    from worker.delivery.result_files import Delivered
    from worker.storage.object_store import StoreTarget

DENIED = error(403, "AccessDenied")
CLOSED = "http://127.0.0.1:9"


def send(target: StoreTarget, *jobs: str, seconds: float = 20, **output: Any) -> list[Delivered]:
    """Deliver one picture for each of `jobs`."""
    delivery = Delivery(Guard(), store=target)
    options = Output(**{"delivery": "s3", **output})
    try:
        return [
            delivery.deliver(job, [inspect(png())], [7], options=options, deadline=time.monotonic() + seconds)
            for job in jobs
        ]
    finally:
        delivery.close()


def looks(reply: Reply, times: int = 1000) -> Callable[[Request, int], Reply | None]:
    """Answer the first looks at each link in this way."""
    return lambda request, number: reply if request.method == "GET" and number < times else None


# a real store


def test_links_that_open_are_handed_out_without_a_word(store: Store) -> None:
    (made,) = send(store.target("pics"), "opens")
    assert (made.route, made.warnings) == ("s3", [])


def test_plain_links_into_a_bucket_that_is_not_public_are_no_delivery(store: Store) -> None:
    target = store.target("pics", public_url=f"{store.url}/pics")
    with pytest.raises(DeliveryFailed, match=r"its link does not open: [0-9.]+ answers 400") as caught:
        send(target, "private")
    assert caught.value.details["store_code"] == "DeadLink"
    assert "BUCKET_LINK_CHECK" in (caught.value.hint or "")
    give_up = time.monotonic() + 10
    while store.keys("pics", "private/") and time.monotonic() < give_up:
        time.sleep(0.05)  # it is removed beside
    assert store.keys("pics", "private/") == []


def test_in_auto_the_pictures_come_inline_then(store: Store) -> None:
    target = store.target("pics", public_url=f"{store.url}/elsewhere", trusted=True)
    delivery = Delivery(Guard(), store=target, wish="auto", limit=30_000)
    pictures = [inspect(png(64, 64, seed=number)) for number in range(3)]
    deadline = time.monotonic() + 20
    with pytest.raises(DeliveryFailed):  # together they are too large for an answer
        delivery.deliver("both", pictures, [1, 2, 3], options=Output(), deadline=deadline)
    made = delivery.deliver("own", pictures[:1], [1], options=Output(), store=target, deadline=deadline)
    assert made.route == "inline"
    assert "its link does not open" in made.warnings[0]
    delivery.close()


def test_links_that_the_store_takes_for_too_long_lived_are_found_out(store: Store) -> None:
    with pytest.raises(DeliveryFailed, match="its link does not open"):
        send(store.target("pics", expiry_s=30 * 86400), "long")


def test_pictures_whose_links_nobody_gets_are_not_looked_at(store: Store) -> None:
    target = store.target("pics", public_url=f"{store.url}/pics")
    (made,) = send(target, "hidden", delivery="none")
    assert (made.images, len(made.keys)) == ([], 1)


# a store that misbehaves


def test_a_store_is_looked_at_once_or_always_or_never() -> None:
    for check, count in (("once", 1), ("always", 3), ("off", 0)):
        with fake_store() as fake:
            send(fake.target(link_check=check), "a", "b", "c")
            assert fake.tries("GET") == count


def test_a_picture_that_the_store_has_forgotten_is_stored_again() -> None:
    def forget(request: Request, number: int) -> Reply | None:
        return Reply(200, headers={"ETag": '"not an md5"'}) if request.method == "PUT" and number == 0 else None

    with fake_store(forget) as fake:
        (made,) = send(fake.target(link_check="once"), "again")
        assert list(fake.objects) == made.keys


@pytest.mark.parametrize("look", [error(503, "SlowDown"), Reply(429)])
def test_what_the_store_has_forgotten_is_found_out_where_no_look_at_its_link_tells(look: Reply) -> None:
    def forget(request: Request, number: int) -> Reply | None:
        if request.method == "GET":
            return look
        forgotten = request.method == "PUT" and number == 0
        return Reply(200, headers={"ETag": '"not an md5"'}) if forgotten else None

    with fake_store(forget) as fake:
        (made,) = send(fake.target(link_check="always"), "again")
        assert list(fake.objects) == made.keys
        assert fake.tries("PUT") == 2


def test_a_link_that_stays_dead_is_given_up_with_the_stores_code() -> None:
    with fake_store(looks(error(404, "NoSuchKey"))) as fake:
        with pytest.raises(DeliveryFailed, match="404 NoSuchKey") as caught:
            send(fake.target(link_check="once"), "dead", seconds=2)
        assert caught.value.details["tries"] > 1
        assert caught.value.details["store_status"] == 404


@pytest.mark.parametrize("reply", [error(503, "SlowDown"), error(400, "RequestTimeout"), Reply(429)])
def test_a_store_too_busy_for_the_look_has_proven_nothing_against_the_link(reply: Reply) -> None:
    with fake_store(looks(reply)) as fake:
        one, two = send(fake.target(link_check="once"), "busy", "later")
        assert (one.route, one.warnings, two.warnings) == ("s3", [], [])
        assert fake.tries("PUT") == 2


def test_a_key_that_may_not_read_is_not_tried_again() -> None:
    with fake_store(looks(DENIED)) as fake:
        with pytest.raises(DeliveryFailed, match="403 AccessDenied"):
            send(fake.target(link_check="once"), "denied")
        assert fake.tries("PUT") == 1
        assert fake.deleted.wait(10), "what nobody can open is not left there"


# links to another host than the store's


def test_links_to_a_host_out_of_reach_are_handed_out_each_with_a_warning() -> None:
    with fake_store() as fake:
        one, two = send(fake.target(link_check="once", public_url=f"{CLOSED}/pics"), "first", "second")
        assert one.images == [f"{CLOSED}/pics/first/0-7.png"]
        assert len(one.warnings) == 1
        assert "127.0.0.1 could not be reached" in one.warnings[0]
        assert two.warnings == one.warnings, "the second job's client was told nothing yet"


def test_a_host_that_never_answers_takes_no_job_its_time() -> None:
    over = threading.Event()

    def silent(_: Request) -> Reply:
        over.wait(60)
        return Reply()

    with fake_store() as fake, serve(silent) as cdn:
        (made,) = send(fake.target(link_check="once", public_url=cdn.url), "silent", seconds=2)
        assert not over.is_set()
        assert "did not answer in time" in made.warnings[0]
        over.set()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(404), "answers 404"),
        (Reply(401), "answers 401"),
        (Reply(200, b"<html>", {"Content-Type": "text/html; charset=utf-8"}), "answers with a web page"),
        (Reply(302), "answers 302"),
    ],
)
def test_a_host_that_has_something_else_there_is_found_out_unless_the_operator_knows(reply: Reply, said: str) -> None:
    with fake_store() as fake, serve(lambda _: reply) as cdn:
        with pytest.raises(DeliveryFailed, match=said):
            send(fake.target(link_check="once", public_url=cdn.url), "elsewhere", seconds=2)
        assert send(fake.target(link_check="off", public_url=cdn.url), "known")[0].warnings == []


def test_a_redirect_to_the_picture_is_as_good_as_the_picture() -> None:
    with (
        serve(lambda _: Reply(206, b"x", {"Content-Type": "image/png"})) as far,
        serve(lambda request: Reply(301, headers={"Location": f"{far.url}{request.path}"})) as near,
        fake_store() as fake,
    ):
        (made,) = send(fake.target(link_check="once", public_url=near.url), "moved")
        assert made.warnings == []
        assert far.seen[0].headers["range"] == "bytes=0-0"


def test_what_was_proven_is_looked_at_again_after_an_hour() -> None:
    clock = [0.0]
    with serve(lambda _: Reply(206, b"x")) as server:
        links = LinkVerifier(Guard(AllowList.of(["127.0.0.1"])), check="once", now=lambda: clock[0])
        for second in (0.0, 1.0, PROVEN_S - 1, PROVEN_S + 1, PROVEN_S + 2):
            clock[0] = second
            links.prove(f"{server.url}/x", second + 100)
        assert len(server.seen) == 2


def test_what_a_look_could_not_tell_is_looked_at_again_after_a_minute() -> None:
    clock, seen = [0.0], []
    with serve(lambda _: Reply(503)) as server:
        links = LinkVerifier(Guard(AllowList.of(["127.0.0.1"])), check="once", now=lambda: clock[0])
        for second in (0.0, UNKNOWN_S - 1, UNKNOWN_S + 1, 2 * UNKNOWN_S):
            clock[0] = second
            links.prove(f"{server.url}/x", second + 100)
            seen.append(len(server.seen))
    assert seen == [1, 1, 2, 2]


def test_a_dead_link_is_held_against_the_store_until_one_opens() -> None:
    clock, replies = [0.0], [DENIED, Reply(206, b"x")]
    with serve(lambda _: replies.pop(0)) as server:
        links = LinkVerifier(Guard(AllowList.of(["127.0.0.1"])), check="always", now=lambda: clock[0])
        with pytest.raises(DeadLink):
            links.prove(f"{server.url}/x", 100)
        with pytest.raises(DeadLink):  # no time is left for a look
            links.prove(f"{server.url}/x", 0.1)
        assert links.prove(f"{server.url}/x", 100)
        assert links.prove(f"{server.url}/x", 0.1)
        assert replies == []


# the operator's ways to the store


def test_a_store_behind_the_operators_proxy_is_looked_at_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_store() as fake:  # the proxy as well: it is asked for whole URLs
        monkeypatch.setenv("HTTP_PROXY", fake.server.url)
        monkeypatch.setenv("http_proxy", fake.server.url)
        (made,) = send(fake.target(endpoint="http://store.invalid", link_check="once"), "proxied")
        assert (made.route, made.warnings) == ("s3", [])
        assert fake.tries("GET") == 1


def test_a_jobs_own_store_is_looked_at_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_store() as fake, fake_store() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.server.url)
        monkeypatch.setenv("http_proxy", proxy.server.url)
        delivery = Delivery(Guard(AllowList.of(["127.0.0.1"])))
        target, deadline = fake.target(trusted=False, link_check="once"), time.monotonic() + 20
        made = delivery.deliver(
            "own", [inspect(png())], [7], options=Output(delivery="s3"), store=target, deadline=deadline
        )
        delivery.close()
        assert (made.route, made.warnings) == ("s3", [])
        assert (fake.tries("GET"), proxy.seen) == (1, [])


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_store_with_a_certificate_of_the_operators_own_is_trusted_alike(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, roots = server_context(tmp_path, "localhost")
    for each in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(variable, str(roots))
    with fake_store(tls=context) as fake:
        endpoint = fake.server.url.replace("127.0.0.1", "localhost")
        (made,) = send(fake.target(endpoint=endpoint, link_check="once"), "own-roots")
        assert (made.route, made.warnings) == ("s3", [])
        assert fake.tries("GET") == 1
