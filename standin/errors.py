"""Exceptions of the stand-in, in the shape in which the real WebUI reports them."""

from __future__ import annotations

from typing import Any


class WebUIError(Exception):
    """An exception of the real program: becomes a 500 (or `status`) with its class name and message.

    `logged` is false where the real one answers without printing a traceback.
    """

    def __init__(
        self, name: str, message: str = "", *, status: int = 500, detail: str = "", logged: bool = True
    ) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.status = status
        self.detail = detail
        self.logged = logged

    def body(self) -> dict[str, Any]:
        """The JSON body: error, detail, body, errors."""
        return {"error": self.name, "detail": self.detail, "body": "", "errors": self.message}


class InvalidRequest(Exception):
    """A body that does not fit the endpoint's fields: 422 with FastAPI's list of problems."""

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def http_error(status: int, detail: str) -> WebUIError:
    """An `HTTPException` as the WebUI shows it: the text is in `detail`, `errors` stays empty."""
    return WebUIError("HTTPException", "", status=status, detail=detail, logged=False)


def type_error(message: str) -> WebUIError:
    """A `TypeError`, the WebUI's usual answer to a value it did not expect."""
    return WebUIError("TypeError", message)
