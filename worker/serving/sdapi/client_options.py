"""The WebUI's options as one client sees and sets them. Pure.

In A1111 ``POST /options`` changes the process for everybody. Here an option that a job may override is remembered for
the client that set it and sent with its jobs; the WebUI's own never change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from worker.contract.types.overrides import ALLOWED, MOVED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHECKPOINT = "sd_model_checkpoint"
VAE = "sd_vae"
CHECKPOINT_HASH = "sd_checkpoint_hash"
SAMPLES_FORMAT = "samples_format"
REMEMBERED = frozenset({*ALLOWED, *MOVED})
_VAE_WORDS = frozenset({"automatic", "none"})
_MOST_WARNED = 10
"""Options that a warning names; a client may post hundreds."""


@dataclass(slots=True)
class OptionChanges:
    """The outcome of a ``POST /options``.

    Attributes:
        remembered: Options to remember, with their values.
        forgotten: Options that are to be the WebUI's own again.
        warnings: What was left out, and why.
    """

    remembered: dict[str, Any] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    def applied_to(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the remembered `options` after these changes."""
        kept = {name: value for name, value in options.items() if name not in self.forgotten}
        return {**kept, **self.remembered}


def option_changes(
    posted: Mapping[str, Any],
    own: Mapping[str, Any],
    remembered: Mapping[str, Any],
    models: Sequence[Mapping[str, Any]],
) -> OptionChanges:
    """Return what `posted` changes; keys with the value they have anyway, a whole dump's for instance, change nothing.

    Args:
        posted: Options as the client sent them.
        own: The WebUI's own options.
        remembered: Those of this client so far.
        models: The rows of ``/sd-models``.
    """
    changes, seen, refused = OptionChanges(), visible_options(own, remembered, models), []
    for name, value in posted.items():
        if name not in REMEMBERED:
            if value != seen.get(name):
                refused.append(name)
        elif value is None or value == "" or _is_same(name, value, own.get(name), models):
            changes.forgotten.add(name)
        elif not _is_same(name, value, seen.get(name), models):
            changes.remembered[name] = value
    if refused:
        more = f" and {len(refused) - _MOST_WARNED} more" if len(refused) > _MOST_WARNED else ""
        named = ", ".join(refused[:_MOST_WARNED])
        changes.warnings.append(
            f"not changed, because a client's jobs can't have options of their own there: {named}{more}"
        )
    return changes


def visible_options(
    own: Mapping[str, Any], remembered: Mapping[str, Any], models: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return all options as ``GET /options`` shows them to the client.

    Clients compare `sd_model_checkpoint` with the titles of ``/sd-models`` and refuse a `samples_format` of null.
    """
    seen = {**own, **remembered}
    row = model_row(seen.get(CHECKPOINT), models)
    if row is None and CHECKPOINT not in remembered and models:
        row = models[0]
    if row is not None:
        seen[CHECKPOINT] = row["title"]
        seen[CHECKPOINT_HASH] = row.get("sha256") or ""
    seen[SAMPLES_FORMAT] = seen.get(SAMPLES_FORMAT) or "png"
    return seen


def with_remembered(payload: Mapping[str, Any], remembered: Mapping[str, Any]) -> dict[str, Any]:
    """Return `payload` with the client's options as override settings; what the payload says itself counts."""
    given = payload.get("override_settings")
    if not remembered or not (given is None or isinstance(given, dict)):
        return dict(payload)
    said = {name for name, value in payload.items() if value is not None}
    output = payload.get("output")
    if isinstance(output, dict):
        said |= {f"output.{name}" for name, value in output.items() if value is not None}
    own = {name: value for name, value in (given or {}).items() if value not in (None, "")}
    kept = {name: value for name, value in remembered.items() if not said & {name, MOVED.get(name, name)}}
    return {**payload, "override_settings": {**kept, **own}}


def kept_afterwards(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the override settings that a client wants to stay after its job."""
    given = payload.get("override_settings")
    if payload.get("override_settings_restore_afterwards") is not False or not isinstance(given, dict):
        return {}
    return {name: value for name, value in given.items() if name in REMEMBERED and value not in (None, "")}


def unlisted(changes: OptionChanges, models: Sequence[Mapping[str, Any]], vaes: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether `changes` name a model that the WebUI does not list, so that it takes a dry run to know it."""
    checkpoint, vae = changes.remembered.get(CHECKPOINT), changes.remembered.get(VAE)
    known = {str(row.get("model_name")) for row in vaes}
    if vae is not None and vae not in known and str(vae).lower() not in _VAE_WORDS:
        return True
    return checkpoint is not None and model_row(checkpoint, models) is None


def model_row(name: object, models: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the row of ``/sd-models`` that `name` means: a title, a name, or a hash."""
    if not isinstance(name, str) or not name:
        return None
    wanted = name.replace("\\", "/")
    by_name = (row for row in models if wanted in _names(row))
    by_hash = (row for row in models if name.lower() in {row.get("hash"), row.get("sha256")})
    return next(by_name, None) or next(by_hash, None)


def _names(row: Mapping[str, Any]) -> set[str]:
    title = str(row.get("title", "")).replace("\\", "/")
    file = title.rpartition(" [")[0] if title.endswith("]") else title
    stem = file.removesuffix(PureWindowsPath(file).suffix)
    return {title, file, stem, str(row.get("model_name", ""))}


def _is_same(name: str, value: object, other: object, models: Sequence[Mapping[str, Any]]) -> bool:
    if name == CHECKPOINT:
        row = model_row(value, models)
        return value == other or (row is not None and row is model_row(other, models))
    return value == other and isinstance(value, bool) == isinstance(other, bool)
