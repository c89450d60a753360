"""The part of RunPod's REST API v2 that ``deploy`` needs: wrapped lists, errors as problem details (RFC 9457)."""

from __future__ import annotations

import json
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import requests
import tenacity
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import Required, TypedDict

from worker import __version__
from worker.net.header_values import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = Literal["network-volumes", "serverless"]

ADDRESS = "https://api.runpod.io/v2"
TIMEOUT_S = (10, 60)
ATTEMPTS = 4
"""Of a question; a change is sent once, so that nothing is made twice."""

LONGEST_WAIT_S = 60.0
"""A rate limit that lasts longer is reported instead of waited for."""

UNTOLD_WAIT_S = 10.0
"""For a rate limit of which nothing tells how long it lasts."""

LIST_KEYS: dict[str, str] = {
    "network-volumes": "networkVolumes",
    "serverless": "endpoints",
    "catalog/gpus": "gpus",
}
"""The key of an answer that holds the list, by path."""

_QUOTED = 500
_LOG_SILENCE_S = 3
"""A log stream that says nothing for so long has told its last lines."""

_TRANSIENT = frozenset({502, 503, 504})
_MEANING = {
    401: " (the key in RUNPOD_API_KEY is missing, malformed, expired or revoked)",
    403: " (the key is valid but lacks the right for this; console: Settings, API keys)",
}
"""Explanations that follow RunPod's own words."""

_MEANING_ELSEWHERE = {
    401: "the key in RUNPOD_API_KEY is not accepted",
    403: "refused by a proxy or firewall on the way, not by RunPod's API",
    404: "nothing answers there; is this RunPod's API v2?",
    410: "that API has ended; this command speaks RunPod's API v2",
}
"""Meanings of answers without problem details."""


class _Resource(TypedDict, total=False):
    """A resource of the account, as far as it is read; other fields are passed on unseen."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pydantic's own way to configure one

    id: Required[str]
    name: str | None
    gpu: dict[str, Any] | None
    workers: dict[str, Any] | None
    scaling: dict[str, Any] | None
    env: dict[str, Any] | None
    networkVolumes: list[str] | None
    requestUrls: dict[str, Any] | None
    size: int


_RESOURCES: TypeAdapter[Any] = TypeAdapter(list[_Resource])


class RestFailed(Exception):
    """RunPod did not do what was asked; the message holds its own words."""


class _Busy(RestFailed):
    """A question that may be asked again after `wait_s` seconds."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Rest:
    """A connection to one account; not thread-safe.

    Args:
        key: The account's API key.
        address: Base URL.
        sleep: Waits between attempts.
    """

    def __init__(self, key: str, address: str = ADDRESS, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._address = address.rstrip("/")
        self._session = requests.Session()
        self._session.headers.update(
            {
                "Authorization": f"Bearer {key}",
                "User-Agent": f"a1111-worker/{__version__}",
                "Accept": "application/json",
            }
        )
        self._sleep = sleep

    def items(self, path: str) -> list[dict[str, Any]]:
        """Return the items of a list such as ``serverless`` or ``catalog/gpus``."""
        answer = self._ask(path)
        items = answer.get(LIST_KEYS[path]) if isinstance(answer, dict) else None
        if not isinstance(items, list):
            raise RestFailed(
                f"GET {path}: expected an object with a list {LIST_KEYS[path]!r}; is this RunPod's API v2?"
            )
        return _checked(f"GET {path}", items)

    def workers(self, endpoint_id: str) -> dict[str, Any]:
        """Return ``workers``, ``summary`` and ``endpointVersion`` of an endpoint."""
        answer = self._ask(f"serverless/{endpoint_id}/workers")
        if not isinstance(answer, dict) or not isinstance(answer.get("workers"), list):
            raise RestFailed(f"GET serverless/{endpoint_id}/workers: expected an object with a list 'workers'")
        return answer

    def log(self, endpoint_id: str, worker_id: str, lines: int) -> list[str]:
        """Return the last lines of a worker's container, oldest first; none where RunPod has none or tells none."""
        path = f"serverless/{endpoint_id}/workers/{worker_id}/logs"
        found: list[str] = []
        try:
            with self._session.get(
                f"{self._address}/{path}",
                params={"source": "container", "tail": str(lines)},
                headers={"Accept": "text/event-stream"},
                stream=True,
                timeout=(TIMEOUT_S[0], _LOG_SILENCE_S),
                allow_redirects=False,
            ) as answer:
                if answer.status_code != HTTPStatus.OK:
                    return found
                for line in answer.iter_lines(decode_unicode=False):
                    text = line.decode("utf-8", errors="replace")
                    if text.startswith("data:"):
                        found.append(_log_line(text.removeprefix("data:").strip()))
                    if len(found) >= lines:
                        break
        except requests.RequestException:
            return found  # the stream stays open after the last line
        return found

    def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create a resource and return it with its id."""
        return self._resource("POST", kind, body)

    def update(self, kind: Kind, identity: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change the fields in `body` and return the resource."""
        return self._resource("PATCH", f"{kind}/{identity}", body)

    def delete(self, kind: Kind, identity: str) -> None:
        """Delete a resource."""
        self._call("DELETE", f"{kind}/{identity}")

    def _resource(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._call(method, path, body)
        if not isinstance(answer, dict) or not answer.get("id"):
            raise RestFailed(f"{method} {path}: the answer names no id")
        return _checked(f"{method} {path}", [answer])[0]

    def _ask(self, path: str) -> Any:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, _Busy) and e.wait_s <= LONGEST_WAIT_S),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_wait,
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(self._call, "GET", path)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = self._session.request(
                method, f"{self._address}/{path}", json=body, timeout=TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException as error:
            raise _Busy(f"{method} {path}: RunPod can't be reached ({type(error).__name__})", 1.0) from error
        if answer.ok and not answer.is_redirect:
            if answer.status_code == HTTPStatus.NO_CONTENT:
                return None
            try:
                return answer.json()
            except (ValueError, RecursionError):
                raise RestFailed(f"{method} {path}: the answer is not JSON; is this RunPod's API v2?") from None
        message = f"{method} {path}: {_explained(answer)}"
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            wait_s = rate_limit_wait(answer.headers)
            raise _Busy(f"{message}; the limit is lifted in {wait_s:.0f} s", wait_s)
        if answer.status_code in _TRANSIENT:
            raise _Busy(message, 1.0)
        raise RestFailed(message)


def _checked(call: str, resources: list[Any]) -> list[dict[str, Any]]:
    """Return the resources of an answer. Raises RestFailed where they are not as RunPod's schema has them."""
    try:
        return list(_RESOURCES.validate_python(resources))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise RestFailed(f"{call}: item {place} is not as RunPod's schema has it: {first['msg']}") from None


def rate_limit_wait(headers: Mapping[str, str]) -> float:
    """Return the seconds until every exhausted window of the rate limit has opened again."""
    asked = retry_after(headers.get("Retry-After", ""), time.time())
    waits = [] if asked is None else [asked]
    for window in headers.get("RateLimit", "").split(","):
        fields = dict(re.findall(r";\s*([rt])=(\d+)", window))
        if fields.get("r") == "0" and "t" in fields:
            waits.append(retry_after(fields["t"], 0) or 0.0)
    return max(waits, default=UNTOLD_WAIT_S)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    return error.wait_s if isinstance(error, _Busy) else 1.0


def _explained(answer: requests.Response) -> str:
    """Return what an error answer says, and what it means for the key or the address."""
    status = answer.status_code
    problem = _problem(answer)
    if answer.is_redirect:
        return f"{status}, a redirect to {answer.headers.get('Location')}: this is not RunPod's API v2"
    if problem is None:
        said = " ".join(answer.text[:_QUOTED].split())
        return ": ".join(part for part in (str(status), _MEANING_ELSEWHERE.get(status, ""), said) if part)
    words = ": ".join(str(problem[name]) for name in ("title", "detail") if problem.get(name))
    told = problem.get("errors") or ()
    errors = "; ".join(map(str, told)) if isinstance(told, list) else str(told or "")
    return f"{status} {words}" + (f" [{errors}]" if errors else "") + _MEANING.get(status, "")


def _problem(answer: requests.Response) -> dict[str, Any] | None:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return None
    try:
        content = answer.json()
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and ("title" in content or "detail" in content) else None


def _log_line(text: str) -> str:
    """Return the text of one event: a bare line, or an object with it."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(event, dict):
        return next((str(event[name]) for name in ("message", "line", "log", "text") if name in event), text)
    return text
