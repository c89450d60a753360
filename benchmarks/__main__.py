"""``python -m benchmarks [NAME …]``: run all of them or those named, print the table, keep the results."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figure, keep, table
from benchmarks.harness import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = {
    "busy": "GPU busy share through RunPod's SDK",
    "overhead": "what the worker adds to a job",
    "encoding": "encoding beside the next generation",
    "alternation": "jobs that alternate between checkpoints",
    "readahead": "checkpoints on slow storage, with and without reading ahead",
    "fanout": "batches of 1, 4 and 16 pictures",
    "fetch": "fetching a model against aria2c, curl and the old way",
    "cold": "from process start to the first job",
    "footprint": "memory and size on disk",
    "way": "modules and folder changes on the way of a job",
    "scale": "the simulation of an endpoint against a real run",
}

IN_THE_WHOLE: dict[str, dict[str, Any]] = {"fetch": {"size": 600_000_000, "rounds": 2}}
"""What is smaller where all are run, so that they take less than ten minutes."""


def main(argv: Sequence[str]) -> int:
    """Run; return 1 when a target is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        epilog="\n".join(f"  {name:12} {about}" for name, about in NAMES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    options = parser.parse_args(argv)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    figures: list[Figure] = []
    for name in options.names or NAMES:
        print(f"{name}: {NAMES[name]} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            less = {} if options.names else IN_THE_WHOLE.get(name, {})
            figures += importlib.import_module(f"benchmarks.{name}").run(Path(folder), **less)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    keep(figures, machine(), whole=not options.names)
    print(table(figures))
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
