"""Checks beyond this machine: the store for pictures, and whether tokens are accepted."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import requests

from worker.doctor.finding import Finding
from worker.errors import WorkerError
from worker.net.addresses import AllowList
from worker.net.guard import Guard
from worker.storage.store_errors import StoreError
from worker.storage.stores import StoreClients
from worker.storage.target import from_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings

ROUND_TRIP_S = 30.0
ASK_S = 5.0
WHO = {"CivitAI": "https://civitai.com/api/v1/me", "Hugging Face": "https://huggingface.co/api/whoami-v2"}
"""Addresses that tell the owner of a token."""
REFUSED = (401, 403)
FINE = 200


def outside(settings: Settings) -> Iterator[Finding]:
    """Yield whether pictures can leave and models can come."""
    yield from _store(settings)
    tokens = {"CivitAI": settings.civitai_token, "Hugging Face": settings.hf_token}
    for name, token in tokens.items():
        if token is None:
            yield Finding(f"{name} token", "ok", "not set; public models only")
        else:
            yield token_is_taken(name, WHO[name], token.get_secret_value())


def _store(settings: Settings) -> Iterator[Finding]:
    try:
        target = from_settings(settings)
    except WorkerError:  # the quick part has said so
        return
    if target is None:
        yield Finding("delivery", "ok", f"inline, up to {settings.max_output_bytes / 1e6:.1f} MB an answer")
        return
    client = StoreClients(Guard(AllowList.of(settings.allowed_hosts))).of(target)
    key = "/".join(part for part in (target.prefix, f"doctor-{os.getpid()}-{time.time_ns()}.txt") if part)
    deadline = time.monotonic() + ROUND_TRIP_S
    began = time.perf_counter()
    try:
        client.put(key, b"a round trip", content_type="text/plain", metadata={}, deadline=deadline)
        whole = client.get(key, deadline=deadline) == b"a round trip"
        client.delete(key, deadline=deadline)
    except StoreError as error:
        what = "links to it do not open: " if error.failure.dead_link else ""
        yield Finding("delivery", "fail", f"{target.host}: {what}{error.failure.message}", error.failure.hint or "")
        return
    doubt = client.unverified_links_warning()
    if doubt is not None and whole:
        yield Finding("delivery", "warn", f"bucket {target.bucket} at {target.host}: {doubt}", "Open one from outside.")
        return
    took = f"put, read back and removed in {(time.perf_counter() - began) * 1000:.0f} ms"
    state, seen = ("ok", took) if whole else ("fail", "it gave back other bytes than were put")
    yield Finding("delivery", "ok" if state == "ok" else "fail", f"bucket {target.bucket} at {target.host}: {seen}")


def token_is_taken(name: str, url: str, token: str) -> Finding:
    """Return whether `url` knows the token; a place that can't be reached says nothing against it."""
    what = f"{name} token"
    try:
        answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=ASK_S, allow_redirects=False)
    except requests.RequestException as error:
        return Finding(
            what, "warn", f"set; could not be checked ({type(error).__name__})", "Look at it where there is a net."
        )
    if answer.status_code in REFUSED:
        return Finding(what, "fail", f"refused ({answer.status_code})", "Make a new one, and set it.")
    if answer.status_code != FINE:
        return Finding(what, "warn", f"set; could not be checked (status {answer.status_code})", "Try again later.")
    return Finding(what, "ok", "valid")
