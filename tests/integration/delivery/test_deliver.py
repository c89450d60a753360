from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from tests.support.loopback_http import Reply, Request
from tests.support.pace import stretched
from tests.support.pictures import file, noise, png, smooth
from tests.support.servers.fake_s3 import error, fake_store
from tests.support.servers.proxy import Fault, proxy
from worker.contract.types.job import Output
from worker.delivery.deliver import PIECE_BYTES, Delivery
from worker.delivery.streamed import Streamed
from worker.errors import DeliveryFailed, InvalidInput, OutputTooLarge, WrongResult
from worker.images.grid import LONGEST_SIDE, grid
from worker.images.inspect import decode_base64, inspect
from worker.net.addresses import AllowList
from worker.net.guard import Guard
from worker.storage.s3 import ATTEMPTS
from worker.storage.store_errors import StoreError
from worker.storage.stores import StoreClients
from worker.storage.target import from_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.servers.s3 import Store
    from worker.delivery.result_files import Delivered
    from worker.images.formats.picture import Picture
    from worker.storage.object_store import StoreTarget

    Make = Callable[..., Delivery]

TEXT = "a cat\nSteps: 1, Seed: 7"


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Delivery] = []

    def delivery(target: StoreTarget | None = None, *, allow: tuple[str, ...] = (), **options: Any) -> Delivery:
        made.append(Delivery(Guard(AllowList.of(allow)), store=target, **options))
        return made[-1]

    yield delivery
    for one in made:
        one.close()


def drawn(count: int = 1, size: int = 64) -> list[Picture]:
    return [inspect(png(size, size, infotext=TEXT, seed=number)) for number in range(count)]


def send(
    delivery: Delivery, pictures: list[Picture], job: str = "job-1", *, seconds: float = 20, **more: Any
) -> Delivered:
    options = Output(**more.pop("output", {}))
    seeds = list(range(100, 100 + len(pictures)))
    return delivery.deliver(job, pictures, seeds, options=options, deadline=time.monotonic() + seconds, **more)


# a real store


def test_a_presigned_url_gives_exactly_the_picture(make: Make, store: Store) -> None:
    pictures = drawn(2)
    made = send(make(store.target("pics", prefix="out")), pictures, "presigned", output={"delivery": "s3"})
    assert made.route == "s3"
    assert made.keys == ["out/presigned/0-100.png", "out/presigned/1-101.png"]
    assert made.bytes == sum(len(one.data) for one in pictures)
    for url, picture in zip(made.images, pictures, strict=True):
        answer = requests.get(url, timeout=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
        assert answer.content == picture.data


def test_a_presigned_url_ends(make: Make, store: Store) -> None:
    made = send(make(store.target("pics", expiry_s=1)), drawn(), "expires", output={"delivery": "s3"})
    give_up = time.monotonic() + 10
    while (status := requests.get(made.images[0], timeout=10).status_code) == 200 and time.monotonic() < give_up:
        pass
    assert status == 403


def test_a_presigned_url_opens_nothing_else(make: Make, store: Store) -> None:
    one = send(make(store.target("pics")), drawn(), "mine", output={"delivery": "s3"}).images[0]
    send(make(store.target("pics")), drawn(), "other", output={"delivery": "s3"})
    assert requests.get(one.replace("/mine/", "/other/"), timeout=10).status_code == 403
    assert requests.put(one, data=b"x", timeout=10).status_code == 403


def test_what_is_stored_tells_its_seed_and_size(make: Make, store: Store) -> None:
    made = send(make(store.target("pics")), drawn(), "told", output={"delivery": "s3"})
    head = store.client().head_object(Bucket="pics", Key=made.keys[0])
    told = {name.lower(): value for name, value in head["Metadata"].items()}
    assert told == {"seed": "100", "width": "64", "height": "64"}


def test_a_public_bucket_gives_plain_urls(make: Make, store: Store) -> None:
    target = store.target("pics", public_url="https://cdn.example.com/pics", link_check="off")
    made = send(make(target), drawn(), "public", output={"delivery": "s3"})
    assert made.images == ["https://cdn.example.com/pics/public/0-100.png"]


def test_a_strange_job_id_stays_in_its_folder(make: Make, store: Store) -> None:
    made = send(make(store.target("pics", prefix="p")), drawn(), "../../etc/жар птица?", output={"delivery": "s3"})
    assert made.keys[0].startswith("p/etc-")
    assert made.keys[0].count("/") == 2
    assert requests.get(made.images[0], timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"secret_key": "wrong-s3cr3t"}, "SignatureDoesNotMatch", 403),
        ({"access_key": "nobody", "secret_key": "wrong-s3cr3t"}, "SignatureDoesNotMatch", 403),
        ({"bucket": "absent"}, "NoSuchBucket", 404),
    ],
)
def test_a_store_that_refuses_is_an_error_with_its_code_and_no_secret(
    make: Make, store: Store, changes: dict[str, str], code: str, status: int
) -> None:
    target = store.target(**{"bucket": "pics", **changes})
    with pytest.raises(DeliveryFailed) as caught:
        send(make(target), drawn(), output={"delivery": "s3"})
    answer = caught.value.to_answer()
    details = answer["details"]
    assert (details["store_code"], details["store_status"]) == (code, status)
    assert (details["bucket"], details["key"]) == (target.bucket, "job-1/0-100.png")
    assert details["host"] == target.host
    assert details["retry_helps"] is False
    assert details["hint"]
    assert "s3cr3t" not in json.dumps(answer)
    assert target.secret_key not in json.dumps(answer)


def test_a_jobs_own_store_takes_its_pictures_in_auto(make: Make, store: Store) -> None:
    own = from_job(
        {"accessId": "test:tester", "accessSecret": "testing", "bucketName": "pics", "endpointUrl": store.url}
    )
    made = send(make(allow=("127.0.0.1",)), drawn(), "own", store=own)
    assert made.route == "s3"
    assert requests.get(made.images[0], timeout=10).status_code == 200


def test_a_jobs_own_store_inside_is_refused_before_and_again_at_the_connection(make: Make, store: Store) -> None:
    own = from_job(
        {"accessId": "test:tester", "accessSecret": "testing", "bucketName": "pics", "endpointUrl": store.url}
    )
    with proxy("127.0.0.1", store.port) as hop:
        inside = from_job({"accessId": "a", "accessSecret": "b", "bucketName": "pics", "endpointUrl": hop.url})
        delivery = make(store.target("pics"))
        with pytest.raises(
            InvalidInput, match=r"s3Config\.endpointUrl: 127\.0\.0\.1 does not lead to a public address"
        ):
            asyncio.run(delivery.admit(Output(), inside))
        with pytest.raises(DeliveryFailed, match="public address"):
            send(delivery, drawn(), store=inside, output={"delivery": "s3"})
        assert hop.connections == 0
    asyncio.run(make(allow=("127.0.0.1",)).admit(Output(), own))


def test_the_host_of_a_jobs_own_store_is_looked_up_beside_the_event_loop() -> None:
    threads: list[int] = []

    def resolver(_host: str, _port: int) -> list[str]:
        threads.append(threading.get_ident())
        return ["93.184.216.34"]

    own = from_job(
        {"accessId": "a", "accessSecret": "b", "bucketName": "pics", "endpointUrl": "https://s3.example.com"}
    )
    delivery = Delivery(Guard(resolver=resolver))
    asyncio.run(delivery.admit(Output(), own))
    delivery.close()
    assert threads
    assert threading.get_ident() not in threads


def test_a_host_that_moves_inside_after_the_check_is_not_connected_to(store: Store) -> None:
    with proxy("127.0.0.1", store.port) as hop:
        answers = iter([["93.184.216.34"], ["127.0.0.1"]])
        guard = Guard(resolver=lambda _host, _port: next(answers))
        moving = from_job(
            {
                "accessId": "a",
                "accessSecret": "b",
                "bucketName": "pics",
                "endpointUrl": f"http://s3.example.com:{hop.port}",
            }
        )
        delivery = Delivery(guard)
        asyncio.run(delivery.admit(Output(), moving))
        with pytest.raises(StoreError, match="public address"):
            StoreClients(guard).of(moving).get("x", deadline=time.monotonic() + 5)
        assert hop.connections == 0
        delivery.close()


def test_a_store_that_is_asked_for_and_not_there_is_refused_before_the_picture_is_made(make: Make) -> None:
    with pytest.raises(InvalidInput, match=r"output\.delivery: s3 needs a store"):
        asyncio.run(make().admit(Output(delivery="s3"), None))


def test_connections_are_kept(make: Make, store: Store) -> None:
    with proxy("127.0.0.1", store.port) as hop:
        delivery = make(store.target("pics", endpoint=hop.url))
        for number in range(3):
            send(delivery, drawn(), f"kept-{number}", output={"delivery": "s3"})
        assert hop.connections == 2, "one for uploads, one for the look at the first link"


# a store behind a bad network


def test_an_upload_survives_resets(make: Make, store: Store) -> None:
    with proxy("127.0.0.1", store.port, lambda number: Fault(reset=True) if number < 2 else Fault()) as hop:
        target = store.target("pics", endpoint=hop.url, link_check="off")
        made = send(make(target), drawn(), "resets", output={"delivery": "s3"})
        assert hop.connections == 3
    assert store.client().get_object(Bucket="pics", Key=made.keys[0])["Body"].read() == drawn()[0].data


def test_an_upload_cut_halfway_is_sent_again_whole(make: Make, store: Store) -> None:
    plan = lambda number: Fault(reset_after_up=20_000) if number == 0 else Fault()  # noqa: E731 - a plan in one line
    pictures = drawn(1, 256)
    with proxy("127.0.0.1", store.port, plan) as hop:
        target = store.target("pics", endpoint=hop.url, link_check="off")
        made = send(make(target), pictures, "cut", output={"delivery": "s3"})
        assert hop.connections == 2
    assert store.client().get_object(Bucket="pics", Key=made.keys[0])["Body"].read() == pictures[0].data


def test_a_silent_store_ends_the_job_at_its_deadline(make: Make, store: Store) -> None:
    with proxy("127.0.0.1", store.port, lambda _number: Fault(swallow=True)) as hop:
        delivery = make(store.target("pics", endpoint=hop.url))
        started = time.monotonic()
        with pytest.raises(DeliveryFailed, match="time is up") as caught:
            send(delivery, drawn(2), output={"delivery": "s3"}, seconds=0.5)
        assert time.monotonic() - started < stretched(20)
        assert caught.value.details["retry_helps"] is True


def test_a_store_that_is_down_is_tried_several_times(make: Make) -> None:
    with fake_store() as fake:
        target = fake.target()
    with pytest.raises(DeliveryFailed, match="can't be reached") as caught:
        send(make(target), drawn(), output={"delivery": "s3"})
    assert caught.value.details["tries"] == ATTEMPTS


# a store that misbehaves


@pytest.mark.parametrize(
    "reply",
    [error(503, "SlowDown"), error(500, "InternalError"), error(429, "TooManyRequests"), error(400, "RequestTimeout")],
)
def test_a_busy_store_is_asked_again(make: Make, reply: Reply) -> None:
    with fake_store(lambda _request, number: reply if number < 2 else None) as fake:
        made = send(make(fake.target()), drawn(), output={"delivery": "s3"})
        assert fake.tries("PUT") == 3
        assert list(fake.objects) == made.keys


@pytest.mark.parametrize("reply", [error(403, "AccessDenied"), error(404, "NoSuchBucket"), error(400, "InvalidDigest")])
def test_a_refusal_is_not_asked_again(make: Make, reply: Reply) -> None:
    with fake_store(lambda _request, _number: reply) as fake:
        with pytest.raises(DeliveryFailed):
            send(make(fake.target()), drawn(), output={"delivery": "s3"})
        assert fake.tries("PUT") == 1


def test_a_store_that_stays_busy_is_given_up(make: Make) -> None:
    with fake_store(lambda _request, _number: error(503, "SlowDown")) as fake:
        with pytest.raises(DeliveryFailed, match="503 SlowDown") as caught:
            send(make(fake.target()), drawn(), output={"delivery": "s3"})
        assert caught.value.details["tries"] == fake.tries("PUT") == ATTEMPTS


def test_when_one_picture_fails_none_is_left(make: Make) -> None:
    stored = threading.Event()

    def second_fails(request: Request, _number: int) -> Reply | None:
        if request.method == "PUT" and request.path.endswith("1-101.png"):
            assert stored.wait(10)
            return error(403, "AccessDenied")
        return None

    with fake_store(second_fails) as fake:
        answer = fake._answer

        def and_tell(request: Request) -> Reply:
            reply = answer(request)
            if request.method == "PUT" and request.path.endswith("0-100.png"):
                stored.set()
            return reply

        fake.server._script = and_tell
        with pytest.raises(DeliveryFailed, match=r"1-101\.png: it answered 403 AccessDenied"):
            send(make(fake.target()), drawn(2), output={"delivery": "s3"})
        assert fake.deleted.wait(10)
        assert fake.objects == {}


def test_pictures_are_uploaded_at_once(make: Make) -> None:
    together = threading.Barrier(4, timeout=10)

    def wait_for_the_others(_request: Request, _number: int) -> None:
        together.wait()

    with fake_store(wait_for_the_others) as fake:
        assert len(send(make(fake.target()), drawn(4), output={"delivery": "s3"}).images) == 4


@pytest.mark.parametrize(("read_back_right", "tries"), [(True, 1), (False, 2)])
def test_an_etag_that_is_another_md5_is_not_believed(make: Make, *, read_back_right: bool, tries: int) -> None:
    wrong = Reply(200, headers={"ETag": '"' + "0" * 32 + '"'})

    def lie_once(request: Request, number: int) -> Reply | None:
        if request.method == "PUT" and number == 0:
            if read_back_right:
                fake.objects[request.path.removeprefix("/pics/")] = request.body
            return wrong
        if request.method == "GET" and not read_back_right:
            return Reply(200, b"something else")
        return None

    with fake_store(lie_once) as fake:
        send(make(fake.target()), drawn(), output={"delivery": "s3"})
        assert fake.tries("PUT") == tries
        assert fake.tries("GET") == 1


@pytest.mark.parametrize(
    "headers", [{"ETag": '"' + "0" * 32 + '"', "x-amz-server-side-encryption": "aws:kms"}, {"ETag": '"abc-1"'}]
)
def test_an_etag_that_is_no_md5_is_not_taken_for_one(make: Make, headers: dict[str, str]) -> None:
    with fake_store(lambda request, _number: Reply(200, headers=headers) if request.method == "PUT" else None) as fake:
        send(make(fake.target()), drawn(), output={"delivery": "s3"})
        assert fake.tries("GET") == 0


def test_a_host_that_says_yes_to_everything_is_no_store(make: Make) -> None:
    """The address of a store's web console, say, or of whatever stands before it."""
    page = Reply(200, b"<html>Console</html>")
    with fake_store(lambda _request, _number: page) as fake, pytest.raises(DeliveryFailed, match="other bytes"):
        send(make(fake.target()), drawn(), output={"delivery": "s3"})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_an_upload_is_told_with_where_it_leads(make: Make, status: int) -> None:
    """http:// in place of https://, most of the time."""
    to = Reply(status, headers={"Location": "https://pics.example.com/pics/x?token=hidden"})
    with fake_store(lambda _request, _number: to) as fake:
        with pytest.raises(DeliveryFailed, match=r"redirects to https://pics\.example\.com$") as caught:
            send(make(fake.target()), drawn(), output={"delivery": "s3"})
        assert len(fake.seen) == 1
    assert caught.value.hint is not None
    assert "https://" in caught.value.hint


def test_the_region_that_a_store_names_is_used(make: Make) -> None:
    def elsewhere(request: Request, _number: int) -> Reply | None:
        if "/eu-west-1/s3/" in request.headers["authorization"]:
            return None
        return Reply(301, error(301, "PermanentRedirect").body, {"x-amz-bucket-region": "eu-west-1"})

    with fake_store(elsewhere) as fake:
        assert send(make(fake.target()), drawn(), output={"delivery": "s3"}).keys == list(fake.objects)


@pytest.mark.parametrize(("status", "words"), [(403, "s3:PutObject"), (404, "does not exist"), (413, "this size")])
def test_a_refusal_without_a_stores_words_has_a_hint(make: Make, status: int, words: str) -> None:
    page = Reply(status, b"<html>nginx</html>")
    with fake_store(lambda _request, _number: page) as fake, pytest.raises(DeliveryFailed) as caught:
        send(make(fake.target()), drawn(), output={"delivery": "s3"})
    assert words in (caught.value.hint or "")


def test_temporary_keys_bring_their_token(make: Make) -> None:
    with fake_store() as fake:
        made = send(make(fake.target(session_token="t0ken")), drawn(), output={"delivery": "s3"})
        assert fake.server.seen[0].headers["x-amz-security-token"] == "t0ken"
    assert "X-Amz-Security-Token=t0ken" in made.images[0]
    assert "t0ken" not in repr(fake.target(session_token="t0ken"))


def test_what_else_on_the_machine_uses_aws_is_no_business_of_the_worker(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("no config [[[")
    code = """
import time
from tests.support.servers.fake_s3 import fake_store
from worker.storage.stores import StoreClients
from worker.net.guard import Guard
with fake_store() as fake:
    StoreClients(Guard()).of(fake.target()).put(
        "x", b"x", content_type="text/plain", metadata={}, deadline=time.monotonic() + 10, linked=False)
    print(fake.objects, "x-amz-security-token" in fake.server.seen[0].headers)
"""
    foreign = {
        "AWS_PROFILE": "somebody", "AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SESSION_TOKEN": "of another key",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "config"), "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    }  # fmt: skip
    environment = {**os.environ, **foreign}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip() == "{'x': b'x'} False", done.stderr


def test_uploads_carry_the_checksum_that_every_store_takes_and_no_newer_one(make: Make) -> None:
    with fake_store() as fake:
        send(make(fake.target()), drawn(), output={"delivery": "s3"})
        (sent,) = fake.server.seen
        assert sent.headers["content-md5"]
        assert not [name for name in sent.headers if "checksum" in name or "trailer" in name or "sdk-checksum" in name]
        assert "aws-chunked" not in sent.headers.get("content-encoding", "")


# which way


def test_small_answers_stay_inline_in_auto(make: Make) -> None:
    with fake_store() as fake:
        pictures = drawn()
        made = send(make(fake.target()), pictures)
        assert (made.route, made.images) == ("inline", [pictures[0].base64])
        assert fake.seen == []


def test_large_answers_go_to_the_store_in_auto(make: Make) -> None:
    with fake_store() as fake:
        assert send(make(fake.target(), limit=20_000), drawn(2)).route == "s3"
        assert send(make(fake.target(), limit=40_000), drawn(2)).route == "inline"
        assert send(make(fake.target(), limit=40_000), drawn(2), overhead_bytes=10_000).route == "s3"


def test_large_answers_without_a_store_become_smaller_only_when_the_client_allows(make: Make) -> None:
    delivery = make(limit=20_000)
    with pytest.raises(OutputTooLarge, match=r"make an answer of \d+ bytes; the limit is 20000"):
        send(delivery, drawn(2))
    made = send(delivery, drawn(2), output={"allow_smaller": True})
    assert made.route == "inline"
    assert {one.format for one in made.pictures} == {"jpeg"}
    assert {one.infotext for one in made.pictures} == {TEXT}
    assert "jpeg at quality 95" in made.warnings[0]
    assert len(json.dumps({"images": made.images})) <= 20_000 + len('{"images": []}')


def test_a_failing_store_falls_back_to_inline_where_that_was_allowed(make: Make) -> None:
    with fake_store(lambda _request, _number: error(403, "AccessDenied")) as fake:
        pictures = drawn()
        made = send(make(), pictures, store=fake.target())
        assert (made.route, made.images) == ("inline", [pictures[0].base64])
        assert "403 AccessDenied" in made.warnings[0]
        with pytest.raises(DeliveryFailed):
            send(make(limit=10_000), pictures, store=fake.target())
        with pytest.raises(DeliveryFailed):
            send(make(), pictures, store=fake.target(), output={"delivery": "s3"})


def test_the_format_asked_for_is_delivered(make: Make) -> None:
    picture = inspect(file(smooth(64, 64)))
    made = send(make(), [picture], output={"format": "webp", "quality": 80, "strip_metadata": True})
    assert (made.pictures[0].format, made.pictures[0].infotext) == ("webp", None)
    assert send(make(), [inspect(file(noise(64, 64), "JPEG"))]).pictures[0].format == "jpeg"


def test_a_picture_whose_pixels_turn_out_broken_is_a_wrong_result(make: Make) -> None:
    whole = inspect(file(noise(64, 64), "JPEG"))
    undecodable = replace(whole, data=whole.data[:300])
    with pytest.raises(WrongResult, match="no whole pixels"):
        send(make(), [undecodable], output={"format": "png"})


def test_a_picture_that_needs_no_change_is_not_encoded_again(make: Make) -> None:
    data = png(64, 64)
    picture = inspect(data, base64="the text as it came")
    made = send(make(), [picture])
    assert made.images[0] is picture.encoded


def test_warming_up_makes_the_client_that_the_first_upload_uses(make: Make, store: Store) -> None:
    delivery = make(store.target("pics"))
    delivery.warm()
    client = delivery.clients.of(store.target("pics"))
    send(delivery, drawn(), "warm", output={"delivery": "s3"})
    assert delivery.clients.of(store.target("pics")) is client


def test_boto3_is_not_imported_until_a_store_is_used() -> None:
    code = "import sys, worker.delivery.deliver; print([name for name in sys.modules if name in ('boto3', 'botocore')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# what comes along


def test_previews_come_inline_with_inline_pictures(make: Make) -> None:
    made = send(make(), drawn(2, 128), output={"thumbnail": 32, "blurhash": True})
    assert [sorted(one) for one in made.previews] == [["blurhash", "thumbnail"]] * 2
    small = inspect(decode_base64(made.previews[0]["thumbnail"]))
    assert (small.format, small.width, small.height, small.infotext) == ("jpeg", 32, 32, None)
    assert send(make(), drawn(), output={"blurhash": True}).previews[0].keys() == {"blurhash"}
    assert send(make(), drawn()).previews == []


def test_previews_count_in_the_size_of_the_answer(make: Make) -> None:
    pictures = drawn(1, 128)
    limit = pictures[0].base64_length + 100
    assert send(make(limit=limit), pictures).route == "inline"
    with pytest.raises(OutputTooLarge):
        send(make(limit=limit), pictures, output={"thumbnail": 128})


def test_previews_and_record_lie_beside_stored_pictures(make: Make, store: Store) -> None:
    pictures = drawn(2)
    answer = {"images": [], "seeds": [100, 101], "parameters": {"prompt": "жар-птица"}}
    asked = {"delivery": "s3", "thumbnail": 32, "blurhash": True, "record": True}
    made = send(make(store.target("pics", prefix="rec")), pictures, "told", output=asked, answer=answer)
    assert sorted(store.keys("pics", "rec/")) == [
        "rec/told/0-100.png",
        "rec/told/0-100.png.thumbnail.jpg",
        "rec/told/1-101.png",
        "rec/told/1-101.png.thumbnail.jpg",
        "rec/told/job.json",
    ]
    small = requests.get(made.previews[1]["thumbnail"], timeout=10)
    assert small.headers["Content-Type"] == "image/jpeg"
    assert inspect(small.content).width == 32
    assert made.record is not None
    told = requests.get(made.record, timeout=10)
    assert told.headers["Content-Type"] == "application/json"
    assert told.json() == {**answer, "images": made.keys}


def test_a_record_without_a_store_is_a_warning(make: Make) -> None:
    made = send(make(), drawn(), output={"record": True}, answer={"images": []})
    assert made.record is None
    assert "output.record" in made.warnings[0]


def test_an_avif_is_delivered_where_pillow_can_write_it(make: Make) -> None:
    made = send(make(), drawn(), output={"format": "avif"})
    assert (made.pictures[0].format, made.pictures[0].infotext) == ("avif", TEXT)


# no pictures in the answer, and a sheet of all


def test_none_keeps_the_pictures_out_of_the_answer(make: Make) -> None:
    made = send(make(), drawn(2), output={"delivery": "none"})
    assert (made.images, made.keys, made.told()) == ([], [], {"images": []})


def test_none_needs_no_room(make: Make) -> None:
    big = [inspect(file(noise(256, 256), "png"))]
    with pytest.raises(OutputTooLarge):
        send(make(limit=10_000), big)
    assert send(make(limit=10_000), big, output={"delivery": "none"}).images == []


def test_none_stores_the_pictures_where_there_is_a_store_and_names_their_keys(make: Make, store: Store) -> None:
    pictures = drawn(2)
    made = send(make(store.target("pics", prefix="out")), pictures, "hidden", output={"delivery": "none"})
    assert made.told() == {"images": [], "keys": ["out/hidden/0-100.png", "out/hidden/1-101.png"]}
    body = store.client().get_object(Bucket="pics", Key=made.keys[1])["Body"].read()
    assert body == pictures[1].data


def test_what_is_asked_for_by_name_comes_also_with_none(make: Make) -> None:
    made = send(make(), drawn(2), output={"delivery": "none", "thumbnail": 16, "grid": True})
    assert made.images == []
    assert [sorted(one) for one in made.previews] == [["thumbnail"], ["thumbnail"]]
    assert made.grid is not None


def test_a_grid_shows_all_pictures_in_order_and_is_none_of_them(make: Make) -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    pictures = [inspect(file(Image.new("RGB", (64, 32), colour), "png")) for colour in colours]
    made = send(make(), pictures, output={"grid": True})
    assert len(made.images) == 3
    assert made.grid is not None
    with Image.open(BytesIO(decode_base64(made.grid))) as sheet:
        assert sheet.size == (128, 64)
        found = [sheet.getpixel((x, y)) for x, y in ((32, 16), (96, 16), (32, 48), (96, 48))]
    assert found == [*colours, (255, 255, 255)]


def test_a_grid_counts_and_is_stored_with_the_pictures(make: Make, store: Store) -> None:
    made = send(make(store.target("pics"), limit=1000), drawn(2, 256), "sheet", output={"grid": True})
    assert (made.route, len(made.keys)) == ("s3", 2)
    assert made.grid is not None
    assert "/sheet/grid.png" in made.grid
    assert requests.get(made.grid, timeout=10).content[:4] == b"\x89PNG"


def test_a_grid_shrinks_with_the_pictures(make: Make) -> None:
    pictures = [inspect(file(noise(128, 128, seed=n), "png")) for n in range(2)]
    made = send(make(limit=60_000), pictures, output={"grid": True, "allow_smaller": True})
    assert [inspect(decode_base64(text)).format for text in (*made.images, made.grid or "")] == ["webp"] * 3


def test_one_picture_makes_no_grid_and_that_is_said(make: Make) -> None:
    made = send(make(), drawn(), output={"grid": True})
    assert made.grid is None
    assert made.warnings == ["output.grid: there is one picture, which needs no grid."]


def test_a_grid_of_many_large_pictures_stays_within_its_longest_side() -> None:
    sheet = grid(drawn(4, 64) * 40, format="jpeg")
    assert max(sheet.width, sheet.height) <= LONGEST_SIDE
    wide = grid([inspect(file(smooth(2048, 64), "png"))] * 9, format="jpeg")
    assert wide.width <= LONGEST_SIDE


# a picture ahead of its job


def test_a_piece_in_a_store_is_not_uploaded_again(make: Make, store: Store) -> None:
    delivery, pictures, streamed = make(store.target("pics")), drawn(2), Streamed(keeps=True)
    options, deadline = Output(delivery="s3", format="jpeg"), time.monotonic() + 20
    piece = delivery.piece("ahead", 0, pictures[0], 100, options=options, deadline=deadline, streamed=streamed)
    assert piece.key == "ahead/0-100.jpg"
    assert piece.image is not None
    first = store.client().head_object(Bucket="pics", Key=piece.key)["LastModified"]
    made = delivery.deliver("ahead", pictures, [100, 101], options=options, deadline=deadline, streamed=streamed)
    assert made.keys == ["ahead/0-100.jpg", "ahead/1-101.jpg"]
    assert store.client().head_object(Bucket="pics", Key=piece.key)["LastModified"] == first
    assert made.pictures[0] is piece.picture


def test_a_piece_stays_within_what_the_platform_takes(make: Make) -> None:
    large = inspect(file(noise(768, 768), "png"))
    assert large.base64_length > PIECE_BYTES
    piece = make().piece("job", 0, large, 1, options=Output(), deadline=time.monotonic() + 20, streamed=Streamed())
    assert piece.image is not None
    assert len(piece.image) < PIECE_BYTES
    assert piece.picture.format != "png"
    assert piece.warnings
