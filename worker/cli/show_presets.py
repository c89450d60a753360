"""``worker presets …``: the presets that jobs of this endpoint can name, and what a combination of them makes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.printing import complain, write, write_json
from worker.common.suggestions import nearest
from worker.contract.operator.apply_presets import apply_presets
from worker.contract.types.kinds import Role  # noqa: TC001 - typer reads the annotations
from worker.errors import SettingsInvalid
from worker.jobs.operator_config import load_presets
from worker.settings import read_settings

if TYPE_CHECKING:
    from worker.contract.operator.presets import Preset

FAILED = 1
CLIENTS_WORDS = "…"
"""Stands for the client's own prompt where none is given."""

app = typer.Typer(name="presets", add_completion=False, no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def presets() -> None:
    """List the presets of this endpoint, and show what they make of a job."""


@app.command("list")
def list_presets(
    *, role: Annotated[Role | None, typer.Option(help="Only presets of this role.")] = None, json: AsJson = False
) -> None:
    """List the presets that ship with the worker and those of PRESETS_FILE."""
    found = [preset for preset in _presets().values() if role in (None, preset.role)]
    if json:
        write_json([preset.to_json() for preset in found])
        return
    width = max((len(preset.name) for preset in found), default=0)
    for preset in found:
        write(f"{preset.name:<{width}}  {preset.role or '-':<9}  {preset.about}".rstrip())


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A preset of any role.")],
    *,
    scene: Annotated[str | None, typer.Option(help="Together with this scene.")] = None,
    style: Annotated[str | None, typer.Option(help="Together with this style.")] = None,
    preset: Annotated[list[str] | None, typer.Option(help="Together with this preset; may be repeated.")] = None,
    prompt: Annotated[str, typer.Option(help="The client's own prompt.")] = CLIENTS_WORDS,
    json: AsJson = False,
) -> None:
    """Show the job that presets make around a prompt: composed prompts, LoRAs and fields."""
    known = _presets()
    if name not in known:
        near = nearest(name, known)
        complain(f"{name}: is not a preset of this endpoint" + (f" (did you mean {near!r}?)" if near else ""))
        raise typer.Exit(FAILED)
    job: dict[str, Any] = {"preset": [name, *(preset or ())], "scene": scene, "style": style, "prompt": prompt}
    if known[name].role == "character":
        job |= {"character": name, "preset": list(preset or ())}
    result = apply_presets(job, known)
    if result.problems:
        for problem in result.problems:
            complain(str(problem))
        raise typer.Exit(FAILED)
    if json:
        write_json({"preset": known[name].to_json(), "job": result.fields})
        return
    if known[name].about:
        write(known[name].about)
    for field, value in result.fields.items():
        write(f"{field}: {_line(value)}")


def _line(value: Any) -> str:
    """Return a field's value on one line."""
    if isinstance(value, list):
        return ", ".join(_line(part) for part in value)
    if isinstance(value, dict):
        return " ".join(f"{key}={_line(part)}" for key, part in value.items())
    return str(value)


def _presets() -> dict[str, Preset]:
    """Return the presets that the settings point at, or end the command."""
    try:
        return load_presets(read_settings(os.environ))
    except SettingsInvalid as error:
        complain(error.message)
        raise typer.Exit(FAILED) from None
