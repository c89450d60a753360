"""The command line: ``worker …`` or ``python -m worker …``. A command's module is imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from worker import __version__
from worker.cli.printing import write
from worker.common.dotenv_file import load_dotenv_file
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = 2
"""Exit code of a command line that cannot be followed; 1 means that the command failed, 0 that it did its work."""

_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")

COMMANDS = {
    "run": "worker.cli.single_job.run",
    "submit": "worker.cli.single_job.submit",
    "serve": "worker.cli.serve",
    "batch": "worker.cli.batch.batch_command",
    "bridge": "worker.bridge.bridge_command",
    "gallery": "worker.cli.gallery",
    "check": "worker.cli.check",
    "models": "worker.cli.models",
    "cache": "worker.cli.cache.cache_commands",
    "faces": "worker.cli.faces.faces_command",
    "deploy": "worker.cli.deploy.deploy_command",
    "presets": "worker.cli.show_presets",
    "plan": "worker.cli.plan",
    "schema": "worker.cli.schema_command",
}
"""The module of each command; its ``app`` is the command."""


class CommandsOnDemand(TyperGroup):
    """The commands of `COMMANDS`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        _flow_help(self)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the group hands it over
        """Return the names in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or fail with the name that may have been meant."""
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, n=1)
            ctx.fail(f"No such command '{cmd_name}'." + (f" Did you mean '{near[0]}'?" if near else ""))
        if cmd_name not in self.commands:
            module = importlib.import_module(COMMANDS[cmd_name])
            command = typer.main.get_command(module.app)
            _flow_help(command)
            self.add_command(command, cmd_name)
        return self.commands[cmd_name]


def _flow_help(command: Any) -> None:
    """Let the paragraphs of a command's help fill the terminal's width: rich keeps the docstring's line breaks."""
    command.help = _LINE_BREAK.sub(" ", command.help or "")
    for inner in getattr(command, "commands", {}).values():
        _flow_help(inner)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer hands over the option's value
    if wanted:
        write(f"worker {__version__}")
        raise typer.Exit


app = typer.Typer(cls=CommandsOnDemand, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def worker(
    *,
    version: Annotated[  # noqa: ARG001 - its callback reads it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Serverless GPU worker for AUTOMATIC1111's WebUI: everything but RunPod's queue, which handler.py serves.

    A file .env in the working folder sets variables that the environment does not. Exit codes: 0 done, 1 the command
    failed, 2 the command line cannot be followed.
    """
    try:
        load_dotenv_file(Path.cwd(), os.environ)
    except WorkerError as error:
        raise typer.BadParameter(f"{error.message}. {error.hint or ''}".strip()) from None


def main(argv: Sequence[str], *, program: str = "worker") -> int:
    """Run the command that `argv` names and return its exit code."""
    try:
        app(args=list(argv), prog_name=program)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
