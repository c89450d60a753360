"""The commands of ``python -m worker`` and who does them. Each is imported only when it is asked for."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass

USAGE = 2


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the module with its ``main(argv) -> exit code``, and one line about it."""

    module: str
    about: str


COMMANDS: dict[str, Command] = {
    "run": Command("worker.cli.run", "run one job without RunPod: FILE or - (standard input)"),
    "submit": Command("worker.cli.submit", "run one job on an endpoint, RunPod's or a worker's own"),
    "serve": Command("worker.cli.serve", "answer jobs over HTTP, without RunPod"),
    "check": Command("worker.cli.check", "what is configured, found and missing"),
    "models": Command("worker.cli.models", "list, pull, verify and remove models"),
    "deploy": Command("worker.cli.deploy", "make or change an endpoint on RunPod, the plan first"),
    "plan": Command("worker.cli.plan", "how many workers a load needs, by simulation"),
    "schema": Command("worker.cli.schema", "the job contract as JSON Schema"),
}


def main(argv: list[str]) -> int:
    """Run the command that `argv` names; return its exit code, 2 for a command there is not."""
    if not argv or argv[0] in {"-h", "--help"}:
        print(_help(), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else USAGE
    command = COMMANDS.get(argv[0])
    if command is None:
        print(f"unknown command {argv[0]!r}\n\n{_help()}", file=sys.stderr)
        return USAGE
    code: int = importlib.import_module(command.module).main(argv[1:])
    return code


def _help() -> str:
    lines = [f"  {name:8} {command.about}" for name, command in COMMANDS.items()]
    return "usage: python -m worker COMMAND …\n\n" + "\n".join(lines) + "\n\n`COMMAND --help` tells more."
