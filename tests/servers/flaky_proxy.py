"""A TCP proxy on loopback that fails as networks and busy servers do, a given number of times."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from servers import event_loop
from servers.certificate import server_side
from servers.loopback import HOST

CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Answers:
    """A connection's first request gets this status instead of the server's answer."""

    status: int
    headers: str = ""


@dataclass(frozen=True)
class CutsAfter:
    """A connection is reset when the client has sent more than so many bytes on it."""

    sent_bytes: int


@dataclass(frozen=True)
class StallsAfter:
    """So many bytes of what the client sends are passed on, and no more, nor is more of it taken."""

    sent_bytes: int


@dataclass(frozen=True)
class DamagesAfter:
    """One bit of what the client sends is turned over when it has sent more than so many bytes on a connection."""

    sent_bytes: int


@dataclass(frozen=True)
class CutsAnswerAfter:
    """A connection is reset when the server has sent more than so many bytes on it."""

    received_bytes: int


@dataclass(frozen=True)
class StallsAnswerAfter:
    """Nothing more of what the server says is passed on when it has sent more than so many bytes."""

    received_bytes: int


Fault = Answers | CutsAfter | StallsAfter | DamagesAfter | CutsAnswerAfter | StallsAnswerAfter


@dataclass
class FlakyProxy:
    """The first of `faults` that is left meets the next connection, or the first one that has sent enough.

    With a `certificate`, which has its key in the same file, clients speak TLS to it.
    """

    target: int
    faults: list[Fault] = field(default_factory=list)
    certificate: Path | None = None
    port: int = 0
    connections: int = 0

    @property
    def host(self) -> str:
        return f"{HOST}:{self.port}"

    async def serve(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        context = server_side(self.certificate) if self.certificate else None
        server = await asyncio.start_server(self._connected, HOST, 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        await stop.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if self.faults and isinstance(self.faults[0], Answers):
                    await self._answer(self.faults.pop(0), reader, writer)
                else:
                    await self._forward(reader, writer)
        finally:
            writer.transport.abort()

    async def _answer(self, fault: Answers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {fault.status} No\r\nContent-Length: 0\r\nConnection: close\r\n{fault.headers}\r\n"
        writer.write(head.encode())
        await writer.drain()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection(HOST, self.target)
        back = asyncio.create_task(self._pass_back(upstream_reader, writer))
        try:
            await self._pass_on(reader, upstream)
        finally:
            back.cancel()
            upstream.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        """Until the client has nothing more to say, or a fault comes."""
        sent = 0
        while chunk := await reader.read(CHUNK_BYTES):
            sent += len(chunk)
            fault = self.faults[0] if self.faults else None
            if isinstance(fault, DamagesAfter) and sent > fault.sent_bytes:
                self.faults.pop(0)
                chunk = chunk[:-1] + bytes([chunk[-1] ^ 1])
            if isinstance(fault, StallsAfter):
                chunk = chunk[: max(0, len(chunk) - sent + fault.sent_bytes)]  # however the client's bytes are cut
            upstream.write(chunk)
            await upstream.drain()
            if isinstance(fault, CutsAfter | StallsAfter) and sent > fault.sent_bytes:
                if isinstance(self.faults.pop(0), StallsAfter):
                    await asyncio.Event().wait()
                return

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = 0
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                received += len(chunk)
                fault = self.faults[0] if self.faults else None
                if isinstance(fault, CutsAnswerAfter | StallsAnswerAfter) and received > fault.received_bytes:
                    if isinstance(self.faults.pop(0), CutsAnswerAfter):
                        writer.transport.abort()
                    return
                writer.write(chunk)
                await writer.drain()


@contextlib.contextmanager
def flaky_proxy(target: int, faults: Sequence[Fault], *, certificate: Path | None = None) -> Iterator[FlakyProxy]:
    """In front of what listens on port `target` of loopback."""
    proxy = FlakyProxy(target=target, faults=list(faults), certificate=certificate)
    with event_loop.in_thread(proxy.serve):
        yield proxy
