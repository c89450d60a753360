"""``worker …`` and ``python -m worker …``: the command line as a program."""

from __future__ import annotations

import signal
import sys

FAILED = 1


def start(program: str = "worker") -> None:
    """Run the command line of this process: the entry point of the installed command."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is quiet from here on, while the commands are imported too
    try:
        from worker.cli.main import main  # noqa: PLC0415 - see above, and a package may be missing

        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main(sys.argv[1:], program=program)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith(("worker", "standin")):
            raise
        sys.stderr.write(
            f"worker: this Python ({sys.executable}) lacks the package {missing.name!r}. "
            "`make run` sets everything up; then use .venv/bin/worker.\n"
        )
        code = FAILED
    sys.exit(code)


if __name__ == "__main__":
    start("python -m worker")
