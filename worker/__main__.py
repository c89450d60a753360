"""``python -m worker …``: the command line."""

from __future__ import annotations

import sys

from worker.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], program="python -m worker"))
