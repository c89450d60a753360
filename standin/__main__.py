"""`python -m standin [the WebUI's flags]`."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from . import demo
from .boot import serve
from .faults import parse
from .flags import DEMO_FLAG, parse_flags
from .knobs import read_knobs


def main() -> int:
    """Reads the environment and the command line, and serves."""
    arguments = sys.argv[1:]
    try:
        knobs = read_knobs(os.environ)
        parse(knobs.faults)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if DEMO_FLAG in arguments or knobs.demo_models:
        knobs = replace(knobs, demo_models=True, extensions=knobs.extensions or demo.EXTENSIONS)
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        flags = parse_flags(arguments, working_folder=Path(folder), extensions=knobs.extensions)
        return serve(flags, knobs, arguments)


if __name__ == "__main__":
    sys.exit(main())
