"""The HTTP server against clients that are silent, slow, gone or out for its memory."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests
from fastapi import APIRouter, Depends, Request

from tests.support.pace import stretched
from tests.support.waiting import wait_until
from worker.errors import InvalidInput, WebUICrashed
from worker.serving.http_api import request_body, server
from worker.serving.http_api.application import Api, create_app
from worker.serving.http_api.auth import ApiKey
from worker.serving.http_api.job_api import JobApi, job_router
from worker.serving.http_api.listener import listen
from worker.serving.http_api.probes import probe_app, probe_routes
from worker.serving.http_api.request_body import MAX_SEPARATORS, BodyReader, parse_json
from worker.serving.http_api.server import HttpServer
from worker.serving.job_table import JobTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from worker.serving.http_api.api_errors import RequestRefused


class Served:
    """The jobs' API over a table whose jobs end when they are let."""

    def __init__(self, max_bytes: int = 30_000_000, key: str | None = None, total: int = 500_000_000) -> None:
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.go_on = threading.Event()
        self.table = JobTable(self._handle, parse_json, at_once=1, max_waiting=9, keep_s=60, worker_id="pod-7")
        self.stopping = asyncio.Event()
        bodies = BodyReader(max_bytes, self.stopping, max_total_bytes=total)
        api = JobApi(self.table, lambda: not self.stopping.is_set(), self.stopping, bodies)
        self.app = create_app(
            [Api(job_router(api, ApiKey(key, in_url=True)))], probes=probe_routes(lambda: {"state": "ready"})
        )

    async def _handle(self, job: dict[str, Any]) -> dict[str, Any]:
        self.begun.append(job["id"])
        try:
            await asyncio.to_thread(self.go_on.wait, 30)
        except asyncio.CancelledError:
            self.cancelled.append(job["id"])
            raise
        return {"seeds": [1], "padding": "x" * job["input"].get("bytes", 0)}


@contextmanager
def running(app: ASGIApp) -> Iterator[HttpServer]:
    http = HttpServer(app, listen("127.0.0.1", 0))
    http.start_thread()
    try:
        yield http
    finally:
        http.close()


def url(http: HttpServer, path: str) -> str:
    return f"http://127.0.0.1:{http.port}/{path}"


def connect(http: HttpServer, data: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", http.port))
    sock.sendall(data)
    return sock


def trickles_for(sock: socket.socket, seconds: float) -> float:
    """Send a byte now and then; return after how many seconds the server ended that, at most `seconds`."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            sock.sendall(b"G")
        except OSError:
            break
        time.sleep(0.05)  # the rate of a client that trickles
    return time.monotonic() - began


def closed_within(sock: socket.socket, seconds: float) -> bytes:
    """What the server says until it closes the connection."""
    sock.settimeout(seconds)
    said = b""
    try:
        while piece := sock.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    return said


def test_300_silent_connections_hold_no_threads_and_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_S", 2.0)
    with running(probe_app(lambda: {"state": "ready"})) as http:
        before = threading.active_count()
        socks = [connect(http, b"GET /ping HT" if number % 2 else b"") for number in range(300)]
        assert requests.get(url(http, "ping"), timeout=5).status_code == 200
        assert threading.active_count() <= before + 1
        for sock in socks:
            with closing(sock):
                assert closed_within(sock, 5) == b""


def test_a_head_that_trickles_on_a_kept_connection_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.5)
    with running(probe_app(lambda: {"state": "ready"})) as http, closing(connect(http)) as sock:
        sock.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        assert trickles_for(sock, 10) < 8


def test_a_body_that_does_not_come_is_answered_with_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "PIECE_S", 0.3)
    with (
        running(Served().app) as http,
        closing(connect(http, b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")) as sock,
    ):
        assert closed_within(sock, 5).startswith(b"HTTP/1.1 408")


def test_a_body_that_trickles_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "WHOLE_S", 0.5)
    with (
        running(Served().app) as http,
        closing(connect(http, b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")) as sock,
    ):
        sock.settimeout(0.05)
        began, said = time.monotonic(), b""
        while not said and time.monotonic() - began < 10:
            sock.sendall(b" ")
            try:
                said = sock.recv(65536)
            except TimeoutError:
                continue
        assert said.startswith(b"HTTP/1.1 408")


def test_an_unfinished_body_does_not_hold_up_the_end() -> None:
    served = Served()
    with running(served.app) as http:
        sock = connect(http, b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        with closing(sock):
            assert requests.get(url(http, "ping"), timeout=5).status_code == 200
            served.stopping.set()
            began = time.monotonic()
            http.close()
            assert time.monotonic() - began < stretched(8)


def test_a_client_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WRITE_CHECK_S", 0.5)
    served = Served()
    served.go_on.set()
    body = json.dumps({"input": {"bytes": 50_000_000}}).encode()
    head = f"POST /runsync HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with running(served.app) as http, closing(connect(http, head + body)) as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        time.sleep(1.5)  # in which an honest client would read
        assert len(closed_within(sock, 5)) < 50_000_000


def test_a_client_that_reads_slowly_gets_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WRITE_CHECK_S", 0.3)
    served = Served()
    served.go_on.set()
    body = json.dumps({"input": {"bytes": 30_000_000}}).encode()
    head = f"POST /runsync HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with running(served.app) as http, closing(connect(http, head + body)) as sock:
        got = 0
        sock.settimeout(5)
        while piece := sock.recv(2_000_000):
            got += len(piece)
            time.sleep(0.02)  # a client that reads slowly
        assert got > 30_000_000


def test_an_upload_that_is_broken_off_is_no_defect(capfd: pytest.CaptureFixture[str]) -> None:
    with running(Served().app) as http:
        for data in (b"", b"{"):
            connect(http, b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + data).close()
        assert requests.get(url(http, "ping"), timeout=5).status_code == 200
        assert requests.post(url(http, "run"), data=b"no", timeout=5).status_code == 400
    said = capfd.readouterr()
    assert "Traceback" not in said.err + said.out


BROKEN_CHUNK = b"Transfer-Encoding: chunked\r\n\r\nno length\r\n"


@pytest.mark.parametrize("method", [b"GET", b"POST", b"CONNECT"])
@pytest.mark.parametrize("path", [b"/ping", b"/runsync", b"/nowhere"])
def test_a_body_that_is_no_http_from_its_first_byte_is_no_defect(
    method: bytes, path: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with running(Served().app) as http, connect(http, method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n") as sock:
        sock.sendall(BROKEN_CHUNK)
        said = closed_within(sock, 10)
    assert said.startswith(b"HTTP/1.1 400 "), said
    assert [record.getMessage() for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}] == []


def test_a_body_that_stops_being_http_when_it_is_answered_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
    with running(Served().app) as http, connect(http, head) as sock:
        sock.settimeout(10)
        said = sock.recv(65536)
        sock.sendall(b"no length\r\n")
        closed_within(sock, 10)
    assert said.startswith(b"HTTP/1.1 404 "), said
    assert [record.getMessage() for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}] == []


def test_millions_of_values_are_refused_at_once_and_nothing_stands_still() -> None:
    body = b'{"input": [' + b"[]," * 6_000_000 + b"[]]}"
    with running(Served().app) as http:
        slowest, done = [0.0], threading.Event()

        def probe() -> None:
            while not done.is_set():
                began = time.monotonic()
                requests.get(url(http, "ping"), timeout=30)
                slowest[0] = max(slowest[0], time.monotonic() - began)

        prober = threading.Thread(target=probe)
        prober.start()
        answers = [requests.post(url(http, "run"), data=body, timeout=60) for _ in range(3)]
        done.set()
        prober.join()
    assert {answer.status_code for answer in answers} == {400}
    assert str(MAX_SEPARATORS) in answers[0].json()["error"]
    assert slowest[0] < stretched(1.5)


@pytest.mark.parametrize("data", [b"x" * 2000, iter([b"x" * 1000] * 2)], ids=["announced", "in chunks"])
def test_a_body_over_the_limit_is_refused_by_its_bytes(data: Any) -> None:
    with running(Served(max_bytes=1500).app) as http:
        answer = requests.post(url(http, "run"), data=data, timeout=5)
    assert (answer.status_code, "MAX_INPUT_BYTES" in answer.json()["error"]) == (413, True)


def test_bodies_that_are_being_read_are_bounded_together() -> None:
    with running(Served(max_bytes=5_000_000, total=5_000_000).app) as http:
        head = b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"

        def is_refused_beside_another() -> bool:
            """Of two that come at once either may be the one that is refused."""
            with closing(connect(http, head + b" " * 3_900_000)):
                if requests.post(url(http, "run"), data=b" " * 2_000_000, timeout=5).status_code != 429:
                    return False
                return requests.post(url(http, "run"), json={"input": {}}, timeout=5).status_code == 200

        wait_until(is_refused_beside_another)
        wait_until(lambda: requests.post(url(http, "run"), data=b" " * 2_000_000, timeout=5).status_code == 400)


def test_a_client_of_runsync_that_hangs_up_cancels_its_own_job_alone() -> None:
    served = Served()
    with running(served.app) as http:
        sock = connect(http)
        body = b'{"input": {"prompt": "gone"}}'
        sock.sendall(b"POST /runsync HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: len(served.begun) == 1)
        other = requests.post(url(http, "run"), json={"id": "other", "input": {}}, timeout=5).json()
        assert other["status"] == "IN_QUEUE"
        sock.close()
        wait_until(lambda: "other" in served.begun)
        assert served.cancelled == served.begun[:1]
        served.go_on.set()
        wait_until(lambda: requests.get(url(http, "status/other"), timeout=5).json()["status"] == "COMPLETED")


def test_a_job_with_an_id_of_the_clients_own_goes_on_when_it_hangs_up() -> None:
    served = Served()
    with running(served.app) as http:
        sock = connect(http)
        body = b'{"id": "mine", "input": {}}'
        sock.sendall(b"POST /runsync HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: served.begun == ["mine"])
        sock.close()
        served.go_on.set()
        wait_until(lambda: requests.get(url(http, "status/mine"), timeout=5).json()["status"] == "COMPLETED")
    assert served.cancelled == []


def test_answers_name_the_worker_that_has_the_job() -> None:
    served = Served()
    served.go_on.set()
    with running(served.app) as http:
        told = requests.post(url(http, "runsync"), json={"input": {}}, timeout=5).json()
    assert (told["workerId"], told["status"]) == ("pod-7", "COMPLETED")


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ([("Authorization", "Bearer platform"), ("Authorization", "Bearer K")], "", 404),
        ([("X-API-Key", "K")], "", 404),
        ([], "?api_key=K", 404),
        ([("Authorization", "Basic OktL")], "", 401),
        ([("Authorization", "Basic %%%")], "", 401),
        ([("X-API-Key", "")], "?api_key=", 401),
        ([("Authorization", "Token K")], "", 401),
    ],
)
def test_the_key_may_come_in_several_places(headers: list[tuple[str, str]], query: str, status: int) -> None:
    with running(Served(key="K").app) as http, closing(connect(http)) as sock:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        sock.sendall(f"GET /status/x{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
        assert closed_within(sock, 5).startswith(f"HTTP/1.1 {status} ".encode())


def test_wait_that_is_no_number_is_refused_by_name() -> None:
    with running(Served().app) as http:
        answer = requests.post(url(http, "runsync?wait=soon"), json={"input": {}}, timeout=5)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("wait: ")


def test_the_document_of_the_server_describes_every_path_with_jobs_and_answers() -> None:
    with running(Served(key="K").app) as http:
        document = requests.get(url(http, "openapi.json"), timeout=30).json()
        assert requests.get(url(http, "docs"), timeout=5).status_code == 200
    paths = {"/run", "/runsync", "/status/{id}", "/stream/{id}", "/cancel/{id}"}
    assert set(document["paths"]) == paths
    body = document["paths"]["/run"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Job"}
    assert {"Job", "Result", "Input"} <= set(document["components"]["schemas"])


def test_each_api_words_errors_for_its_own_clients() -> None:
    router = APIRouter()

    @router.get("/broken/{kind}")
    async def broken(kind: str, request: Request) -> None:
        if kind == "input":
            raise InvalidInput.at("steps", "must be a number")
        if kind == "webui":
            raise WebUICrashed("the WebUI ended")
        raise RuntimeError(str(request.url))

    def body(refusal: RequestRefused) -> dict[str, Any]:
        code = refusal.error.code if refusal.error is not None else None
        return {"detail": {"message": refusal.message, "code": code, "status": refusal.status}}

    plain = APIRouter(dependencies=[Depends(ApiKey("K", in_url=False))])
    app = create_app([Api(plain), Api(router, "/other", body)])
    with running(app) as http:
        told = {
            path: requests.get(url(http, path), timeout=5)
            for path in ("other/broken/input", "other/broken/webui", "other/nope", "nope", "other/broken/x")
        }
    details = {path: answer.json().get("detail", {}) for path, answer in told.items()}
    assert details["other/broken/input"] == {
        "message": "steps: must be a number",
        "code": "invalid_input",
        "status": 400,
    }
    assert details["other/broken/webui"]["code"] == "webui_crashed"
    assert details["other/nope"]["status"] == told["other/nope"].status_code == 404
    assert told["nope"].json() == {"error": "there is no such path"}
    assert (told["other/broken/x"].status_code, details["other/broken/x"]["status"]) == (500, 500)
