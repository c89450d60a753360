"""Names of pictures in a store. Pure."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 100
_FINGERPRINT = 8


def safe(text: str) -> str:
    """Return `text` as one segment of a key: letters, digits, `.`, `_`, `-`, at most 100 of them, no leading dot.

    A text that had to be changed gets a fingerprint of the original, so that two of them never meet.
    """
    plain = _UNSAFE.sub("-", text).strip(".-")[:_LONGEST]
    if plain and plain == text:
        return plain
    fingerprint = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_FINGERPRINT]
    return f"{plain or 'x'}-{fingerprint}"


def safe_prefix(prefix: str) -> str:
    """Return `prefix` with each of its segments made safe, without slashes at its ends."""
    return "/".join(safe(part) for part in prefix.split("/") if part.strip())


def key(prefix: str, job_id: str, number: int, seed: int, extension: str) -> str:
    """Return `<prefix>/<job id>/<n>-<seed>.<ext>`; `number` counts from 0."""
    return f"{folder(prefix, job_id)}/{number}-{seed}.{extension}"


def folder(prefix: str, job_id: str) -> str:
    """Return `<prefix>/<job id>`, where all files of a job are."""
    return "/".join(part for part in (safe_prefix(prefix), safe(job_id)) if part)


def public_url(base: str, name: str) -> str:
    """Return the plain URL of the key `name` in a public bucket."""
    return f"{base.rstrip('/')}/{quote(name)}"
