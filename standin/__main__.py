"""`python -m standin [the WebUI's flags]`."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from standin.boot import serve
from standin.faults.switches import parse
from standin.flags import DEMO_FLAG, parse_flags
from standin.models import demo
from standin.settings import read_settings


def main() -> int:
    """Reads the environment and the command line, and serves."""
    arguments = sys.argv[1:]
    try:
        settings = read_settings(os.environ)
        parse(settings.faults)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if DEMO_FLAG in arguments or settings.demo_models:
        settings = replace(settings, demo_models=True, extensions=settings.extensions or demo.EXTENSIONS)
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        flags = parse_flags(arguments, working_folder=Path(folder), extensions=settings.extensions)
        return serve(flags, settings, arguments)


if __name__ == "__main__":
    sys.exit(main())
