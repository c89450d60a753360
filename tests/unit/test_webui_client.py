from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback_http import Reply, Request, serve
from tests.support.ports import free_port
from tests.support.tls import server_context
from worker.errors import WebUIFailed, WebUIRejected, WebUIUnreachable
from worker.webui.client import WebUIClient
from worker.webui.transport import IDLE_LIMIT_S

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
    def silent(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.recv(1)

    with serve(lambda _: Reply(raw=silent)) as server:
        with pytest.raises(WebUIUnreachable, match=r"within 0\.1 s") as caught:
            client(server.url).post("/x", {}, timeout=0.1)
        assert caught.value.details == {"sent": True, "timeout": True}


@pytest.mark.parametrize(
    ("url", "words"), [("http://127.0.0.1:{port}", "refused the connection"), ("http://a.invalid", "connected to")]
)
def test_a_request_that_never_left_is_told_apart(client: Client, url: str, words: str) -> None:
    with pytest.raises(WebUIUnreachable, match=words) as caught:
        client(url.format(port=free_port())).post("/x", {}, timeout=1)
    assert caught.value.details == {"sent": False}


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


def test_a_request_that_was_begun_is_finished_and_not_sent_again(client: Client) -> None:
    with serve(lambda request: Reply(body=request.body or b"0")) as server:
        webui = client(server.url)
        assert webui.begin("/x", {"n": 1}) is None  # there is no connection yet
        webui.get("/x")
        begun = webui.begin("/x", {"n": 2})
        assert webui.post("/x", {"n": 2}, timeout=1, begun=begun) == {"n": 2}
        assert webui.begin("/x", {"n": "a" * 10_000}) is None  # might block
        assert len(server.seen) == 2


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
    ports: list[int] = []

    def write(handler: BaseHTTPRequestHandler) -> None:
        ports.append(handler.client_address[1])
        handler.close_connection = False
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[2]"
        )

    with serve(lambda _: Reply(raw=write)) as server:
        webui = client(server.url)
        assert [webui.get("/x", tries=1) for _ in range(2)] == [[1], [1]]
    assert len(set(ports)) == 2


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
        assert webui.begin("/x", {"n": 1}) is None  # a record may be there only in part
        assert webui.post("/x", {"n": 1}, timeout=5) == {"n": 1}
