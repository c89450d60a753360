"""``worker check``: the findings about this machine's configuration, each with its remedy."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from worker import __version__
from worker.cli.printing import write, write_json
from worker.doctor.finding import Finding
from worker.doctor.quick import quick as quick_findings
from worker.errors import WorkerError
from worker.settings import Settings, misspelt, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNS = {"ok": "✓", "warn": "!", "fail": "✗"}

app = typer.Typer(add_completion=False)


@app.command()
def check(
    *,
    json: Annotated[bool, typer.Option("--json", help="A JSON array instead of lines.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Only the checks that precede every start.")] = False,
) -> None:
    """Print what is configured, found and missing; exit code 1 when the worker could not start."""
    try:
        settings = read_settings(os.environ)
    except WorkerError as error:
        findings = [Finding("settings", "fail", error.message, error.hint or "")]
    else:
        findings = list(examine(settings, thorough=not quick))
    findings += [
        Finding("settings", "warn", warning, "Correct its name, or remove it.") for warning in misspelt(os.environ)
    ]
    if json:
        write_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            fix = f" → {finding.fix}" if finding.fix and finding.state != "ok" else ""
            write(f"{_SIGNS[finding.state]} {finding.what}: {finding.seen}{fix}")
    raise typer.Exit(1 if any(finding.state == "fail" for finding in findings) else 0)


def examine(settings: Settings, *, thorough: bool = True) -> Iterator[Finding]:
    """Yield the findings about a machine with these settings; nothing is started or changed."""
    yield Finding("versions", "ok", f"worker {__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield from quick_findings(settings, running=True)
    if thorough:
        from worker.doctor.outside import outside  # noqa: PLC0415 - slow to import, and the quick part must not be
        from worker.doctor.volume import volume  # noqa: PLC0415 - as above
        from worker.doctor.webui import webui  # noqa: PLC0415 - as above

        yield from webui(settings)
        yield from volume(settings)
        yield from outside(settings)
