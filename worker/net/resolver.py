"""The guard for aiohttp: connections go to checked addresses only, as with urllib3's pools (see `guard`)."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from worker.net.guard import Guard

LOOKUPS = 8
"""Look-ups at the same time; threads of their own, so that a name server that hangs holds up nothing else."""


class GuardedResolver(AbstractResolver):
    """A resolver for `aiohttp.TCPConnector`.

    aiohttp does not ask a resolver about a host that looks like an address to it (``2130706433`` does): the caller has
    to `check` every host first.

    Args:
        guard: Decides which addresses may be connected to.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="resolve")

    async def check(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host` that may be connected to.

        Raises:
            Refused: it has none.
            socket.gaierror: the name is unknown.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._guard.addresses, host, port)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host` that may be connected to.

        Raises:
            Refused: it has none.
            socket.gaierror: the name is unknown.
        """
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self.check(host, port)
            if family in (socket.AF_UNSPEC, socket.AF_INET6 if ":" in address else socket.AF_INET)
        ]

    async def close(self) -> None:
        """End the threads; a look-up that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
