"""Write the bill of materials (CycloneDX 1.5, JSON) of the Python environment that runs this: packages and licences."""  # noqa: INP001 -- a program of the image, part of no package

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, distributions
from typing import Any

_PREFIX = "License :: "
_LONG = 100


def licence(package: Distribution) -> dict[str, Any] | None:
    """Return the package's licence as CycloneDX writes it: its SPDX expression, else its own words."""
    about = package.metadata
    if expression := about.get("License-Expression"):
        return {"expression": expression}
    named = [value.split(" :: ")[-1] for value in about.get_all("Classifier") or [] if value.startswith(_PREFIX)]
    words = about.get("License") or ""
    name = " AND ".join(named) or (words if len(words) <= _LONG else words.strip().splitlines()[0][:_LONG])
    return {"license": {"name": name}} if name and name != "UNKNOWN" else None


def component(package: Distribution) -> dict[str, Any]:
    """Return one package."""
    name = package.metadata["Name"].lower().replace("_", "-")
    found = licence(package)
    return {
        "type": "library",
        "name": name,
        "version": package.version,
        "purl": f"pkg:pypi/{name}@{package.version}",
        **({"licenses": [found]} if found else {}),
    }


def main() -> None:
    """Print the document."""
    packages = sorted((component(package) for package in distributions()), key=lambda item: str(item["name"]))
    document = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": packages}
    json.dump(document, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
