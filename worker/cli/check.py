"""``python -m worker check``: what is configured, found and missing; every line with what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from worker import __version__
from worker.doctor.finding import Finding
from worker.doctor.quick import quick
from worker.errors import WorkerError
from worker.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNS = {"ok": "✓", "warn": "!", "fail": "✗"}


def main(argv: list[str]) -> int:
    """Print what is configured, found and missing; return 1 when the worker could not start."""
    parser = argparse.ArgumentParser(prog="python -m worker check", description=main.__doc__)
    parser.add_argument("--json", action="store_true", help="a JSON array in place of lines")
    parser.add_argument("--quick", action="store_true", help="only what is looked at before every start")
    options = parser.parse_args(argv)
    try:
        settings = read_settings(os.environ)
    except WorkerError as error:
        findings = [Finding("settings", "fail", error.message, error.hint or "")]
    else:
        findings = list(examine(settings, thorough=not options.quick))
    if options.json:
        json.dump([asdict(finding) for finding in findings], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for finding in findings:
            fix = f" → {finding.fix}" if finding.fix and finding.state != "ok" else ""
            print(f"{_SIGNS[finding.state]} {finding.what}: {finding.seen}{fix}")
    return 1 if any(finding.state == "fail" for finding in findings) else 0


def examine(settings: Settings, *, thorough: bool = True) -> Iterator[Finding]:
    """Yield the findings about a machine with these settings; nothing is started or changed."""
    yield Finding("versions", "ok", f"worker {__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield from quick(settings, running=True)
    if thorough:
        from worker.doctor.outside import outside  # noqa: PLC0415 - slow to import, and the quick part must not be
        from worker.doctor.volume import volume  # noqa: PLC0415 - as above
        from worker.doctor.webui import webui  # noqa: PLC0415 - as above

        yield from webui(settings)
        yield from volume(settings)
        yield from outside(settings)
