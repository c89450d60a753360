"""Refused requests and failed jobs in A1111's shape: a sentence in `detail`, and never the keys of a picture's answer.

Clients show the first hundred characters of a body, or only `detail`; so the sentence comes first. ``Not Found`` means
to them that this is no WebUI with an API: it is said of unknown paths and of nothing else.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from worker.serving.gateway import JobError
from worker.serving.http_api.api_errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

PAYLOAD = "payload."
"""Place of the body in the contract's form of such requests: no client wrote it."""
_NAMES = {"out_of_memory": "OutOfMemoryError", "nan_image": "NansException"}
"""Error code → A1111's name for the same failure."""
_BARE: dict[int, str] = {HTTPStatus.NOT_FOUND: "Not Found", HTTPStatus.METHOD_NOT_ALLOWED: "Method Not Allowed"}


class WebUIJobError(RequestRefused):
    """A failed job, with its mistakes placed in the request's body.

    Attributes:
        code: The job's error code.
        answer: The job's answer, for clients that know this worker.
    """

    def __init__(self, failure: JobError, *, field: str = "") -> None:
        problems = [_placed(problem, field) for problem in failure.problems]
        hint = _hint(failure.answer)
        sentence = "; ".join(map(_sentence, problems)) or failure.message
        status = HTTPStatus.UNPROCESSABLE_ENTITY if failure.status == HTTPStatus.BAD_REQUEST else failure.status
        super().__init__(status, f"{sentence}. {hint}" if hint else sentence, headers=failure.headers)
        self.code = failure.code
        self.answer = {name: failure.answer.get(name) for name in ("error_code", "fault", "retryable")}
        if problems:
            self.answer["problems"] = problems


def error_body(refusal: RequestRefused) -> dict[str, Any]:
    """Return the body of `refusal`."""
    if isinstance(refusal, JobError):
        refusal = WebUIJobError(refusal)
    if isinstance(refusal, WebUIJobError):
        name = _NAMES.get(refusal.code, "HTTPException")
        return {
            "detail": refusal.message,
            "error": name,
            "body": "",
            "errors": "" if name == "HTTPException" else refusal.message,
            **refusal.answer,
        }
    bare = _BARE.get(refusal.status)
    if bare is not None:
        return {"detail": bare}
    return {"detail": refusal.message, "error": "HTTPException", "body": "", "errors": ""}


def unprocessable(message: str) -> RequestRefused:
    """Return the refusal of a body that is not what its path wants."""
    return RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, message)


def _placed(problem: Mapping[str, Any], field: str) -> dict[str, Any]:
    path = str(problem.get("path", "")).removeprefix("job.").removeprefix(PAYLOAD)
    if path == PAYLOAD.rstrip("."):
        path = ""
    return {**problem, "path": f"{field}.{path}".strip(".") if field else path}


def _sentence(problem: Mapping[str, Any]) -> str:
    place, suggestion = problem["path"], problem.get("suggestion")
    hint = f" (did you mean {suggestion!r}?)" if suggestion is not None else ""
    return f"{place}: {problem.get('message')}{hint}" if place else f"{problem.get('message')}{hint}"


def _hint(answer: Mapping[str, Any]) -> str:
    details = answer.get("details")
    return str(details.get("hint") or "") if isinstance(details, dict) else ""
