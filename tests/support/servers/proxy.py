"""A TCP proxy that does to connections what networks do: delay, slow down, cut, reset, swallow.

    with proxy("127.0.0.1", 9000, lambda number: Fault(reset=True) if number < 2 else Fault()) as hop:
        connect to ("127.0.0.1", hop.port)

The plan is asked once per connection, with its number from 0. Bytes are changed only where a fault says so.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one connection; by default nothing.

    Attributes:
        reset: RST at once.
        latency_s: Before each piece, either way.
        up_bytes_per_s: Rate from client to server.
        down_bytes_per_s: Rate from server to client.
        reset_after_up: RST when the client has sent so many bytes.
        cut_after_down: End the connection as if it were finished after so many bytes to the client.
        swallow: Accept, read, never answer.
        flip_up_at: The byte at this position from client to server has all its bits turned.
    """

    reset: bool = False
    latency_s: float = 0
    up_bytes_per_s: float | None = None
    down_bytes_per_s: float | None = None
    reset_after_up: int | None = None
    cut_after_down: int | None = None
    swallow: bool = False
    flip_up_at: int | None = None


class Proxy:
    """See the module. Runs in a thread of its own.

    Attributes:
        port: Where it listens on loopback.
        connections: How many were made so far.
    """

    def __init__(self, host: str, port: int, plan: Callable[[int], Fault], listen_at: int | None = None) -> None:
        self.connections = 0
        self._target = (host, port)
        self.plan = plan
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", free_port() if listen_at is None else listen_at))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, sock=self._listener)
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self.plan(self.connections)
        self.connections += 1
        with suppress(OSError, asyncio.CancelledError):
            if fault.reset:
                _reset(writer)
            elif fault.swallow:
                while await reader.read(CHUNK):
                    pass
            else:
                await self._relay(reader, writer, fault)
        writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        try:
            rate, flip = fault.up_bytes_per_s, fault.flip_up_at
            up = self._pump(reader, far_writer, fault.latency_s, rate, fault.reset_after_up, flip=flip)
            down = self._pump(far_reader, writer, fault.latency_s, fault.down_bytes_per_s, fault.cut_after_down)
            ups, downs = asyncio.ensure_future(up), asyncio.ensure_future(down)
            done, _ = await asyncio.wait({ups, downs}, return_when=asyncio.FIRST_COMPLETED)
            if ups in done and not ups.exception() and ups.result():
                _reset(writer)
            elif ups in done:
                await downs  # the client may half-close and still read
            for task in (ups, downs):
                task.cancel()
            await asyncio.gather(ups, downs, return_exceptions=True)
            if writer.can_write_eof() and not writer.transport.is_closing():
                writer.write_eof()
                await writer.drain()
        finally:
            far_writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        latency_s: float,
        bytes_per_s: float | None,
        limit: int | None,
        *,
        flip: int | None = None,
    ) -> bool:
        """Copy until the end; return whether `limit` ended it."""
        seen = 0
        piece_size = CHUNK if bytes_per_s is None else max(1, min(CHUNK, int(bytes_per_s / 50)))
        while piece := await reader.read(piece_size):
            if limit is not None and seen + len(piece) >= limit:
                writer.write(piece[: limit - seen])
                await writer.drain()
                return True
            if flip is not None and seen <= flip < seen + len(piece):
                turned = bytearray(piece)
                turned[flip - seen] ^= 0xFF
                piece = bytes(turned)
            seen += len(piece)
            await asyncio.sleep(latency_s + (len(piece) / bytes_per_s if bytes_per_s else 0))
            writer.write(piece)
            await writer.drain()
        return False


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def proxy(
    host: str, port: int, plan: Callable[[int], Fault] = lambda _number: Fault(), *, listen_at: int | None = None
) -> Iterator[Proxy]:
    """`listen_at`: the proxy's own port; None: one that no other test has."""
    hop = Proxy(host, port, plan, listen_at)
    hop.start()
    try:
        yield hop
    finally:
        hop.stop()
