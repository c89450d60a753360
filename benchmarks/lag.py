"""A hop in front of a server that lets every answer come later: what a store far away does to an upload."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 256 * 1024


@contextmanager
def lag(port: int, delay_s: float) -> Iterator[int]:
    """Yield the port of a hop to loopback `port`; each answer begins `delay_s` later than the server's."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    ready: list[int] = []
    started = threading.Event()

    async def hop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        asked = asyncio.Event()
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(_ask(reader, far_writer, asked), _answer(far_reader, writer, asked, delay_s))
        for one in (writer, far_writer):
            one.transport.abort()

    async def serve() -> None:
        server = await asyncio.start_server(hop, "127.0.0.1", 0)
        ready.append(server.sockets[0].getsockname()[1])
        started.set()
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    started.wait()
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event) -> None:
    while piece := await reader.read(CHUNK):
        asked.set()
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event, delay_s: float
) -> None:
    while piece := await reader.read(CHUNK):
        if asked.is_set() and not piece.startswith(b"HTTP/1.1 100"):
            asked.clear()
            await asyncio.sleep(delay_s)
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
