"""Who may use A1111's API and from where: credentials, addresses, pages of other origins; and the shape of refusals."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.integration.sdapi.conftest import KEY
from tests.support.pace import stretched
from tests.support.served import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.served import Served

SMALL: dict[str, Any] = {"prompt": "a cat", "width": 64, "height": 64, "steps": 2}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/sdapi/v1/samplers", {"headers": basic("anyone", KEY)}),
        ("/sdapi/v1/samplers", {"headers": {"Authorization": f"Bearer {KEY}"}}),
        ("/sdapi/v1/samplers", {"headers": {"X-API-Key": KEY}}),
        ("/sdapi/v1/samplers", {"params": {"key": KEY}}),
        ("/sdapi/v1/samplers", {"params": {"api_key": KEY}}),
        (f"/{KEY}/sdapi/v1/samplers", {}),
        (f"/{KEY}//sdapi/v1/samplers/", {}),
        (f"/{KEY}/controlnet/version", {}),
        (f"/{KEY}/adetailer/v1/ad_model", {}),
    ],
)
def test_the_key_is_taken_from_wherever_a_client_can_put_it(
    guarded: Served, path: str, options: dict[str, Any]
) -> None:
    assert guarded.get(path, **options).status_code == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/sdapi/v1/samplers", {}),
        ("/sdapi/v1/samplers", {"Authorization": "Basic"}),
        ("/sdapi/v1/samplers", {"Authorization": "Basic ???"}),
        ("/sdapi/v1/samplers", basic("anyone", "wrong")),
        ("/sdapi/v1/samplers", basic(KEY, "")),
        ("/wrong-key/sdapi/v1/samplers", {}),
        ("/controlnet/version", {}),
    ],
)
def test_without_the_key_a_sentence_says_how_to_send_it(guarded: Served, path: str, headers: dict[str, str]) -> None:
    refused = guarded.get(path, headers=headers)
    assert refused.status_code == 401
    assert refused.json()["detail"].startswith("send the worker's HTTP_API_KEY")
    assert "Basic" in refused.headers["WWW-Authenticate"]


def test_jobs_need_the_key_too(guarded: Served) -> None:
    assert guarded.post("/sdapi/v1/txt2img", SMALL).status_code == 401
    assert guarded.post("/sdapi/v1/interrupt").status_code == 401
    drawn = guarded.post(f"/{KEY}/sdapi/v1/txt2img/", SMALL)
    assert len(drawn.json()["images"]) == 1


def test_what_clients_look_for_before_the_api_is_open(guarded: Served) -> None:
    for path in ("/queue/status", "/config", "/user", "/startup-events", "/internal/ping", "/docs", "/openapi.json"):
        assert guarded.get(path).status_code == 200, path
    assert guarded.post("/login").status_code == 200
    assert requests.head(guarded.url, timeout=10).status_code == 200
    assert requests.head(f"{guarded.url}/{KEY}", timeout=10).status_code == 200


def test_the_key_stands_in_no_address_where_the_operator_does_not_allow_it(tmp_path: Path) -> None:
    with serving(tmp_path, HTTP_API_KEY=KEY, HTTP_CORS_ORIGINS="https://art.example/, https://b.example") as worker:
        assert worker.get(f"/{KEY}/sdapi/v1/samplers").status_code == 404
        assert worker.get("/sdapi/v1/samplers", params={"key": KEY}).status_code == 401
        allowed = {
            origin: "Access-Control-Allow-Origin" in worker.get("/", headers={"Origin": origin}).headers
            for origin in ("https://art.example", "https://b.example", "https://c.example", "http://localhost:1")
        }
        assert list(allowed.values()) == [True, True, False, False]


def preflight(worker: Served, origin: str, path: str = "/sdapi/v1/txt2img") -> requests.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return requests.options(f"{worker.url}{path}", headers=headers, timeout=10)


def test_a_preflight_is_answered_before_a_key_is_asked_for(guarded: Served) -> None:
    answer = preflight(guarded, "https://page.example")
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] in {"*", "https://page.example"}
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_errors_carry_the_headers_without_which_a_page_sees_none_of_them(guarded: Served) -> None:
    page = {"Origin": "https://page.example"}
    assert "Access-Control-Allow-Origin" in guarded.get("/sdapi/v1/options", headers=page).headers
    assert "Access-Control-Allow-Origin" in guarded.get("/sdapi/v1/nope", headers=page).headers


def test_without_a_key_only_pages_of_this_machine_may_read(served: Served) -> None:
    assert preflight(served, "http://localhost:8080").status_code == 200
    assert preflight(served, "http://127.0.0.1").status_code == 200
    for origin in ("https://page.example", "null", "http://localhost.evil.example", "http://127.0.0.1.example"):
        assert preflight(served, origin).status_code == 400
        assert "Access-Control-Allow-Origin" not in served.get("/sdapi/v1/options", headers={"Origin": origin}).headers


@pytest.mark.parametrize(
    ("data", "headers", "begins"),
    [
        (b"", {}, "the body is empty"),
        (b'""', {}, "the body must be a JSON object"),
        (b"[]", {}, "the body must be a JSON object"),
        (b"{", {}, "the body is not JSON"),
        (b"{}", {"Content-Type": "text/plain"}, "the body must be JSON"),
        (b"prompt=cat", {"Content-Type": "application/x-www-form-urlencoded"}, "the body must be JSON"),
    ],
)
def test_a_body_that_is_no_object_is_refused(served: Served, data: bytes, headers: dict[str, str], begins: str) -> None:
    refused = requests.post(f"{served.url}/sdapi/v1/txt2img", data=data, headers=headers, timeout=10)
    assert refused.status_code in {400, 422}
    assert refused.json()["detail"].startswith(begins)


def test_an_origin_that_is_no_address_is_another_pages(served: Served) -> None:
    headers = {"Origin": "http://["}
    refused = requests.post(f"{served.url}/sdapi/v1/interrupt", json={}, headers=headers, timeout=10)
    assert refused.status_code == 403


def test_bodies_that_say_nothing_pass_where_none_is_needed(served: Served) -> None:
    for path, told in (("interrupt", {}), ("skip", None), ("unload-checkpoint", {}), ("reload-checkpoint", {})):
        for data in (b"", b'""', b"{}"):
            headers = {"Content-Type": "application/json; charset=utf-8"}
            posted = requests.post(f"{served.url}/sdapi/v1/{path}", data=data, headers=headers, timeout=10)
            assert (posted.status_code, posted.json()) == (200, told)


def test_unknown_paths_and_methods_are_a1111s_own_words(served: Served) -> None:
    for path in ("/sdapi/v1/nope", "/controlnet/nope", "/sdapi/v1/create/embedding"):
        assert (served.get(path).status_code, served.get(path).json()) == (404, {"detail": "Not Found"})
    wrong = served.get("/sdapi/v1/txt2img")
    assert (wrong.status_code, wrong.json(), wrong.headers["Allow"]) == (405, {"detail": "Method Not Allowed"}, "POST")


def test_a_query_is_read_as_a1111_reads_it_and_a_wrong_one_named(served: Served) -> None:
    for word in ("true", "yes", "1", "off"):
        assert served.get("/sdapi/v1/progress", params={"skip_current_image": word}).status_code == 200
    refused = served.get("/sdapi/v1/progress", params={"skip_current_image": "banana"})
    assert refused.status_code == 422
    assert refused.json()["detail"] == "skip_current_image: must be true or false, not 'banana'"
    nothing = requests.post(f"{served.url}/sdapi/v1/txt2img", json=None, data="null", timeout=10)
    assert nothing.json()["detail"] == "the body must be a JSON object, not null"


def test_a_typo_is_answered_in_milliseconds_and_never_with_the_keys_of_a_picture(served: Served) -> None:
    session = requests.Session()
    times: list[float] = []
    for _ in range(10):
        began = time.monotonic()
        refused = session.post(
            f"{served.url}/sdapi/v1/txt2img", json={**SMALL, "stepz": 3, "steps": "many"}, timeout=10
        )
        times.append(time.monotonic() - began)
    body = refused.json()
    assert refused.status_code == 422
    assert next(iter(body)) == "detail"
    assert "steps" in body["detail"]
    assert not {"images", "info"} & body.keys()
    assert sorted(times)[5] < stretched(0.035)


def test_a_missing_extension_is_not_found(tmp_path: Path) -> None:
    with serving(tmp_path, STANDIN_EXTENSIONS="") as worker:
        for path in ("/controlnet/version", "/controlnet/model_list", "/adetailer/v1/ad_model"):
            assert worker.get(path).status_code == 404
            assert worker.get(path).json() == {"detail": "Not Found"}


def test_the_documents_show_a1111s_paths(served: Served) -> None:
    paths = served.get("/openapi.json").json()["paths"]
    assert {"/sdapi/v1/txt2img", "/sdapi/v1/options", "/sdapi/v1/progress", "/controlnet/version"} <= paths.keys()
    assert "swagger" in served.get("/docs").text.lower()
