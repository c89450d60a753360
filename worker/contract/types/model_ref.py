"""References to models in jobs: a string, or an object with a name, an address, a hash and a scale.

What the string may be: a name or alias of the catalog, a file name on the volume, an http(s) URL, a CivitAI version,
model, page or AIR, ``hf:org/repo/file``, ``s3://bucket/key``. `worker.models.sources.references` reads it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from worker.contract.types.fields import mistake

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

MAX_REF_LENGTH = 2048
_FULL_SHA256 = 64
_AUTO_V2 = 10
_HEX = re.compile(r"[0-9a-f]+")
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//|(?:hf|huggingface|civitai|urn):", re.IGNORECASE)
_USER = re.compile(r"//[^/?#]*@")
_QUERY = re.compile(r"[?#].*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

_REF_DESCRIPTION = (
    "Catalog name or alias, file name on the volume, URL, CivitAI (`civitai:<version id>`, page URL, AIR), "
    "`hf:org/repo/file`, `s3://bucket/key`."
)


_TITLE = re.compile(r"(?P<name>.*\S)\s*\[(?P<hash>[0-9a-fA-F]{8,12})\]\s*", re.DOTALL)


def split_title(text: str) -> tuple[str, str | None]:
    """Return a model's name, and the hash that the WebUI's titles have behind it: ``name.safetensors [58e088dedc]``.

    Folders may be parted by backslashes, as the WebUI on Windows has them.
    """
    if _ADDRESS.match(text) or len(text) > MAX_REF_LENGTH:
        return text, None
    found = _TITLE.fullmatch(text)
    name, digits = (found["name"], found["hash"].lower()) if found else (text, None)
    return name.replace("\\", "/"), digits


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
        if _ADDRESS.match(text):
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
        if found is None or _ADDRESS.match(part):
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

    scale: float | None = Field(
        None,
        ge=-10,
        le=10,
        allow_inf_nan=False,
        validation_alias=AliasChoices("scale", "weight"),
        description="Strength; default: the catalog's for this LoRA, else 1.",
    )
    trigger_words: bool | list[str] | None = Field(
        None,
        description="true: put the LoRA's known trigger words into the prompt; a list: put these.",
    )

    @model_validator(mode="before")
    @classmethod
    def _scale_apart(cls, value: Any) -> Any:
        if isinstance(value, str) and not _ADDRESS.match(value) and _WEIGHED.fullmatch(value):
            raise mistake("has the scale in its name; send it beside the name", json.dumps(_lora(value)))
        return value

    @field_validator("scale", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"must be a number, not {str(value).lower()}")  # noqa: TRY004 - pydantic reads no other
        return value

    @field_validator("trigger_words", mode="before")
    @classmethod
    def _truth_value_or_words(cls, value: Any) -> Any:
        meant = {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else value
        if not (value is None or isinstance(meant, (bool, list))):
            raise ValueError("must be true, false, or a list of words")
        return meant

    @field_validator("trigger_words")
    @classmethod
    def _few_words(cls, value: bool | list[str] | None) -> bool | list[str] | None:  # noqa: FBT001  the field's own type
        if isinstance(value, list) and (len(value) > 50 or any(len(word) > 200 for word in value)):  # noqa: PLR2004  said in the message
            raise ValueError("at most 50 words of 200 characters each")
        return value
