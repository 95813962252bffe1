"""As much of HTTP/1.1 as JSON clients need: kept connections, bodies of a known length.

Written by hand because a framework would cost more than the simulation does (README.md has the numbers).
"""

import asyncio
import re
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from simulator.endpoint import Answer, Endpoint, dumped

if TYPE_CHECKING:
    from simulator.engine import Sequence

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:\s*close", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One request at a time; what comes earlier waits in the buffer."""

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        self._endpoint = endpoint
        self._model = model
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answering = False
        self._close_after = False
        self._sequence: Sequence | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._sequence is not None:
            self._endpoint.withdraw(self._sequence)
            self._sequence = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._read_on()

    def _read_on(self) -> None:
        if self._answering or self._transport is None:
            return
        request = self._whole_request()
        if request is not None:
            self._answering = True
            self._route(*request)

    def _whole_request(self) -> tuple[bytes, bytes, bytes] | None:
        """Method, path and body, once all of it is here."""
        head, end, rest = self._buffer.partition(_END_OF_HEAD)
        length = _LENGTH.search(head)
        body_length = int(length.group(1)) if length else 0
        if not end or len(rest) < body_length:
            return None
        self._buffer = rest[body_length:]
        self._close_after = _CLOSE.search(head) is not None
        method, path = head.split(b" ", 2)[:2]
        return method, path, rest[:body_length]

    def _route(self, method: bytes, path: bytes, body: bytes) -> None:
        if (method, path) == (b"POST", b"/v1/chat/completions"):
            sequence = self._endpoint.complete(body, self._respond)
            self._sequence = sequence if self._answering else None
            return
        self._respond(self._told(method, path))

    def _told(self, method: bytes, path: bytes) -> Answer:
        match method, path:
            case b"GET", b"/v1/models":
                models = [{"id": self._model, "object": "model", "owned_by": "simulator"}]
                return Answer(status=200, record={"object": "list", "data": models})
            case b"GET", b"/statistics":
                return Answer(status=200, record=self._endpoint.statistics())
        return Answer(status=404, record={"error": {"message": f"nothing is at {path.decode('latin-1')}"}})

    def _respond(self, answer: Answer) -> None:
        self._answering = False
        self._sequence = None
        if self._transport is None:
            return
        body = dumped(answer.record)
        self._transport.write((_head(answer, len(body)) + body)[: self._length_to_send(answer, len(body))])
        if answer.sent < 1 or self._close_after:
            self._transport.close()
        elif self._buffer:
            asyncio.get_running_loop().call_soon(self._read_on)

    @staticmethod
    def _length_to_send(answer: Answer, body_length: int) -> int | None:
        if answer.sent == 0:
            return 0
        return None if answer.sent == 1 else -int(body_length * (1 - answer.sent))


def _head(answer: Answer, body_length: int) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {body_length}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def listen(endpoint: Endpoint, *, host: str, port: int, model: str) -> asyncio.Server:
    make_connection = partial(Connection, endpoint, model)
    return await asyncio.get_running_loop().create_server(make_connection, host, port, backlog=4096)
