"""References to models in jobs: a string, or an object with a name, an address, a hash and a scale.

What the string may be: a name or alias of the catalog, a file name on the volume, an http(s) URL, a CivitAI version,
model, page or AIR, ``hf:org/repo/file``, ``s3://bucket/key``. `worker.models.sources.references` reads it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from worker.contract.base.model_titles import ADDRESS, MAX_REF_LENGTH, split_title
from worker.contract.types.composed.pool import Range
from worker.contract.types.fields import Number, mistake

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

Placement = Literal["before", "after"]
_TRIGGER_WORDS: dict[str, bool | str] = {"true": True, "false": False, "before": "before", "after": "after"}
_FULL_SHA256 = 64
_AUTO_V2 = 10
_HEX = re.compile(r"[0-9a-f]+")
_USER = re.compile(r"//[^/?#]*@")
_QUERY = re.compile(r"[?#].*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

_REF_DESCRIPTION = (
    "Catalog name or alias, file name on the volume, URL, CivitAI (`civitai:<version id>`, page URL, AIR), "
    "`hf:org/repo/file`, `s3://bucket/key`."
)


class ModelRef(BaseModel):
    """A model as a client names it; a bare string is the same as ``{"name": string}``."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str | None = Field(None, min_length=1, max_length=MAX_REF_LENGTH, description=_REF_DESCRIPTION)
    url: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_REF_LENGTH,
        description="Where to fetch it from when it is not there: URL, `civitai:…`, `hf:…` or `s3://…`.",
    )
    sha256: str | None = Field(
        None,
        validation_alias=AliasChoices("sha256", "hash"),
        description="SHA-256 of the file in hex, whole or its first 10 digits (CivitAI's AutoV2).",
    )
    revision: str | None = Field(
        None,
        validation_alias=AliasChoices("revision", "version"),
        max_length=200,
        description="Branch, tag or commit on Hugging Face; version id on CivitAI.",
    )
    token: SecretStr | None = Field(
        None, max_length=500, description="Token for the source's own host only; never stored, logged or answered."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            return value
        name, digits = split_title(value["name"])
        if issubclass(cls, LoraRef):  # the WebUI's titles of LoRAs have no hash, and its hashes of them are others
            return {**value, "name": value["name"].replace("\\", "/") if digits else name}
        if digits is not None and len(digits) == _AUTO_V2 and not (value.get("sha256") or value.get("hash")):
            return {**value, "name": name, "sha256": digits}
        return {**value, "name": name}

    @field_validator("revision", mode="before")
    @classmethod
    def _number_is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("name", "url", "revision")
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if _CONTROL.search(value):
            raise ValueError("must not contain control characters")
        stripped = value.strip()
        if not stripped:
            raise ValueError("must not be empty")
        return stripped

    @field_validator("token")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not (value.get_secret_value().isascii() and value.get_secret_value().isprintable()):
            raise ValueError("must be plain ASCII text")
        return value

    @field_validator("sha256", mode="before")
    @classmethod
    def _no_hash_at_all(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("sha256")
    @classmethod
    def _hex_digits(cls, value: str | None) -> str | None:
        if value is None:
            return None
        digits = value.strip().lower().removeprefix("sha256:")
        if not _HEX.fullmatch(digits) or len(digits) not in {_AUTO_V2, _FULL_SHA256}:
            raise ValueError("must be the SHA-256 of the file: 64 hex digits, or its first 10 (CivitAI's AutoV2)")
        return digits

    @model_validator(mode="after")
    def _names_something(self) -> ModelRef:
        if self.name is None and self.url is None:
            raise ValueError("needs a name or a url")
        return self

    @property
    def ref(self) -> str:
        """The model in a person's words: its name, else its address; may hold a secret, so it is never shown."""
        return self.name or self.url or ""

    @property
    def shown(self) -> str:
        """`ref` for messages: without user information and query, and not longer than a line."""
        text = _USER.sub("//…@", self.ref)
        if ADDRESS.match(text):
            text = _QUERY.sub("?…", text)
        return text[:200]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of both forms: a string or an object."""
        whole = handler(schema)
        body = handler.resolve_ref_schema(whole)
        either = {"anyOf": [{"type": "string", "minLength": 1, "description": _REF_DESCRIPTION}, dict(body)]}
        body.clear()
        body.update(either)
        return whole


_LONGEST_SHAPE = 300
_WEIGHED = re.compile(r"(?P<name>[^:]{1,100}):(?P<scale>[+-]?\d*\.?\d+)")
_NAMES = ("name", "path", "file", "lora", "lora_name", "model_name", "lora_path")
_SCALES = ("scale", "weight", "multiplier", "strength", "strength_model")


def lora_shape(value: object) -> str | None:
    """Return `loras` as this contract has it for what other tools write, None where that can't be read.

    They write lists of objects with names of their own, an object of scale by name, ``name:0.8``, or one name.
    """
    if isinstance(value, dict) and not any(name in value for name in _NAMES):
        parts: list[object] = [{"name": name, "scale": scale} for name, scale in value.items()]
    else:
        parts = list(value) if isinstance(value, list) else [value]
    shaped = [_lora(part) for part in parts]
    if not shaped or any(part is None for part in shaped):
        return None
    shape = json.dumps(shaped, ensure_ascii=False)
    return shape if len(shape) <= _LONGEST_SHAPE else None


def _lora(part: object) -> dict[str, object] | None:
    if isinstance(part, str):
        found = _WEIGHED.fullmatch(part)
        if found is None or ADDRESS.match(part):
            return {"name": part.removesuffix(".safetensors")}
        return {"name": found["name"].removesuffix(".safetensors"), "scale": float(found["scale"])}
    if not isinstance(part, dict):
        return None
    name = next((part[each] for each in _NAMES if isinstance(part.get(each), str)), None)
    scale = next((part[each] for each in _SCALES if isinstance(part.get(each), (int, float))), None)
    if name is None:
        return None
    bare = re.split(r"[/\\]", name)[-1].removesuffix(".safetensors")
    return {"name": bare} if scale is None else {"name": bare, "scale": scale}


class LoraRef(ModelRef):
    """A LoRA: a model with a scale and, on request, its trigger words put into the prompt."""

    one_of: list[str] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description=(
            "Instead of a name: a list, or a pattern over the LoRA folder (`character/*`), of which each picture draws "
            "one by its seed."
        ),
    )
    scale: Annotated[float | tuple[float, float], Range(Number(-10, 10))] | None = Field(
        None,
        validation_alias=AliasChoices("scale", "weight"),
        description=(
            "Strength; default: the one known for this LoRA, else 1. `[least, most]`: drawn by the picture's seed."
        ),
    )
    trigger_words: bool | Placement | list[str] | None = Field(
        None,
        description=(
            "true or `after`: put the LoRA's known trigger words behind the prompt; `before`: in front of it; a list: "
            "put these behind it."
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _scale_apart(cls, value: Any) -> Any:
        if isinstance(value, str) and not ADDRESS.match(value) and _WEIGHED.fullmatch(value):
            raise mistake("has the scale in its name; send it beside the name", json.dumps(_lora(value)))
        return value

    @field_validator("one_of", mode="before")
    @classmethod
    def _one_pattern(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("one_of")
    @classmethod
    def _printable_names(cls, value: list[str] | None) -> list[str] | None:
        for name in value or ():
            if _CONTROL.search(name) or not name.strip() or len(name) > MAX_REF_LENGTH:
                raise ValueError(f"must be names or patterns of 1 to {MAX_REF_LENGTH} printable characters")
        return None if value is None else [name.strip() for name in value]

    @model_validator(mode="after")
    def _names_something(self) -> LoraRef:
        if self.one_of is not None and (self.name is not None or self.url is not None or self.sha256 is not None):
            raise ValueError("has one_of, so it can't have a name, a url or a hash too")
        if self.one_of is None and self.name is None and self.url is None:
            raise ValueError("needs a name, a url or one_of")
        return self

    @property
    def is_drawn(self) -> bool:
        """True if the picture's seed has to draw the LoRA or its scale."""
        return self.one_of is not None or isinstance(self.scale, tuple)

    @property
    def fixed_scale(self) -> float | None:
        """The scale of a LoRA for which it is settled; None: not given."""
        return self.scale if not isinstance(self.scale, tuple) else None

    def settled(self, *, name: str | None = None, scale: float | None = None) -> LoraRef:
        """Return this LoRA with a drawn name or a drawn scale."""
        changes: dict[str, Any] = {} if name is None else {"name": name, "one_of": None}
        if scale is not None:
            changes["scale"] = scale
        return self.model_copy(update=changes)

    @field_validator("trigger_words", mode="before")
    @classmethod
    def _truth_value_or_words(cls, value: Any) -> Any:
        meant = _TRIGGER_WORDS.get(value.strip().lower()) if isinstance(value, str) else value
        if not (value is None or isinstance(meant, (bool, list, str))):
            raise ValueError("must be true, false, before, after, or a list of words")
        return meant

    @field_validator("trigger_words")
    @classmethod
    def _few_words(cls, value: bool | str | list[str] | None) -> bool | str | list[str] | None:  # noqa: FBT001  the field's own type
        if isinstance(value, list) and (len(value) > 50 or any(len(word) > 200 for word in value)):  # noqa: PLR2004  said in the message
            raise ValueError("at most 50 words of 200 characters each")
        return value
