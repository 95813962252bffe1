"""A proxy that takes every host for one server on loopback, whatever its name: names that no resolver here knows."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from servers import event_loop
from servers.loopback import HOST

CHUNK_BYTES = 1 << 16


@dataclass
class NamedHosts:
    """`target`: the server's port. `asked`: host and path of each request."""

    target: int
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    held: event_loop.Held = field(default_factory=event_loop.Held)

    @property
    def proxy(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def serve(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        gateway = await asyncio.start_server(self._connected, HOST, 0)
        self.port = gateway.sockets[0].getsockname()[1]
        ready()
        await stop.wait()
        gateway.close()
        await asyncio.sleep(0.1)  # who was let in a moment ago has a task by then

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        with self.held.this(), contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
            method, url, version = first.split()
            parts = urlsplit(url)
            self.asked.append((parts.hostname or "", parts.path))
            origin_form = url.partition(parts.netloc)[2] or "/"
            await self._forward([f"{method} {origin_form} {version}", "Connection: close", *lines], reader, writer)

    async def _forward(self, head: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer, behind = await asyncio.open_connection(HOST, self.target)
        behind.write("\r\n".join([*head, "", ""]).encode())
        body = asyncio.create_task(_pass_on(reader, behind))
        await _pass_on(answer, writer)
        body.cancel()
        behind.transport.abort()
        writer.close()  # when the last bytes have left
        await writer.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()


@contextlib.contextmanager
def named_hosts(target: int) -> Iterator[NamedHosts]:
    hosts = NamedHosts(target)
    with event_loop.in_thread(hosts.serve):
        yield hosts
