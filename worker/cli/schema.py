"""``python -m worker schema``: the job contract as JSON Schema."""

from __future__ import annotations

import argparse
import json
import sys

from worker.contract.openapi import openapi
from worker.contract.schema import schema


def main(argv: list[str]) -> int:
    """Print the schema of a job and its answers; return 0."""
    parser = argparse.ArgumentParser(prog="python -m worker schema", description=main.__doc__)
    parser.add_argument("--openapi", action="store_true", help="the endpoint as an OpenAPI document instead")
    options = parser.parse_args(argv)
    json.dump(openapi() if options.openapi else schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0
