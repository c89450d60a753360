"""Whose program listens on a port? By Linux's own tables, since another one there may answer like a WebUI too.

A program that takes the port between the look at it and the WebUI's own start, or while the WebUI is being restarted,
would be waited for, found ready, and asked for the jobs' pictures.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTENING = "0A"
_ADDRESS, _STATE, _INODE = 1, 3, 9
_PROC = Path("/proc")


def listening(table: str, port: int) -> frozenset[str]:
    """Return the inodes of the sockets that listen on `port`. Pure.

    Args:
        table: The text of ``/proc/net/tcp`` or ``/proc/net/tcp6``.
        port: On whatever address.
    """
    rows = (line.split() for line in table.splitlines()[1:])
    return frozenset(
        row[_INODE]
        for row in rows
        if len(row) > _INODE and row[_STATE] == _LISTENING and row[_ADDRESS].rpartition(":")[2] == f"{port:04X}"
    )


def is_ours(port: int, group: int) -> bool | None:
    """Return whether a process of `group` listens on `port`; None where the system does not tell.

    Args:
        port: Somebody listens there.
        group: A process group.
    """
    try:
        wanted = listening(_table("tcp"), port) | listening(_table("tcp6"), port)
        if not wanted:
            return None
        sockets = {f"socket:[{inode}]" for inode in wanted}
        return any(target in sockets for pid in _members(group) for target in _open_files(pid))
    except OSError:
        return None


def _table(name: str) -> str:
    try:
        return (_PROC / "self" / "net" / name).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:  # no IPv6 here
        return ""


def _members(group: int) -> Iterator[int]:
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == group:
                    yield int(entry.name)
            except OSError:
                continue  # it has ended


def _open_files(pid: int) -> Iterator[str]:
    """Yield what the descriptors of a process lead to. Raises PermissionError where that is not told."""
    try:
        names = os.listdir(_PROC / str(pid) / "fd")  # noqa: PTH208 - names alone are needed
    except (FileNotFoundError, ProcessLookupError):
        return  # it has ended
    for name in names:
        try:
            yield os.readlink(_PROC / str(pid) / "fd" / name)  # noqa: PTH115 - `socket:[…]` is no path
        except (FileNotFoundError, ProcessLookupError):
            continue  # closed meanwhile
