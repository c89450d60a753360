"""``python -m worker …``: the command line."""

from __future__ import annotations

import sys

MISSING_PACKAGE = 1

if __name__ == "__main__":
    try:
        from worker.cli.main import main

        code = main(sys.argv[1:], program="python -m worker")
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith(("worker", "standin")):
            raise
        sys.stderr.write(
            f"worker: this Python ({sys.executable}) lacks the package {missing.name!r}. "
            "`make run` sets everything up; then use .venv/bin/worker.\n"
        )
        code = MISSING_PACKAGE
    sys.exit(code)
