"""A server on loopback that says what it is told to say, byte by byte, whatever it is asked."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from servers.event_loop import abandon_connections

HANG_UP = object()
SILENCE = object()


@dataclass
class RawServer:
    """`answers`: for each request one, in turn: bytes, pieces of them that are sent one by one, HANG_UP, SILENCE.

    `requests`: what came, as (number of the connection, head, body). `asked`: a request is there. `gone`: a connection
    has ended.
    """

    answers: deque
    requests: list = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    sent_bytes: int = 0
    port: int = 0
    _count: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def connections(self):
        return [number for number, _, _ in self.requests]

    async def serve(self, reader, writer):
        self._count += 1
        number = self._count
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    int(line.split(":")[1]) for line in head.splitlines() if line.startswith("Content-Length")
                )
                self.requests.append((number, head, await reader.readexactly(length)))
                self.asked.set()
                if not await self._say(self.answers.popleft(), reader, writer):
                    break
        self.gone.set()
        writer.close()

    async def _say(self, answer, reader, writer):
        pieces = answer if isinstance(answer, tuple | list) else [answer]
        for piece in pieces:
            if piece is HANG_UP:
                return False
            if piece is SILENCE:
                await reader.read()
                return False
            writer.write(piece)
            await writer.drain()
            self.sent_bytes += len(piece)
            await asyncio.sleep(0)
        return True


@asynccontextmanager
async def serving(*answers, host="127.0.0.1", tls=None):
    raw = RawServer(answers=deque(answers))
    server = await asyncio.start_server(raw.serve, host, 0, ssl=tls)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        await abandon_connections()


def answer(content=b"{}", *headers, status="200 OK", version="1.1"):
    head = "".join(f"{line}\r\n" for line in (f"HTTP/{version} {status}", f"Content-Length: {len(content)}", *headers))
    return head.encode() + b"\r\n" + content
