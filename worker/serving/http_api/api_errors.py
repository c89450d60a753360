"""Refused requests, and the handlers that word them as each API's clients expect."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from worker.common.strict_json import encode
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastapi import FastAPI, Request

    ErrorBody = Callable[["RequestRefused"], Mapping[str, Any]]


class RequestRefused(Exception):
    """A request that is answered with an HTTP error.

    Attributes:
        status: The HTTP status.
        message: One sentence for the client.
        headers: Names and values that the answer carries.
        error: The error of the job behind it, if there is one.
    """

    def __init__(
        self, status: int, message: str, *, headers: Sequence[tuple[str, str]] = (), error: WorkerError | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = tuple(headers)
        self.error = error


def busy(message: str, status: int = HTTPStatus.TOO_MANY_REQUESTS) -> RequestRefused:
    """Return the refusal of a request that the client should send again."""
    return RequestRefused(status, message, headers=[("Retry-After", "5")])


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """The form of errors below a path.

    Attributes:
        prefix: Of the paths; the longest prefix that fits counts.
        body: Returns the JSON body of a refusal.
    """

    prefix: str
    body: ErrorBody


def install_error_handlers(app: FastAPI, forms: Sequence[ErrorForm]) -> None:
    """Have every error of `app` answered in the form of the API that its path belongs to."""
    by_length = sorted(forms, key=lambda form: len(form.prefix), reverse=True)

    def refuse(request: Request, refusal: RequestRefused) -> Response:
        body = next((form.body for form in by_length if request.url.path.startswith(form.prefix)), _plain)
        response = Response(encode(body(refusal)), refusal.status, media_type="application/json")
        for name, value in refusal.headers:
            response.headers.append(name, value)
        return response

    async def refused(request: Request, error: Exception) -> Response:
        return refuse(request, _as_refusal(error))

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it: the client hung up within its request

    for kind in (RequestRefused, WorkerError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(ClientDisconnect, gone)


_MESSAGES: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "there is no such path",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path wants another method",
}


def _plain(refusal: RequestRefused) -> dict[str, Any]:
    return {"error": refusal.message}


def _as_refusal(error: Exception) -> RequestRefused:
    if isinstance(error, RequestRefused):
        return error
    if isinstance(error, WorkerError):
        status = HTTPStatus.BAD_REQUEST if error.fault == "client" else HTTPStatus.INTERNAL_SERVER_ERROR
        return RequestRefused(status, error.message, error=error)
    if isinstance(error, RequestValidationError):
        problems = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
        return RequestRefused(HTTPStatus.BAD_REQUEST, problems)
    if isinstance(error, HTTPException):
        message = _MESSAGES.get(error.status_code, str(error.detail))
        return RequestRefused(error.status_code, message, headers=list((error.headers or {}).items()))
    return RequestRefused(HTTPStatus.INTERNAL_SERVER_ERROR, "a defect in the worker; its log has the details")
