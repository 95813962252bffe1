"""A proxy that tunnels: CONNECT to whatever name, which always leads to one port of this machine."""

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from servers import event_loop
from servers.loopback import HOST

CHUNK_BYTES = 1 << 16


@dataclass
class ConnectProxy:
    """`account`: user:password that it wants. `tunnels`: the targets that were asked for."""

    leads_to: int
    account: str | None = None
    tunnels: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.account}@{HOST}:{self.port}" if self.account else f"http://{HOST}:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["ConnectProxy"]:
        with event_loop.in_thread(self._serve):
            yield self

    async def _serve(self, ready, stop):
        server = await asyncio.start_server(self._tunnel, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        await stop.wait()
        server.close()

    async def _tunnel(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target = head.split(" ", 2)[:2]
        if method != "CONNECT" or not self._lets_in(head):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        self.tunnels.append(target)
        there_reader, there_writer = await asyncio.open_connection(HOST, self.leads_to)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    def _lets_in(self, head: str) -> bool:
        if self.account is None:
            return True
        token = base64.b64encode(self.account.encode()).decode()
        return f"proxy-authorization: basic {token}".lower() in head.lower()


async def _pump(reader, writer):
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    writer.close()
