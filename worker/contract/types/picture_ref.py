"""Pictures that a client sends, as text: what kind of text it is, without reading the picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic_core import core_schema

from worker.contract.base.json_guard import LONGEST_TEXT, shown
from worker.contract.base.wrapped_base64 import wrapped
from worker.contract.types.fields import mistake

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

LONGEST_ADDRESS = 4096

Source = Literal["base64", "data", "url", "s3", "key"]

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,15}:")
_BASE64 = re.compile(r"[A-Za-z0-9+/_%\s-]+=*\s*", re.ASCII)
_MARK = "\ufeff"
"""A byte order mark, which some programs put before a text."""
_LOOKED_AT = 4096
_SHORTEST_PICTURE = 32
_ACCEPTED = "base64, a data URL, an https URL, s3://bucket/key or key:<key of an earlier output>"


def source_of(text: str) -> Source:
    """Return what kind of reference `text` is; raise a `mistake` for anything that is none."""
    text = text.lstrip(_MARK)
    head = text[:16].lower()
    around = wrapped(text)
    if around is not None:
        raise mistake(f"is {around}")
    if head.startswith("data:"):
        if ";base64," not in text[:200].lower():
            raise mistake("is a data URL without ;base64,")
        return "data"
    if _SCHEME.match(head):
        if len(text) > LONGEST_ADDRESS:
            raise mistake(f"is an address of {len(text)} characters; at most {LONGEST_ADDRESS} are read")
        if head.startswith(("https://", "http://")):
            return "url"
        if head.startswith("s3://"):
            return "s3"
        if head.startswith("key:"):
            return "key"
        raise mistake(f"must be {_ACCEPTED}, not {shown(text)}")
    sample = text[:_LOOKED_AT]
    if len(text.strip()) < _SHORTEST_PICTURE or not _BASE64.fullmatch(sample):
        raise mistake(f"must be {_ACCEPTED}, not {shown(text)}")
    return "base64"


@dataclass(frozen=True, slots=True)
class PictureText:
    """A picture as base64, data URL or address; never the name of a file."""

    def read(self, value: object) -> str:
        """Return the text in `value`; raise a `mistake` otherwise."""
        if not isinstance(value, str):
            raise mistake(f"must be text: {_ACCEPTED}, not {shown(value)}")
        source_of(value)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = core_schema.str_schema(max_length=LONGEST_TEXT, min_length=1)
        return core_schema.no_info_before_validator_function(self.read, inner)


Picture = Annotated[str, PictureText()]
