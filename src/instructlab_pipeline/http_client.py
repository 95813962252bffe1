"""HTTP/1.1 to one server over kept connections, for requests that are many and small beside what they wait for.

An answer is handed to a function in the same turn of the event loop in which its last byte came, and what that function
sends leaves in the same turn: no task, future or timer is made for a request. Why not aiohttp:
docs/decisions/0082-http-of-our-own.md.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from instructlab_pipeline import __version__
from instructlab_pipeline.http_route import Route, route_to

REPLY_TIMEOUT_S = 600.0
LONGEST_REPLY_BYTES = 8 << 20
KEEP_ALIVE_S = 60.0
SWEEPS = 100  # for each reply timeout: how exact it is
_BUFFER_BYTES = 1 << 16
_HEADERS = {
    "User-Agent": f"instructlab-pipeline/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}
_FRAMING = (b"content-length", b"transfer-encoding")


class ReplyTooLongError(Exception):
    """More came than LONGEST_REPLY_BYTES; the rest was not waited for."""


@dataclass(slots=True)
class Answer:
    """What a server said, whatever its status. Names of headers are in lower case."""

    status: int
    headers: Mapping[bytes, bytes]
    content: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name.lower().encode(), b"").decode("latin-1").strip()


Ended = Callable[[Answer | Exception], None]


@dataclass(slots=True, eq=False)
class Exchange:
    """A request on its way. `ended` is called once, unless somebody calls `stop`."""

    request: bytes
    ended: Ended
    stop: Callable[[], object]


class HttpClient:
    """Made in a running loop. As many connections as there are requests at once."""

    def __init__(self, route: Route, *, reply_timeout_s: float) -> None:
        self.head = route.head
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))  # for all: what one received is parsed before another reads
        self._route = route
        self._reply_timeout_s = reply_timeout_s
        self._loop = asyncio.get_running_loop()
        self._connections: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._dialling: set[asyncio.Task[None]] = set()
        self._sweep()

    def send(self, head: bytes, body: bytes, ended: Ended) -> Exchange:
        """`head` is made once for many requests. `ended` gets the answer, or why there is none:

        TimeoutError, OSError (ssl.SSLError, ConnectionError), ProxyRefusedError, ReplyTooLongError.
        """
        exchange = Exchange(b"%b%d\r\n\r\n%b" % (head, len(body), body), ended, _nothing)
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                connection.start(exchange, self._loop.time())
                return exchange
        self.dial(exchange)
        return exchange

    async def request(self, method: str, url: str, body: bytes = b"") -> Answer:
        """Raises: what `send` tells, and whoever stops waiting ends the request."""
        answered = self._loop.create_future()
        exchange = self.send(self.head(method, url), body, answered.set_result)
        try:
            outcome: Answer | Exception = await answered
        except asyncio.CancelledError:
            if answered.cancelled():
                exchange.stop()
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def stop(self) -> None:
        """End all requests, and tell nobody."""
        for task in self._dialling:
            task.cancel()
        for connection in self._connections:
            if connection.exchange is not None:
                connection.drop()

    def close(self) -> None:
        self.stop()
        for connection in self._connections:
            connection.drop()
        self._sweeper.cancel()

    def dial(self, exchange: Exchange) -> None:
        """Send it on a new connection."""
        task = self._loop.create_task(self._connect(exchange))
        exchange.stop = task.cancel
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    def joined(self, connection: "_Connection") -> None:
        connection.since = self._loop.time()
        self._connections.add(connection)

    def left(self, connection: "_Connection") -> None:
        self._connections.discard(connection)

    def take_back(self, connection: "_Connection") -> None:
        connection.since = self._loop.time()
        self._idle.append(connection)

    async def _connect(self, exchange: Exchange) -> None:
        connection = _Connection(self)
        try:
            await self._route.connect(connection)
            if not connection.is_open:
                raise ConnectionError("the server hung up at once")  # noqa: TRY301 - as any other way of not answering
            connection.start(exchange, self._loop.time())
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer is to know it
            exchange.ended(error)

    def _sweep(self) -> None:
        """Give up what has been waited for too long, and connections that nobody has used for long."""
        now = self._loop.time()
        for connection in list(self._connections):
            waited_s = now - connection.since
            if connection.exchange is not None and waited_s > self._reply_timeout_s:
                connection.fail(TimeoutError())
            elif connection.exchange is None and waited_s > KEEP_ALIVE_S:
                connection.drop()
        self._sweeper = self._loop.call_later(self._reply_timeout_s / SWEEPS, self._sweep)


@asynccontextmanager
async def open_client(
    url: str, headers: Mapping[str, str], *, reply_timeout_s: float = REPLY_TIMEOUT_S
) -> AsyncIterator[HttpClient]:
    """A client for the server of `url`; its requests end with the block.

    Raises:
        UsageError: no header can be made of `headers`, or the environment names a proxy that is none.
    """
    client = HttpClient(route_to(url, {**_HEADERS, **headers}), reply_timeout_s=reply_timeout_s)
    try:
        yield client
    finally:
        client.close()


class _Connection(asyncio.BufferedProtocol):
    """One exchange at a time. `since`: when it began, or when the last one ended."""

    def __init__(self, client: HttpClient) -> None:
        self.exchange: Exchange | None = None
        self.since = 0.0
        self._client = client
        self._parser = HttpResponseParser(self)
        self._is_proven = False  # it has carried an answer before
        self._stays = True
        self._received = 0
        self._answer: Answer | None = None
        self._status = 0  # once all headers are there
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def start(self, exchange: Exchange, now: float) -> None:
        self.exchange, self.since = exchange, now
        self._received, self._answer, self._status = 0, None, 0
        exchange.stop = self.drop
        self._transport.write(exchange.request)

    def drop(self) -> None:
        self.exchange = None
        self._transport.abort()

    def fail(self, error: Exception) -> None:
        exchange = self.exchange
        self.drop()
        if exchange is not None:
            exchange.ended(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._client.joined(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's word
        return self._client.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._received += nbytes
        try:
            self._parser.feed_data(self._client.buffer[:nbytes])
        except (HttpParserError, HttpParserUpgrade) as error:
            self.fail(ConnectionError(f"what came is no HTTP: {error}"))
            return
        if self.exchange is None:
            self.drop()  # words that nobody asked for
        elif self._received > LONGEST_REPLY_BYTES:
            self.fail(ReplyTooLongError(f"the reply is longer than {LONGEST_REPLY_BYTES >> 20} MB"))
        elif self._answer is not None:
            self._end(self.exchange, self._answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._client.left(self)
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        if error is None and self._status and not any(name in self._headers for name in _FRAMING):
            exchange.ended(self._whole())
        elif self._is_proven and not self._received:
            self._client.dial(exchange)  # the server had closed it before the request was there
        else:
            exchange.ended(ConnectionError(str(error or "the connection ended before the reply did")))

    def on_message_begin(self) -> None:
        self._stays = self._answer is None  # a second answer is nobody's
        self._headers, self._parts = {}, []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._status < 200:  # an interim answer (RFC 9110, 15.2)
            self._status = 0
        elif self._answer is None:
            self._answer = self._whole()
            self._stays = self._parser.should_keep_alive()

    def _whole(self) -> Answer:
        return Answer(self._status, self._headers, b"".join(self._parts))

    def _end(self, exchange: Exchange, answer: Answer) -> None:
        self.exchange = None
        self._is_proven = True
        if self._stays:
            self._client.take_back(self)
        else:
            self._transport.abort()
        exchange.ended(answer)


def _nothing() -> None:
    """What is to be stopped of an exchange that has not begun."""
