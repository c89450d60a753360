from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback_http import Reply, Request, serve
from tests.support.ports import free_port
from tests.support.servers.tls import server_context
from worker.errors import WebUIFailed, WebUIRejected, WebUIUnreachable
from worker.webui.http import IDLE_LIMIT_S, WebUIClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path


@pytest.fixture
def client() -> Iterator[Callable[..., WebUIClient]]:
    made: list[WebUIClient] = []

    def make(url: str, **more: Any) -> WebUIClient:
        made.append(WebUIClient(url, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


Client = Callable[..., WebUIClient]


def _json(value: object, status: int = 200) -> Callable[[Request], Reply]:
    return lambda _: Reply(status, json.dumps(value).encode())


def _hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def _say_nothing(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.recv(1)


def test_a_question_is_asked_again_when_the_connection_breaks(client: Client) -> None:
    answers = [Reply(raw=_hang_up), Reply(body=b'[{"name": "Euler"}]')]
    with serve(lambda _: answers.pop(0)) as server:
        assert client(server.url).get("/sdapi/v1/samplers") == [{"name": "Euler"}]


def test_a_picture_is_never_asked_for_twice(client: Client) -> None:
    with serve(lambda _: Reply(raw=_hang_up)) as server:
        with pytest.raises(WebUIUnreachable, match="broke off") as caught:
            client(server.url).post("/sdapi/v1/txt2img", {}, timeout=1)
        assert caught.value.details["sent"] is True
        assert len(server.seen) == 1


def test_an_answer_that_ends_early_is_a_broken_one(client: Client) -> None:
    with serve(lambda _: Reply(body=b"[1]", headers={"Content-Length": "50", "Connection": "close"})) as server:
        with pytest.raises(WebUIUnreachable) as caught:
            client(server.url).post("/x", {}, timeout=1)
        assert caught.value.details == {"sent": True}


def test_a_server_that_says_nothing_is_waited_for_as_long_as_asked(client: Client) -> None:
    with serve(lambda _: Reply(raw=_say_nothing)) as server:
        with pytest.raises(WebUIUnreachable, match=r"within 0\.1 s") as caught:
            client(server.url).post("/x", {}, timeout=0.1)
        assert caught.value.details == {"sent": True, "timeout": True}


@pytest.mark.parametrize(
    ("url", "words"), [("http://127.0.0.1:{port}", "refused the connection"), ("http://a.invalid", "connected to")]
)
def test_a_request_that_never_left_is_told_apart(client: Client, url: str, words: str) -> None:
    with pytest.raises(WebUIUnreachable, match=words) as caught:
        client(url.format(port=free_port())).post("/x", {}, timeout=1)
    assert caught.value.details["sent"] is False


def test_pictures_are_asked_for_uncompressed(client: Client) -> None:
    with serve(_json({})) as server:
        client(server.url).post("/sdapi/v1/txt2img", {"prompt": "é"}, timeout=1)
        assert server.seen[0].headers["accept-encoding"] == "identity"
        assert json.loads(server.seen[0].body) == {"prompt": "é"}


def test_an_answer_that_a_proxy_compressed_is_read_all_the_same(client: Client) -> None:
    with serve(lambda _: Reply(body=gzip.compress(b"[7]"), headers={"Content-Encoding": "gzip"})) as server:
        assert client(server.url).get("/x") == [7]


def test_chunks_are_put_together(client: Client) -> None:
    def chunked(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n4\r\n, 2]\r\n0\r\n\r\n")

    with serve(lambda _: Reply(raw=chunked)) as server:
        assert client(server.url).get("/x") == [1, 2]


def test_a_webui_below_a_path_is_asked_there(client: Client) -> None:
    with serve(_json(1)) as server:
        client(f"{server.url}/a b").get("/x?skip_current_image=true")
        assert (server.seen[0].path, server.seen[0].query) == ("/a%20b/x", "skip_current_image=true")
        assert server.seen[0].headers["host"] == f"127.0.0.1:{server.port}"


def test_a_path_can_carry_no_header(client: Client) -> None:
    with serve(_json(1)) as server:
        client(server.url).get("/x HTTP/1.1\r\nEvil: 1")
        assert "evil" not in server.seen[0].headers


def test_large_bodies_arrive_whole(client: Client) -> None:
    with serve(_json({})) as server:
        client(server.url).post("/x", {"init_images": ["a" * 3_000_000]}, timeout=5)
        assert len(json.loads(server.seen[0].body)["init_images"][0]) == 3_000_000


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (
            500,
            {"error": "OutOfMemoryError", "detail": "", "body": "", "errors": "CUDA out of memory."},
            "OutOfMemoryError",
            "CUDA out of memory.",
        ),
        (
            422,
            {"error": "HTTPException", "detail": "Script 'nope' not found", "body": "", "errors": ""},
            "HTTPException",
            "Script 'nope' not found",
        ),
        (
            422,
            {"detail": [{"loc": ["body", "steps"], "msg": "value is not a valid integer", "type": "x"}]},
            "",
            "steps: value is not a valid integer",
        ),
        (404, {"detail": "Not Found"}, "", "Not Found"),
    ],
)
def test_each_of_the_webuis_error_shapes_is_read(
    client: Client, status: int, body: dict[str, object], kind: str, message: str
) -> None:
    wanted = WebUIFailed if status >= 500 else WebUIRejected
    with serve(_json(body, status)) as server, pytest.raises(wanted) as caught:
        client(server.url).post("/x", {}, timeout=1)
    assert caught.value.details == {"status": status, "kind": kind, "upstream": message}
    assert message in caught.value.message


def test_an_answer_that_is_not_json_is_an_error_of_the_webui(client: Client) -> None:
    with serve(lambda _: Reply(body=b"<html>")) as server, pytest.raises(WebUIFailed, match="not JSON"):
        client(server.url).post("/x", {}, timeout=1)


def test_an_error_page_that_is_not_json_keeps_its_words(client: Client) -> None:
    with (
        serve(lambda _: Reply(500, b"Internal Server Error")) as server,
        pytest.raises(WebUIFailed, match="Internal Server Error"),
    ):
        client(server.url).post("/x", {}, timeout=1)


def test_a_connection_is_used_again_unless_it_was_idle_for_long(client: Client) -> None:
    now = [0.0]
    ports: list[int] = []

    def note(handler: BaseHTTPRequestHandler) -> None:
        ports.append(handler.client_address[1])
        handler.close_connection = False
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")

    with serve(lambda _: Reply(raw=note)) as server:
        webui = client(server.url, clock=lambda: now[0])
        webui.get("/x")
        now[0] = IDLE_LIMIT_S - 1
        webui.get("/x")
        assert ports[0] == ports[1]
        now[0] += IDLE_LIMIT_S + 1
        webui.get("/x")
        assert ports[2] != ports[1]


def test_a_connection_that_the_webui_has_closed_is_not_used_again(client: Client) -> None:
    with serve(lambda _: Reply(body=b"1", headers={"Connection": "close"})) as server:
        webui = client(server.url)
        assert [webui.get("/x", tries=1) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("cut", [1, 20, 60, 90])
def test_an_answer_that_comes_in_pieces_is_put_together(client: Client, cut: int) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Odd: a: b\r\nContent-Length: 8\r\n\r\n[1, 234]"

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = False
        for piece in (whole[:cut], whole[cut:]):
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(0.02)  # the kernel would join the pieces, and which of them were read nobody tells

    with serve(lambda _: Reply(raw=slowly)) as server:
        webui = client(server.url)
        assert [webui.get("/x", tries=1) for _ in range(2)] == [[1, 234]] * 2


def test_bytes_behind_an_answer_are_not_taken_for_the_next_one(client: Client) -> None:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = False
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[2]"
        )

    with serve(lambda _: Reply(raw=write)) as server:
        webui = client(server.url)
        assert [webui.get("/x", tries=1) for _ in range(2)] == [[1], [1]]


@pytest.mark.parametrize("cut", [10, 45, 60])
def test_chunks_whose_head_comes_in_pieces_are_put_together(client: Client, cut: int) -> None:
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n4\r\n, 2]\r\n0\r\n\r\n"

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        for piece in (whole[:cut], whole[cut:]):
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(0.02)  # the kernel would join the pieces, and which of them were read nobody tells

    with serve(lambda _: Reply(raw=slowly)) as server:
        assert client(server.url).get("/x") == [1, 2]


@pytest.mark.parametrize(
    "head", ["HTTP/1.1 200 OK\r\nContent-Length: -1", "HTTP/1.1 200 OK\r\nContent-Length: 1x", "nonsense"]
)
def test_an_answer_that_is_none_is_a_broken_one(client: Client, head: str) -> None:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(f"{head}\r\n\r\n".encode())

    with serve(lambda _: Reply(raw=write)) as server, pytest.raises((WebUIUnreachable, WebUIFailed)):
        client(server.url).post("/x", {}, timeout=1)


def test_a_webui_behind_https_is_asked_too(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, roots = server_context(tmp_path, "localhost")
    monkeypatch.setattr("certifi.where", lambda: str(roots))
    with serve(lambda request: Reply(body=request.body or b"0"), tls=tls) as server:
        webui = client(f"https://localhost:{server.port}")
        assert webui.get("/x") == 0
        assert webui.post("/x", {"n": 1}, timeout=5) == {"n": 1}


@pytest.mark.parametrize("end", ["abort", "close"])
def test_a_request_that_waits_is_ended_from_another_thread(client: Client, end: str) -> None:
    with serve(lambda _: Reply(raw=_say_nothing)) as server, ThreadPoolExecutor(1) as pool:
        webui = client(server.url)
        waiting = pool.submit(webui.post, "/x", {}, timeout=None)
        while not server.seen:
            pass
        getattr(webui, end)()
        with pytest.raises(WebUIUnreachable, match="broke off"):
            waiting.result(timeout=5)


def test_after_an_abort_requests_are_sent_and_after_the_close_none(client: Client) -> None:
    with serve(_json(1)) as server:
        webui = client(server.url)
        webui.get("/x")
        webui.abort()
        assert webui.get("/x") == 1
        webui.close()
        with pytest.raises(WebUIUnreachable) as caught:
            webui.get("/x")
        assert caught.value.details["sent"] is False
        assert len(server.seen) == 2


def test_silence_is_not_waited_for_again(client: Client) -> None:
    with serve(lambda _: Reply(raw=_say_nothing)) as server:
        with pytest.raises(WebUIUnreachable):
            client(server.url).get("/x", timeout=0.1)
        assert len(server.seen) == 1


def test_the_credentials_of_the_address_are_sent_and_told_nobody(client: Client) -> None:
    with serve(_json(1)) as server:
        webui = client(f"http://user:p%40ss@127.0.0.1:{server.port}")
        webui.get("/x")
        assert server.seen[0].headers["authorization"] == "Basic dXNlcjpwQHNz"
        assert webui.url == f"http://127.0.0.1:{server.port}"


def test_a_redirect_is_not_followed(client: Client) -> None:
    with serve(lambda _: Reply(307, b"", headers={"Location": "/elsewhere"})) as server:
        with pytest.raises(WebUIFailed, match="not JSON"):
            client(server.url).get("/x")
        assert len(server.seen) == 1


def test_a_proxy_of_the_environment_is_not_asked(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serve(_json(1)) as server:
        assert client(server.url).get("/x") == 1
