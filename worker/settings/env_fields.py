"""Environment variables as fields of a pydantic model: types, names, descriptions and error texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BeforeValidator, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from worker.common.redaction import HIDDEN, hide_url_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most"}
_KINDS: dict[Any, str] = {bool: "bool", int: "integer", float: "number", Path: "path", str: "text", SecretStr: "secret"}
_REQUIREMENTS = {"bool": "true or false", "integer": "a whole number", "number": "a number"}


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a number, as metadata of its type."""

    name: str


@dataclass(frozen=True, slots=True)
class IsUrl:
    """Marks a text as a URL, which may contain credentials."""


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return value.rstrip("/")


def _header(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ValueError("must be plain ASCII text on one line")
    return value


Seconds = Annotated[float, Unit("s")]
WholeSeconds = Annotated[int, Unit("s")]
Bytes = Annotated[int, Unit("bytes")]
Pixels = Annotated[int, Unit("pixels")]
Url = Annotated[str, IsUrl(), BeforeValidator(_url)]
"""An HTTP address without a slash at its end."""
HeaderSecret = Annotated[SecretStr, BeforeValidator(_header)]
"""A secret that is sent in an HTTP header."""
AnyCase = BeforeValidator(_lower)
"""Makes a `Literal` of lower-case words accept them in any case."""


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable, for tables and error messages.

    Attributes:
        attribute: The field of the model that holds its value.
        names: Its names; the first one that is set counts.
        kind: ``text``, ``url``, ``path``, ``integer``, ``number``, ``bool``, ``choice`` or ``secret``.
        default: The value where it is not set.
        description: One line of documentation.
        unit: The unit of a number.
        choices: The words that are allowed, where only some are.
        limits: Of a number: ``ge``, ``gt`` and ``le``, where there are any.
    """

    attribute: str
    names: tuple[str, ...]
    kind: str
    default: Any
    description: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def secret(self) -> bool:
        """True for a value that is never shown."""
        return self.kind == "secret"

    @property
    def requirement(self) -> str:
        """The values that are allowed, in words: ``a whole number, at least 1 and at most 16``."""
        if self.choices:
            *first, last = (repr(each) for each in self.choices)
            return f"{', '.join(first)} or {last}"
        bounds = " and ".join(f"{word} {self.limits[name]}" for name, word in _BOUNDS.items() if name in self.limits)
        return f"{_REQUIREMENTS.get(self.kind, f'a {self.kind}')}{f', {bounds}' if bounds else ''}"

    def shown(self, value: str) -> str:
        """Return `value` quoted for an error message, without credentials; nothing of it for a secret."""
        if self.secret:
            return ""
        if self.kind == "url":
            value = hide_url_credentials(value)
            _, at, host = value.rpartition("@")
            if at and "://" not in value:
                value = f"{HIDDEN}@{host}"
        return repr(value)


def variables_of(model: type[BaseSettings]) -> Iterator[Variable]:
    """Yield the environment variable of each field of `model`, in order."""
    for name, info in model.model_fields.items():
        yield _variable(name, info)


class EnvironmentSource(PydanticBaseSettingsSource):
    """The values in a mapping of environment variables; blank ones count as unset.

    Args:
        model: The settings' class.
        environment: The variables.
    """

    def __init__(self, model: type[BaseSettings], environment: Mapping[str, str]) -> None:
        super().__init__(model)
        self._environment = environment

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of a field (None where it is not set), the variable's name, and False: no value is JSON."""
        names = _names(field_name, field)
        name = next((name for name in names if self._environment.get(name, "").strip()), None)
        return (None, names[0], False) if name is None else (self._environment[name].strip(), name, False)

    def __call__(self) -> dict[str, Any]:
        """Return the values of all variables that are set, by the name that `model_validate` knows them by."""
        values: dict[str, Any] = {}
        for field_name, info in self.settings_cls.model_fields.items():
            value, name, _ = self.get_field_value(info, field_name)
            if value is not None:
                values[name if info.validation_alias else field_name] = value
        return values


def complaints(error: ValidationError, known: Iterable[Variable], environment: Mapping[str, str]) -> list[str]:
    """Return one sentence for each bad variable, in the order of `known`.

    It has the variable's name, its value unless that is secret, and what is right.
    """
    by_key = {key: (place, one) for place, one in enumerate(known) for key in (one.attribute, *one.names)}
    found: list[tuple[int, str]] = []
    for mistake in error.errors(include_url=False):
        key = str(mistake["loc"][0]) if mistake["loc"] else ""
        if key not in by_key:
            found.append((len(by_key), _reason(mistake) or mistake["msg"]))
            continue
        place, variable = by_key[key]
        name = key if key in variable.names else variable.names[0]
        shown = variable.shown(environment.get(name, ""))
        reason = _reason(mistake) or f"must be {variable.requirement}"
        found.append((place, f"{name}{'=' if shown else ''}{shown}: {reason}"))
    return [sentence for _, sentence in sorted(found, key=itemgetter(0))]


def _reason(mistake: ErrorDetails) -> str:
    """Return the message of a validator of ours, "" where the mistake was found by pydantic itself."""
    reason = mistake.get("ctx", {}).get("error")
    return str(reason) if isinstance(reason, ValueError) else ""


def _names(field_name: str, info: FieldInfo) -> tuple[str, ...]:
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (alias if isinstance(alias, str) else field_name.upper(),)


def _variable(name: str, info: FieldInfo) -> Variable:
    base, metadata = _unwrapped(info.annotation)
    metadata = [*info.metadata, *metadata]
    is_choice = get_origin(base) is Literal
    kind = "choice" if is_choice else "url" if any(isinstance(one, IsUrl) for one in metadata) else _KINDS[base]
    return Variable(
        attribute=name,
        names=_names(name, info),
        kind=kind,
        default=info.default,
        description=info.description or "",
        unit=next((one.name for one in metadata if isinstance(one, Unit)), ""),
        choices=get_args(base) if is_choice else (),
        limits={
            bound: value for one in metadata for bound in _BOUNDS if (value := getattr(one, bound, None)) is not None
        },
    )


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """Return the type within ``Annotated[…]`` and ``… | None``, and the metadata passed on the way."""
    metadata: list[Any] = []
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            metadata += more
        elif origin in (Union, UnionType):
            (annotation,) = (one for one in get_args(annotation) if one is not NoneType)
        else:
            return annotation, metadata
