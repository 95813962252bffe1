"""A bucket that anybody may read: a gateway signs what comes without keys, and the S3 server behind it answers."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from servers import event_loop
from servers.loopback import HOST
from servers.s3_server import S3Server

CHUNK_BYTES = 1 << 16


@dataclass
class PublicBucket:
    """`requests` are the paths that were asked for; `signed` those that came with a signature of whatever kind."""

    server: S3Server
    deaf_to: str = "none"  # the name of a header, which goes lost
    port: int = 0
    requests: list[str] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)
    held: event_loop.Held = field(default_factory=event_loop.Held)

    @property
    def endpoint(self) -> str:
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
            method, path, _ = first.split()
            self.requests.append(path)
            lines = [line for line in lines if not line.lower().startswith(f"{self.deaf_to.lower()}:")]
            if "X-Amz-" in path or any(line.lower().startswith("authorization") for line in lines):
                self.signed.append(path)
            added = self.server.signature(method, path.partition("?")[0]) | {"Connection": "close"}
            head = [first, *lines, *(f"{name}: {value}" for name, value in added.items()), "", ""]
            await self._forward("\r\n".join(head).encode(), writer)

    async def _forward(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        answer, behind = await asyncio.open_connection(HOST, urlsplit(self.server.endpoint).port)
        behind.write(head)
        while chunk := await answer.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        behind.transport.abort()
        writer.close()  # when the last bytes have left
        await writer.wait_closed()


@contextlib.contextmanager
def public_bucket(server: S3Server, *, deaf_to: str = "none") -> Iterator[PublicBucket]:
    public = PublicBucket(server, deaf_to=deaf_to)
    with event_loop.in_thread(public.serve):
        yield public
