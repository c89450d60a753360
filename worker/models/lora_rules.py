"""The operator's rules on LoRAs, from ``loras.yaml``: scales, trigger words, base models, conflicts, sums of scales.

For example::

    largest_sum: {scale: 2.5, action: warn}
    folders:
      character: {scale: 0.9, base_model: SDXL, put_words: before, conflicts: ["character/*"]}
    files:
      character/luca: {scale: 0.85, trigger_words: [luca, red hair]}

A folder's rule holds for its sub-folders too; the inner one, and above it the file's own, wins value by value.
Conflicts add up. Pure but for `read_lora_rules`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from worker.common.yaml_text import load_yaml
from worker.errors import Problem, SettingsInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LORAS = "loras.yaml"
_LARGEST_FILE = 4 * 1024 * 1024


class _RulePart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LargestSum(_RulePart):
    """The largest sum of the scales of one picture's LoRAs, signs left out, and what is done about more."""

    scale: float = Field(gt=0, allow_inf_nan=False)
    action: Literal["warn", "error"] = "warn"


class LoraRule(_RulePart):
    """Rule for a folder or a file; None: says nothing.

    Attributes:
        scale: Where the job gives none.
        trigger_words: Instead of those that are known from elsewhere.
        put_words: Where they are put into the prompt when the job does not say.
        base_model: The only base model of checkpoints that it works with.
        conflicts: Patterns of LoRAs that may not be used beside it.
        largest_sum: Of the LoRAs of this folder that one picture uses.
    """

    scale: float | None = Field(None, ge=-10, le=10)
    trigger_words: tuple[str, ...] | None = None
    put_words: Literal["before", "after"] | None = None
    base_model: str | None = None
    conflicts: tuple[str, ...] = ()
    largest_sum: LargestSum | None = None

    def under(self, inner: LoraRule) -> LoraRule:
        """Return the rule that holds where `inner` stands inside this one."""
        own, over = self.model_dump(exclude_none=True), inner.model_dump(exclude_none=True)
        return LoraRule.model_validate({**own, **over, "conflicts": (*self.conflicts, *inner.conflicts)})


@dataclass(frozen=True, slots=True)
class UsedLora:
    """A LoRA that a picture uses: the field that names it, its file below the folder, and its scale."""

    path: str
    file: str
    scale: float


class LoraRules(_RulePart):
    """All rules; none by default."""

    largest_sum: LargestSum | None = None
    folders: dict[str, LoraRule] = Field(default_factory=dict)
    files: dict[str, LoraRule] = Field(default_factory=dict)

    @field_validator("folders", "files")
    @classmethod
    def _keyed(cls, rules: dict[str, LoraRule]) -> dict[str, LoraRule]:
        return {_key(name): rule for name, rule in rules.items()}

    def rule(self, file: str) -> LoraRule:
        """Return the rule for a LoRA file, a path below its folder."""
        found = LoraRule()
        for folder in self._folders_of(file):
            found = found.under(self.folders[folder])
        own = self.files.get(_key(file))
        return found if own is None else found.under(own)

    def _folders_of(self, file: str) -> list[str]:
        """Return the folders with a rule that hold `file`, the outermost first."""
        parents = [_key(parent.as_posix()) for parent in PurePosixPath(file).parents if parent.name]
        return [parent for parent in reversed(parents) if parent in self.folders]

    def check(self, used: Sequence[UsedLora]) -> tuple[list[Problem], list[str]]:
        """Return the problems and warnings of LoRAs that are used together."""
        problems = [
            Problem(lora.path, f"{lora.file!r} conflicts with {other.file!r} on this endpoint; use one of them")
            for lora in used
            for other in used
            if other is not lora and any(_matches(other.file, pattern) for pattern in self.rule(lora.file).conflicts)
        ]
        warnings: list[str] = []
        groups = [("", self.largest_sum), *((folder, rule.largest_sum) for folder, rule in self.folders.items())]
        for folder, limit in groups:
            inside = [lora for lora in used if not folder or folder in self._folders_of(lora.file)]
            total = sum(abs(lora.scale) for lora in inside)
            if limit is None or total <= limit.scale + 1e-9:
                continue
            of = f" of {folder}/" if folder else ""
            message = f"the scales{of} add up to {total:g}; at most {limit.scale:g} is wanted on this endpoint"
            if limit.action == "error":
                problems.append(Problem(inside[-1].path, message))
            else:
                warnings.append(f"{inside[-1].path}: {message}")
        return problems, warnings


def read_lora_rules(root: Path) -> LoraRules:
    """Return the rules in ``loras.yaml`` in the folder of models; no file: no rules.

    Raises:
        SettingsInvalid: it can't be read, or not understood; names what is wrong.
    """
    path = root / LORAS
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise SettingsInvalid(f"{path} has more than {_LARGEST_FILE} bytes")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return LoraRules()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} can't be read: {error}") from None
    try:
        return LoraRules.model_validate(load_yaml(text) or {})
    except yaml.YAMLError as error:
        raise SettingsInvalid(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise SettingsInvalid(f"{path}: {where or 'the file'}: {first['msg']}") from None


def _key(name: str) -> str:
    """Return the key of a file or folder in the rules: without ending, outer slashes and case."""
    path = PurePosixPath(name.strip().strip("/").casefold())
    return (path.with_suffix("") if path.suffix in {".safetensors", ".pt", ".ckpt"} else path).as_posix()


def _matches(file: str, pattern: str) -> bool:
    return fnmatchcase(_key(file), _key(pattern).replace("[", "[[]"))
