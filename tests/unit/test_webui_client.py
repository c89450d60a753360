from __future__ import annotations

import pytest
import requests
import responses

from worker.errors import WebUIFailed, WebUIRejected, WebUIUnreachable
from worker.webui.client import IDLE_LIMIT_S, WebUIClient

URL = "http://127.0.0.1:3000"


@responses.activate
def test_a_question_is_asked_again_when_the_connection_breaks() -> None:
    responses.get(f"{URL}/sdapi/v1/samplers", body=requests.ConnectionError("reset"))
    responses.get(f"{URL}/sdapi/v1/samplers", json=[{"name": "Euler"}])
    assert WebUIClient(URL).get("/sdapi/v1/samplers") == [{"name": "Euler"}]


@responses.activate
def test_a_picture_is_never_asked_for_twice() -> None:
    sent = responses.post(f"{URL}/sdapi/v1/txt2img", body=requests.ConnectionError("reset"))
    with pytest.raises(WebUIUnreachable) as caught:
        WebUIClient(URL).post("/sdapi/v1/txt2img", {}, timeout=1)
    assert caught.value.details["sent"] is True
    assert sent.call_count == 1


@responses.activate
def test_pictures_are_asked_for_uncompressed() -> None:
    sent = responses.post(f"{URL}/sdapi/v1/txt2img", json={})
    WebUIClient(URL).post("/sdapi/v1/txt2img", {"prompt": "é"}, timeout=1)
    assert sent.calls[0].request.headers["Accept-Encoding"] == "identity"


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
@responses.activate
def test_each_of_the_webuis_error_shapes_is_read(status: int, body: dict[str, object], kind: str, message: str) -> None:
    responses.post(f"{URL}/x", json=body, status=status)
    wanted = WebUIFailed if status >= 500 else WebUIRejected
    with pytest.raises(wanted) as caught:
        WebUIClient(URL).post("/x", {}, timeout=1)
    assert caught.value.details == {"status": status, "kind": kind, "upstream": message}
    assert message in caught.value.message


@responses.activate
def test_an_answer_that_is_not_json_is_an_error_of_the_webui() -> None:
    responses.post(f"{URL}/x", body="<html>")
    with pytest.raises(WebUIFailed, match="not JSON"):
        WebUIClient(URL).post("/x", {}, timeout=1)


@responses.activate
def test_an_error_page_that_is_not_json_keeps_its_words() -> None:
    responses.post(f"{URL}/x", body="Internal Server Error", status=500)
    with pytest.raises(WebUIFailed, match="Internal Server Error"):
        WebUIClient(URL).post("/x", {}, timeout=1)


@responses.activate
def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    client = WebUIClient(URL, clock=lambda: now[0])
    responses.get(f"{URL}/x", json=1)
    client.get("/x")
    adapter = client._session.get_adapter(URL)
    closed: list[bool] = []
    monkeypatch.setattr(adapter, "close", lambda: closed.append(True))
    now[0] = IDLE_LIMIT_S - 1
    client.get("/x")
    assert closed == []
    now[0] += IDLE_LIMIT_S + 1
    client.get("/x")
    assert closed == [True]
