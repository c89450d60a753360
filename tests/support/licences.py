"""The licences of what the worker's lock file pins, as the installed packages state them."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[2] / "requirements" / "worker.lock"
FREE = re.compile(
    r"MIT|LGPL|Apache|BSD|ISC|PSF|Python Software Foundation|MPL|Mozilla|HPND|CMU|Unlicense|Public Domain|Zlib|0BSD",
    re.IGNORECASE,
)


def pinned() -> list[str]:
    """Return the names in the worker's lock file."""
    return sorted(set(re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text(encoding="utf-8"), re.MULTILINE)))


def licence(name: str) -> str | None:
    """Return what an installed package says about its licence; None where it is not installed here."""
    try:
        about: Any = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    stated = about.get("License-Expression") or ""
    classifiers = [one.rpartition("::")[2].strip() for one in about.get_all("Classifier") or () if "License ::" in one]
    first = (about.get("License") or "").strip().splitlines()[:1]
    return stated or ", ".join(classifiers) or "".join(first)


def main() -> int:
    """List them; return 1 when one is neither permissive nor, used as it is, without effect on the rest (LGPL, MPL)."""
    doubtful = 0
    for name in pinned():
        found = licence(name)
        if found is None:
            continue
        fine = bool(FREE.search(found))
        doubtful += not fine
        sys.stdout.write(f"{name:32} {found}{'' if fine else '   <- look at this'}\n")
    return 1 if doubtful else 0


if __name__ == "__main__":
    sys.exit(main())
