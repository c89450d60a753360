"""Operator configuration: presets, wildcards, rules on prompts and the image check. Read once at start."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from worker.contract.operator.presets import Preset, PresetsInvalid, read_presets
from worker.contract.operator.prompt_policy import DEFAULT_STEPS, PolicyInvalid, Rule, enforce, judge, read_policy
from worker.contract.operator.prompt_schedule import Steps
from worker.contract.operator.workflows import WorkflowsInvalid, read_workflows
from worker.contract.rules.pass_prompts import MAIN_PROMPT
from worker.contract.types.job import Txt2Img
from worker.errors import SettingsInvalid
from worker.judges.loading import load_moderation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.contract.parse.workflow_parser import Definition
    from worker.contract.types.job import Generation
    from worker.judges.moderation import ModerationFilter
    from worker.settings import Settings

PRESETS = "presets.yaml"
WORKFLOWS = "workflows.yaml"
WILDCARDS = "wildcards"
_LARGEST_LIST = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OperatorConfig:
    """The operator's additions to the contract.

    Attributes:
        presets: By name; those that ship with the worker, and the operator's over them.
        wildcards: Name → lines, of `__name__` in prompts.
        rules: On prompts; none: every prompt is fine.
        gate: Moderates pictures; None: every picture is fine.
        workflows: By name; those that ship with the worker, and the operator's over them.
        models_root: Folder that the references of characters are relative to.
    """

    presets: Mapping[str, Preset] = field(default_factory=dict)
    wildcards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    gate: ModerationFilter | None = None
    workflows: Mapping[str, Definition] = field(default_factory=dict)
    models_root: Path | None = None

    def check(self, job: Generation) -> list[str]:
        """Return warnings for prompts that a rule flags.

        Raises:
            InvalidInput: a rule refuses one.
        """
        if not self.rules:
            return []
        # Pairs, since a plot's one value may stand in two prompts.
        texts = [(job.path("prompt"), job.prompt), (job.path("negative_prompt"), job.negative_prompt)]
        if isinstance(job, Txt2Img):
            texts.append((job.path("hr_prompt"), job.hr_prompt))
            texts.append((job.path("hr_negative_prompt"), job.hr_negative_prompt))
        for number, unit in enumerate(job.adetailer or ()):
            texts.append((job.path(f"adetailer[{number}].prompt"), _with_main(unit.prompt, job.prompt)))
            negative = _with_main(unit.negative_prompt, job.negative_prompt)
            texts.append((job.path(f"adetailer[{number}].negative_prompt"), negative))
        for number, lora in enumerate(job.loras or ()):
            if isinstance(lora.trigger_words, list):
                texts.append((f"{job.path('loras')}[{number}].trigger_words", ", ".join(lora.trigger_words)))
        return enforce(judge(texts, self.rules, passes=_passes(job)))


def _passes(job: Generation) -> tuple[Steps, ...]:
    """Return the passes in which the prompts of a job are used."""
    steps = job.steps or DEFAULT_STEPS
    found = [Steps(steps), *(Steps(unit.steps) for unit in job.adetailer or () if unit.steps)]
    if isinstance(job, Txt2Img) and job.enable_hr:
        found.append(Steps(job.hr_second_pass_steps or steps, before=steps, part=1.0))
    return tuple(dict.fromkeys(found))


def _with_main(prompt: str | None, main: str | None) -> str:
    """Return ADetailer's prompt with the job's own in the place of its word for it."""
    return (prompt or "").replace(MAIN_PROMPT, main or "")


def load_operator_config(settings: Settings) -> OperatorConfig:
    """Return the configuration that the settings point at.

    Raises:
        SettingsInvalid: a file that can't be read, or not understood; names the variable.
    """
    rules: tuple[Rule, ...] = ()
    if settings.prompt_policy_file is not None:
        try:
            rules = read_policy(_text(settings.prompt_policy_file, "PROMPT_POLICY_FILE"))
        except PolicyInvalid as error:
            raise SettingsInvalid(f"PROMPT_POLICY_FILE={str(settings.prompt_policy_file)!r}: {error}") from None
    lists = _lists(settings.wildcards_dir or settings.models_root / WILDCARDS)
    workflows = load_workflows(settings.models_root / WORKFLOWS)
    return OperatorConfig(
        load_presets(settings), lists, rules, load_moderation(settings), workflows, settings.models_root
    )


def load_workflows(own: Path) -> dict[str, Definition]:
    """Return the workflows that ship with the worker, and those of the file `own` over them.

    Raises:
        SettingsInvalid: the file can't be read, or not understood.
    """
    shipped = resources.files("worker.contract.operator").joinpath(f"data/{WORKFLOWS}").read_text(encoding="utf-8")
    workflows = read_workflows(shipped)
    if own.is_file():
        try:
            workflows |= read_workflows(_text(own, "MODELS_DIR"))
        except WorkflowsInvalid as error:
            raise SettingsInvalid(f"{own}: {error}") from None
    return workflows


def load_presets(settings: Settings) -> dict[str, Preset]:
    """Return the presets that ship with the worker, and the operator's over them.

    Raises:
        SettingsInvalid: the operator's can't be read, or not understood.
    """
    shipped = resources.files("worker.contract.operator").joinpath(f"data/{PRESETS}")
    presets = read_presets(shipped.read_text(encoding="utf-8"))
    own = settings.presets_file or _if_there(settings.models_root / PRESETS)
    if own is not None:
        try:
            presets |= read_presets(_text(own, "PRESETS_FILE"))
        except PresetsInvalid as error:
            raise SettingsInvalid(f"PRESETS_FILE={str(own)!r}: {error}") from None
    return presets


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _text(path: Path, variable: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{variable}={str(path)!r} can't be read: {error}") from None


def _lists(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the wildcard lists below `folder`: one line each, empty ones and those that begin with # left out."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.rglob("*.txt")) if folder.is_dir() else ():
        try:
            if path.stat().st_size > _LARGEST_LIST:
                continue
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        kept = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
        if kept:
            found[path.relative_to(folder).with_suffix("").as_posix()] = kept
    return found
