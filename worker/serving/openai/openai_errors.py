"""Errors in OpenAI's shape: ``{"error": {message, type, param, code}}``."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from worker.contract.compat import openai
from worker.serving.http_api.api_errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.serving.gateway import JobError

SHOULD_RETRY = "x-should-retry"
"""Header that decides whether OpenAI's clients send a request again; without it they do so twice on most errors."""

_COST_NO_PICTURE = frozenset(
    {"worker_stopping", "webui_unreachable", "download_failed", "volume_unavailable", "no_space"}
)
"""Codes of failures that come before any picture is made: the only ones after which a client may try again at once."""
_STATUS: dict[int, int] = {
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS: HTTPStatus.BAD_REQUEST,
    HTTPStatus.INSUFFICIENT_STORAGE: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Statuses that OpenAI's API does not have, and those that it gives instead."""
_TYPES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable_error",
}


class OpenAIError(RequestRefused):
    """A request that is answered with an error of a job.

    Attributes:
        type: Kind of error, one of OpenAI's words.
        param: The field that it is about, as the client wrote it.
        code: The job's error code.
    """

    def __init__(self, failed: JobError) -> None:
        should_retry = failed.retryable and failed.code in _COST_NO_PICTURE
        headers = [*failed.headers, (SHOULD_RETRY, "true" if should_retry else "false")]
        super().__init__(_STATUS.get(failed.status, failed.status), _message(failed), headers=headers)
        self.code = failed.code
        self.param = _param(failed)
        self.type = "image_generation_user_error" if failed.code == "image_refused" else _type(self.status)


def error_body(refusal: RequestRefused) -> dict[str, Any]:
    """Return the body of a refusal in OpenAI's shape."""
    if isinstance(refusal, OpenAIError):
        kind, param, code = refusal.type, refusal.param, refusal.code
    else:
        kind, param, code = _type(refusal.status), None, None
    return {"error": {"message": refusal.message, "type": kind, "param": param, "code": code}}


def _type(status: int) -> str:
    is_server = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return _TYPES.get(status, "server_error" if is_server else "invalid_request_error")


def _message(failed: JobError) -> str:
    return failed.message.replace(f"{openai.INPUT}.", "")


def _param(failed: JobError) -> str | None:
    details: Mapping[str, Any] = failed.answer.get("details") or {}
    paths = [problem.get("path") for problem in failed.problems] or [details.get("path")]
    path = str(paths[0] or "").removeprefix(f"{openai.INPUT}.")
    return path or None
