"""A TCP proxy on loopback whose connections bring so much a second each, and no more, as an object store far away."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from servers import event_loop
from servers.loopback import HOST

CHUNK_BYTES = 1 << 18
SLACK_S = 0.02  # of a sleep that took too long; made up for


@dataclass
class LimitedLine:
    """In front of port `target`; `bytes_per_s` for what comes back on each connection."""

    target: int
    bytes_per_s: float
    port: int = 0
    held: event_loop.Held = field(default_factory=event_loop.Held)

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def serve(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        await stop.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind = await asyncio.open_connection(HOST, self.target, limit=CHUNK_BYTES)
        ways = {_passed(reader, behind, float("inf")), _passed(behind_reader, writer, self.bytes_per_s)}
        tasks = {asyncio.create_task(way) for way in ways}
        try:
            with self.held.this():
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            behind.transport.abort()
            writer.transport.abort()


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_per_s: float) -> None:
    """Until the sender has nothing more to say."""
    free_at = 0.0
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
            free_at = max(free_at, time.monotonic() - SLACK_S) + len(chunk) / bytes_per_s
            await asyncio.sleep(max(free_at - time.monotonic(), 0.0))


@contextlib.contextmanager
def limited_line(target: int, bytes_per_s: float) -> Iterator[LimitedLine]:
    """In front of what listens on port `target` of loopback."""
    line = LimitedLine(target=target, bytes_per_s=bytes_per_s)
    with event_loop.in_thread(line.serve):
        yield line
