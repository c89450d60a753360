"""Python's complaint about a script that was called with too few arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from standin.errors import type_error

if TYPE_CHECKING:
    from collections.abc import Sequence


def by_name(parameters: Sequence[str], arguments: Sequence[Any]) -> dict[str, Any]:
    """The arguments by the names of their parameters; raises the TypeError that names the missing ones."""
    missing = [f"'{name}'" for name in parameters[len(arguments) :]]
    if not missing:
        return dict(zip(parameters, arguments, strict=False))
    plural = "s" if len(missing) > 1 else ""
    comma = "," if len(missing) > 2 else ""  # noqa: PLR2004 # two names need no comma
    listed = f"{', '.join(missing[:-1])}{comma} and {missing[-1]}" if len(missing) > 1 else missing[0]
    raise type_error(f"Script.run() missing {len(missing)} required positional argument{plural}: {listed}")
