"""Variables from ``.env`` in the working folder: for local commands, never for a worker in production."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from worker.errors import SettingsInvalid

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

NAME = ".env"


def load_dotenv_file(folder: Path, environment: MutableMapping[str, str]) -> Path | None:
    """Add the variables of ``.env`` in `folder` to `environment`; those that it has already count more.

    Returns:
        The file, None where there is none.

    Raises:
        SettingsInvalid: It can't be read, or has lines that set nothing; names them all.
    """
    file = folder / NAME
    if not file.is_file():
        return None
    from dotenv import dotenv_values  # noqa: PLC0415 - most folders have no such file
    from dotenv.parser import parse_stream  # noqa: PLC0415 - as above

    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{file} can't be read: {error}") from None
    lines = [
        str(binding.original.line)
        for binding in parse_stream(io.StringIO(text))
        if binding.error or (binding.key is not None and binding.value is None)
    ]
    if lines:
        raise SettingsInvalid(
            f"{file}: line{'s' if len(lines) > 1 else ''} {', '.join(lines)} can't be read",
            hint="Each line has to be NAME=value, or begin with #; a value with spaces may stand in quotes.",
        )
    for name, value in dotenv_values(stream=io.StringIO(text)).items():
        environment.setdefault(name, value or "")
    return file
