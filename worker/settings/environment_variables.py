"""Environment variables that must stay hidden, and those whose names are misspelt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.common.redaction import is_secret_name, url_credentials
from worker.common.suggestions import nearest
from worker.settings.worker_settings import variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.settings.worker_settings import Settings


_HELD_BACK = ("RUNPOD_", "AWS_", "OTEL_")
"""Prefixes of variables that are for the worker alone, whatever they hold."""
_LEAST_CONTAINED_SECRET = 8
"""Characters; a shorter secret within a longer value is a coincidence."""
_LEAST_TYPO_SIMILARITY = 0.82
"""`difflib` ratio: BUCKET_SECRET_KEY is near BUCKET_SECRET_ACCESS_KEY, HTTP_PROXY is not near HTTP_PORT."""


def misspelt(environment: Iterable[str]) -> list[str]:
    """Return a warning for each variable whose name is nearly, but not quite, one of the worker's."""
    known = [name for variable in variables() for name in variable.names]
    warnings = []
    for name in environment:
        if name in known or name.startswith(_HELD_BACK):
            continue
        meant = nearest(name, known, similarity=_LEAST_TYPO_SIMILARITY, prefix=False)
        if meant is not None:
            warnings.append(f"{name} is not a setting and has no effect; did you mean {meant}?")
    return warnings


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """Return the values in `environment` that must appear in no log, also those that are no settings.

    They are the values of variables with names like ``…_TOKEN``, and the credentials within URLs (proxies).
    """
    found: list[str] = []
    for name, value in environment.items():
        if is_secret_name(name):
            found.append(value)
        elif "://" in value:
            found += url_credentials(value)
    return found


def without_secrets(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of `environment` that programs other than the worker may see.

    Left out are the variables of secret settings, everything that RunPod or AWS set, and every variable whose value is
    or contains a secret of the settings or of those.
    """
    names = {name for variable in variables() if variable.secret for name in variable.names}
    held_back = {name: value for name, value in environment.items() if name in names or name.startswith(_HELD_BACK)}
    secrets = {*settings.secrets(), *(value for name, value in held_back.items() if is_secret_name(name))}
    contained = [secret for secret in secrets if len(secret) >= _LEAST_CONTAINED_SECRET]
    return {
        name: value
        for name, value in environment.items()
        if name not in held_back and value not in secrets and not any(secret in value for secret in contained)
    }
