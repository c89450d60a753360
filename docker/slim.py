"""Take out of the Python environment that runs this what the worker never imports. Prints what that gave.

RunPod's SDK depends on everything its command line needs as well, and boto3 on the descriptions of all of Amazon's
services. What is taken out is named here, and tests start the worker under the SDK without it
(`tests/image/test_slim.py`).
"""  # noqa: INP001 -- a program of the image, part of no package

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from importlib.metadata import Distribution, distributions
from pathlib import Path

LEFT_OUT = frozenset(
    {
        # the SDK's command line: prompts, colours, watching of files
        *("inquirerpy", "pfzy", "prompt-toolkit", "wcwidth", "prettytable", "watchdog"),
        # the SDK's own test server (`--rp_serve_api`), with all that `fastapi[all]` brings
        *("fastapi", "fastapi-cli", "fastapi-cloud-cli", "fastar", "rignore", "sentry-sdk", "agent-detector"),
        *("detect-installer", "annotated-doc", "pydantic-extra-types", "email-validator", "dnspython", "httpx"),
        *("httpcore", "itsdangerous", "jinja2", "markupsafe", "python-multipart", "python-dotenv", "typer"),
        *("rich-toolkit", "pygments", "markdown-it-py", "mdurl", "shellingham", "websockets", "watchfiles"),
        *("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-semantic-conventions", "opentelemetry-proto"),
        *("opentelemetry-exporter-otlp-proto-common", "opentelemetry-exporter-otlp-proto-http"),
        *("opentelemetry-exporter-otlp-common", "opentelemetry-exporter-http-transport", "protobuf"),
        "googleapis-common-protos",
        # faster ways to do what is not the worker's work: its loop and its look-ups are asyncio's
        *("uvloop", "httptools", "brotli", "backports-zstd", "aiodns", "pycares"),
        # the hub as a file system, which is not how it is asked; and what only builds other packages
        *("fsspec", "pycparser"),
    }
)
AWS_SERVICES = frozenset({"s3", "sts", "sso", "sso-oidc", "signin"})
"""What an S3 client and boto3's search for credentials read."""

PARTS = (
    "boto3/data/ec2",
    "boto3/examples",
    "colorama/tests",
    "huggingface_hub/cli",
    "huggingface_hub/inference",
)
"""Folders of packages that stay."""


def main() -> int:
    """Remove; return 0, 1 where something to be removed is not there any more: then the list above is out of date."""
    packages = Path(sysconfig.get_paths()["purelib"] if len(sys.argv) < 2 else sys.argv[1])  # noqa: PLR2004 - the folder
    before = size(packages)
    missing = set(LEFT_OUT)
    for package in list(distributions(path=[str(packages)])):
        name = normal(package.metadata["Name"])
        if name in LEFT_OUT:
            missing.discard(name)
            remove(package, packages)
    strip_botocore(packages)
    for part in PARTS:
        shutil.rmtree(packages / part)
    sys.stdout.write(f"{packages}: {before / 1e6:.0f} MB -> {size(packages) / 1e6:.0f} MB\n")
    if missing:
        sys.stderr.write(f"not there: {', '.join(sorted(missing))}\n")
    return 1 if missing else 0


def remove(package: Distribution, packages: Path) -> None:
    """Remove a package's files, their compiled code and the folders that are empty then."""
    folders = set()
    for file in package.files or ():
        path = Path(str(package.locate_file(file)))
        if not path.is_relative_to(packages):
            path.unlink(missing_ok=True)  # a command in bin/
            continue
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()
        path.unlink(missing_ok=True)
        folders.update(parent for parent in path.parents if parent != packages and parent.is_relative_to(packages))
    for folder in sorted(folders, key=lambda one: -len(one.parts)):
        if not _holds_code(folder):
            shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def strip_botocore(packages: Path) -> None:
    """Remove the descriptions of services that the worker does not call."""
    for folder in (packages / "botocore" / "data").iterdir():
        if folder.is_dir() and folder.name not in AWS_SERVICES:
            shutil.rmtree(folder)


def size(folder: Path) -> int:
    """Return the bytes of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def normal(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _holds_code(folder: Path) -> bool:
    return any(folder.glob("*.py"))


if __name__ == "__main__":
    sys.exit(main())
