"""A request to OpenAI's image API that is being translated: what it says, what became of it, what is wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from worker.contract.base.json_guard import shown, word
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.types.fields import Flag, Whole


def is_nothing(value: object) -> bool:
    """Return whether a field with this value says as much as one that was not sent."""
    return value is None or value in ("", [], {})


def parsed(value: object) -> object:
    """Return the object that `value` is, also where it came as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


class OpenAIRequest:
    """One request and the job that is made of it.

    Attributes:
        given: Fields that have not been read yet.
        fields: The job's.
        output: The job's `output`.
        written: Field of the job → the place where the client wrote it.
        problems: Mistakes.
        warnings: What the client should know although the request is accepted.

    Args:
        request: The fields as they came; those of `extra_body` count as if they stood beside it.
    """

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.given = dict(request)
        self.fields: dict[str, Any] = {}
        self.output: dict[str, Any] = {}
        self.written: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self._places: dict[str, str] = {}
        self._unpack_extra_body()

    def place(self, name: str) -> str:
        """Return where the client wrote the field `name`."""
        return self._places.get(name, name)

    def says(self, name: str) -> bool:
        """Return whether the field says anything, and has not been read yet."""
        return not is_nothing(self.given.get(name))

    def take(self, name: str) -> Any:
        """Return a field, which counts as read; None where it says nothing."""
        value = self.given.pop(name, None)
        return None if is_nothing(value) else value

    def take_as(self, kind: Whole | Flag, name: str) -> Any:
        """Return a field as a number or a switch; None where it says nothing, or something wrong."""
        value = self.take(name)
        if value is None:
            return None
        try:
            return kind.read(value)
        except PydanticCustomError as error:
            suggestion = (error.context or {}).get("suggestion")
            self.problem(name, error.message(), None if suggestion is None else str(suggestion))
            return None

    def take_word(self, name: str) -> str | None:
        """Return a field that is one of a few words, in lower case; None where it says nothing, or something wrong."""
        value = self.take(name)
        if value is None:
            return None
        found = word(value)
        if not found:
            self.problem(name, f"must be a word, not {shown(value)}")
        return found or None

    def put(self, name: str, value: Any, origin: str) -> None:
        """Set a field of the job for the client's field `origin`; its own name may not say something else."""
        own = self.take(name) if name != origin else None
        if own is not None and str(own) != str(value):
            self.problem(origin, f"says something else than {self.place(name)}; send one of them")
        self.fields[name] = value
        self.written[name] = self.place(origin)

    def put_output(self, name: str, value: Any, origin: str) -> None:
        """Set a field of the job's `output` for the client's field `origin`."""
        self.output[name] = value
        self.written[f"output.{name}"] = self.place(origin)

    def problem(self, name: str, message: str, suggestion: str | None = None) -> None:
        """Note a mistake in the client's field `name`."""
        self.problems.append(Problem(self.place(name), message, suggestion))

    def _unpack_extra_body(self) -> None:
        """Lay the fields of `extra_body` beside the others, as the client library does that has the name."""
        extra = parsed(self.take("extra_body"))
        if extra is None:
            return
        if not isinstance(extra, dict):
            self.problem("extra_body", f"must be an object with further fields, not {shown(extra)}")
            return
        for name, value in extra.items():
            place = f"extra_body.{name}"
            if self.says(name) and self.given[name] != value:
                self.problems.append(Problem(place, f"says something else than {name}; send one of them"))
            self.given[name] = value
            self._places[name] = place
