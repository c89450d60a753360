from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.loopback_http import Reply, Request, serve
from tests.support.ports import free_port
from tests.support.servers.tls import server_context
from worker.net.addresses import AllowList
from worker.net.fetch import Fetcher, FetchLimits
from worker.net.fetch_errors import BadStatus, Refused, TooLarge, TooSlow, Unreachable
from worker.net.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    Make = Callable[..., Fetcher]


@pytest.fixture
def fetcher() -> Iterator[Make]:
    made: list[Fetcher] = []

    def make(
        *allow: str, resolver: Callable[[str, int], list[str]] | None = None, verify: bool | str = True
    ) -> Fetcher:
        guard = Guard(AllowList.of(allow), resolver=resolver) if resolver else Guard(AllowList.of(allow))
        made.append(Fetcher(guard, verify=verify))
        return made[-1]

    yield make
    for one in made:
        one.close()


def read(fetcher: Fetcher, url: str, **options: object) -> bytes:
    with fetcher.open(url, **options) as body:  # type: ignore[arg-type]  # passed through from the tests as they wrote them
        body.raise_for_status()
        return body.read()


def hello(_request: Request) -> Reply:
    return Reply(body=b"hello")


def test_an_allowed_host_is_read(fetcher: Make) -> None:
    with serve(hello) as server:
        assert read(fetcher("127.0.0.1"), f"{server.url}/a") == b"hello"
        assert server.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "127.0.0.1."]
)
def test_no_spelling_of_loopback_is_connected_to(fetcher: Make, host: str) -> None:
    with serve(hello) as server:
        with pytest.raises((Refused, Unreachable)):
            read(fetcher(), f"http://{host}:{server.port}/")
        assert server.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/",
        "//example.com/a",
        "http:///a",
        "http://user:secret@example.com/",
        "http://[::1/",
        "http://example.com:99999/",
        "not a url",
        "",
    ],
)
def test_what_is_not_a_plain_http_url_is_refused_before_any_look_up(fetcher: Make, url: str) -> None:
    def never(host: str, port: int) -> list[str]:
        raise AssertionError(f"looked up {host}:{port}")

    with pytest.raises(Refused) as caught:
        read(fetcher(resolver=never), url)
    assert "secret" not in str(caught.value)


def test_the_checked_address_is_the_one_connected_to_though_dns_changes_its_mind(fetcher: Make) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    with serve(hello) as server:
        asked: list[str] = []

        def rebinding(host: str, port: int) -> list[str]:
            asked.append(host)
            return next(answers)

        assert read(
            fetcher(f"models.test:{server.port}", resolver=rebinding), f"http://models.test:{server.port}/"
        ) == (b"hello")
        assert asked == ["models.test"]
        assert server.seen[0].headers["host"] == f"models.test:{server.port}"


def test_a_host_whose_second_look_up_leads_inside_is_refused_then(fetcher: Make) -> None:
    closing = lambda _request: Reply(body=b"hello", headers={"Connection": "close"})  # noqa: E731 - a script in one line
    with serve(closing) as server:
        answers = iter([["127.0.0.2"], ["127.0.0.1"]])
        one = fetcher("127.0.0.2", resolver=lambda _host, _port: next(answers))
        # 127.0.0.2 stands for a public address; the server listens on 127.0.0.1, so only the refusal can be seen
        with pytest.raises(Unreachable):
            read(one, f"http://models.test:{server.port}/")
        with pytest.raises(Refused, match=r"models\.test does not lead to a public address"):
            read(one, f"http://models.test:{server.port}/")
        assert server.seen == []


def test_an_unreachable_address_is_followed_by_the_next_one(fetcher: Make) -> None:
    with serve(hello) as server:
        one = fetcher("models.test", resolver=lambda _host, _port: ["127.0.0.3", "127.0.0.1"])
        assert read(one, f"http://models.test:{server.port}/") == b"hello"


def test_an_unknown_name_is_unreachable(fetcher: Make) -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(Unreachable, match=r"nowhere\.test could not be reached"):
        read(fetcher(resolver=unknown), "https://nowhere.test/a")


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data/", "http://localhost:{port}/", "file:///etc/passwd", "http://[x/"],
)
def test_every_redirect_is_checked_again(fetcher: Make, target: str) -> None:
    with serve(hello) as inner:
        script = lambda _request: Reply(302, headers={"Location": target.format(port=inner.port)})  # noqa: E731 - one line
        with serve(script) as outer:
            with pytest.raises(Refused):
                read(fetcher(f"127.0.0.1:{outer.port}"), outer.url)
            assert inner.seen == []


def test_redirects_are_followed_up_to_the_limit(fetcher: Make) -> None:
    def script(request: Request) -> Reply:
        left = int(request.path.strip("/"))
        return Reply(307, headers={"Location": f"/{left - 1}"}) if left else Reply(body=b"there")

    with serve(script) as server:
        one = fetcher("127.0.0.1")
        with one.open(f"{server.url}/5", limits=FetchLimits(redirects=5)) as body:
            assert (body.read(), body.url) == (b"there", f"{server.url}/0")
        with pytest.raises(Refused, match="redirects more than 5 times"):
            read(one, f"{server.url}/6", limits=FetchLimits(redirects=5))


def test_the_body_of_a_redirect_is_not_read(fetcher: Make) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n")
        while True:
            handler.wfile.write(b"x" * 65536)

    def script(request: Request) -> Reply:
        return Reply(raw=endless) if request.path == "/a" else Reply(body=b"b")

    with serve(script) as server:
        assert read(fetcher("127.0.0.1"), f"{server.url}/a") == b"b"


def test_a_secret_stays_with_the_first_origin(fetcher: Make) -> None:
    with serve(hello) as second:

        def back_and_forth(request: Request) -> Reply:
            there = {"/a": f"{second.url}/x"}
            return Reply(302, headers={"Location": there[request.path]}) if request.path in there else Reply(body=b"b")

        with serve(back_and_forth) as first:
            one = fetcher("127.0.0.1")
            assert read(one, f"{first.url}/a", secrets={"Authorization": "Bearer t0ken"}, headers={"Range": "bytes=0-"})
            assert first.seen[0].headers["authorization"] == "Bearer t0ken"
            assert "authorization" not in second.seen[0].headers
            assert second.seen[0].headers["range"] == "bytes=0-"


def test_a_secret_does_not_come_back_with_a_redirect_to_the_first_origin(fetcher: Make) -> None:
    with serve(lambda _request: Reply(302, headers={"Location": back[0]})) as second:

        def script(request: Request) -> Reply:
            return Reply(302, headers={"Location": second.url}) if request.path == "/a" else Reply(body=b"b")

        with serve(script) as first:
            back = [f"{first.url}/b"]
            assert read(fetcher("127.0.0.1"), f"{first.url}/a", secrets={"Authorization": "Bearer t0ken"}) == b"b"
            assert [("authorization" in request.headers) for request in first.seen] == [True, False]


def test_a_secret_is_never_sent_in_clear_to_a_host_the_operator_does_not_name(fetcher: Make) -> None:
    with serve(hello) as server:
        by_network = fetcher("127.0.0.0/8")
        with pytest.raises(Refused, match="not sent over plain http"):
            read(by_network, server.url, secrets={"Authorization": "Bearer t0ken"})
        assert server.seen == []


def test_a_downgrade_to_http_is_refused_when_a_secret_was_asked_for(fetcher: Make, tmp_path: Path) -> None:
    tls, roots = server_context(tmp_path, "models.test")
    with serve(hello) as plain, serve(lambda _request: Reply(302, headers={"Location": plain.url}), tls=tls) as server:
        one = fetcher("models.test", "127.0.0.0/8", resolver=lambda _host, _port: ["127.0.0.1"], verify=str(roots))
        url = f"https://models.test:{server.port}/"
        with pytest.raises(Refused, match="plain http"):
            read(one, url, secrets={"Authorization": "Bearer t0ken"})
        assert plain.seen == []
        assert read(one, url) == b"hello"


def test_tls_is_verified_against_the_name_though_the_connection_goes_to_an_address(
    fetcher: Make, tmp_path: Path
) -> None:
    names: list[str | None] = []
    tls, roots = server_context(tmp_path, "models.test")
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    with serve(hello, tls=tls) as server:
        local = lambda _host, _port: ["127.0.0.1"]  # noqa: E731 - a resolver in one line
        good = fetcher("models.test", resolver=local, verify=str(roots))
        assert read(good, f"https://models.test:{server.port}/") == b"hello"
        assert names == ["models.test"]
        other = fetcher("other.test", resolver=local, verify=str(roots))
        with pytest.raises(Unreachable, match="certificate not accepted"):
            read(other, f"https://other.test:{server.port}/")
        stranger = fetcher("models.test", resolver=local)
        with pytest.raises(Unreachable, match="certificate not accepted"):
            read(stranger, f"https://models.test:{server.port}/")


def test_a_body_over_the_limit_is_not_read(fetcher: Make) -> None:
    with serve(lambda _request: Reply(body=b"x" * 1000)) as server:
        with pytest.raises(TooLarge, match="offers 1000 bytes; the limit is 999"):
            read(fetcher("127.0.0.1"), server.url, limits=FetchLimits(max_bytes=999))
        assert len(read(fetcher("127.0.0.1"), server.url, limits=FetchLimits(max_bytes=1000))) == 1000


def test_a_body_without_a_length_is_cut_at_the_limit(fetcher: Make) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            handler.wfile.write(b"x" * 65536)

    with serve(lambda _request: Reply(raw=endless)) as server, pytest.raises(TooLarge, match="more than the limit"):
        read(fetcher("127.0.0.1"), server.url, limits=FetchLimits(max_bytes=200_000))


def test_a_body_shorter_than_announced_is_noticed(fetcher: Make) -> None:
    def short(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    with serve(lambda _request: Reply(raw=short)) as server, pytest.raises(Unreachable):
        read(fetcher("127.0.0.1"), server.url)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_drips_bytes_is_given_up_at_the_limit(fetcher: Make, part: str) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"" if part == "headers" else b"\r\n"))
        while not stop.is_set():
            handler.wfile.write(b"X")
            stop.wait(0.02)

    stop = threading.Event()
    with serve(lambda _request: Reply(raw=drip)) as server:
        with pytest.raises(TooSlow):
            read(fetcher("127.0.0.1"), server.url, limits=FetchLimits(read_s=0.3, total_s=0.6))
        stop.set()


def test_a_silent_server_is_given_up_after_the_read_limit(fetcher: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(TooSlow, match=r"127\.0\.0\.1 did not answer in time"):
            read(fetcher("127.0.0.1"), url, limits=FetchLimits(read_s=0.2))


def test_a_refused_connection_is_unreachable(fetcher: Make) -> None:
    with pytest.raises(Unreachable, match="Connection refused"):
        read(fetcher("127.0.0.1"), f"http://127.0.0.1:{free_port()}/?token=t0ken")


def test_a_bad_status_tells_when_to_come_back(fetcher: Make) -> None:
    with serve(lambda _request: Reply(429, headers={"Retry-After": "7"})) as server:
        with pytest.raises(BadStatus, match="HTTP 429") as caught:
            read(fetcher("127.0.0.1"), f"{server.url}/?token=t0ken")
        assert (caught.value.status, caught.value.retry_after_s, caught.value.retryable) == (429, 7.0, True)
        assert "t0ken" not in str(caught.value)


def test_an_encoded_body_is_refused(fetcher: Make) -> None:
    with (
        serve(lambda _request: Reply(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})) as server,
        pytest.raises(Refused, match="encoded body"),
    ):
        read(fetcher("127.0.0.1"), server.url)


def test_cookies_do_not_travel_from_one_job_to_the_next(fetcher: Make) -> None:
    with serve(lambda _request: Reply(body=b"x", headers={"Set-Cookie": "who=me"})) as server:
        one = fetcher("127.0.0.1")
        read(one, server.url)
        read(one, server.url)
        assert "cookie" not in server.seen[1].headers


def test_a_proxy_of_the_environment_is_not_used(fetcher: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(hello) as proxy, serve(lambda _request: Reply(body=b"direct")) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert read(fetcher("127.0.0.1"), server.url) == b"direct"
        assert proxy.seen == []
