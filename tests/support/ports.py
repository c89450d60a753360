"""Ports of the loopback that no other test can have: each is given once, to one process.

A port that the system chooses (bind to 0) comes from a range of its own, which outgoing connections take theirs from.
Between the look at such a port and the start of the program that is to listen there, anybody may get it; a request
then reaches a stranger. So these ports lie below that range, in blocks; a process owns a block as long as it holds the
block's first port.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
FIRST = 10_240
"""Below are the ports by which well-known services go."""
LAST = 32_767
BLOCK = 100


def free_port() -> int:
    """Return a port that nobody listens on and that is given to nobody else, whichever process asks."""
    with _lock:
        return next(_ports)


def listener(port: int) -> psutil.Process | None:
    """Return the process that listens on a port; None where nobody does, or the system does not tell."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return None
    for each in connections:
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                return psutil.Process(each.pid)
    return None


def _free_ports() -> Iterator[int]:
    while True:
        first = _take_block()
        for port in range(first + 1, first + BLOCK):
            with contextlib.suppress(OSError):
                _bound(port).close()
                yield port


def _take_block() -> int:
    """Own a block that no process owns, for as long as this one lives; return its first port."""
    blocks = [first for first in range(FIRST, _end() - BLOCK + 1, BLOCK) if first not in _guards]
    random.Random().shuffle(blocks)  # whatever a test or a plugin has seeded
    for first in blocks:
        with contextlib.suppress(OSError):
            _guards[first] = _bound(first)
            return first
    raise OSError(errno.EADDRINUSE, f"no block of ports is left from {FIRST} to {_end()}")


def _end() -> int:
    """Return the first port that the system gives away by itself; a system that gives away most of them, shares."""
    told = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(told.read_text(encoding="ascii").split()[0]) if told.exists() else LAST + 1
    return min(lowest, LAST + 1) if lowest >= FIRST + BLOCK else LAST + 1


def _bound(port: int) -> socket.socket:
    """Return a socket bound to a port on every address; raises OSError where one is in use."""
    probe = socket.socket()
    try:
        probe.bind(("", port))
    except OSError:
        probe.close()
        raise
    return probe


_lock = threading.Lock()
_guards: dict[int, socket.socket] = {}
_ports = _free_ports()
