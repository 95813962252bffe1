"""The way to a server: straight, by a proxy that hands requests on (http), or through its tunnel (https)."""

import asyncio
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from instructlab_pipeline.errors import UsageError

CONNECT_TIMEOUT_S = 10.0  # for name, connection, tunnel and TLS together
OTHER_FAMILY_AFTER_S = 0.25  # IPv4 is tried beside an IPv6 that is silent (RFC 8305)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LONGEST_HEAD = 1 << 16
_PORTS = {"http": 80, "https": 443}
_HEADER_VALUE = re.compile(r"[!-~]+(?: [!-~]+)*")
_PATH_CHARACTERS = "/%:@!$&'()*+,;=~"  # that need no quoting there


class ProxyRefusedError(Exception):
    """A proxy will not dig a tunnel; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Route:
    """`tls`: None where the server speaks plain HTTP. `headers` go with every request."""

    server: SplitResult
    proxy: SplitResult | None
    tls: ssl.SSLContext | None
    headers: Mapping[str, str]

    def head(self, method: str, url: str) -> bytes:
        """A request's head, up to the value of Content-Length.

        Raises:
            UsageError: a header would not be one line.
        """
        parts = urlsplit(url)
        target = quote(parts.path, safe=_PATH_CHARACTERS) or "/"
        headers = {"Host": _authority(self.server), **self.headers}
        if self.proxy is not None and self.tls is None:
            target = f"http://{_authority(self.server)}{target}"
            headers |= _credentials(self.proxy, "Proxy-Authorization")
        lines = [f"{method} {target} HTTP/1.1", *(_line(name, value) for name, value in headers.items())]
        return "\r\n".join([*lines, "Content-Length: "]).encode("ascii")

    async def connect(self, protocol: asyncio.BaseProtocol) -> None:
        """Join `protocol` to a new connection, which is ready for requests.

        Raises:
            TimeoutError, OSError, ssl.SSLError, ProxyRefusedError: there is no way.
        """
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if self.proxy is None:
                await _open(protocol, self.server, self.tls)
            elif self.tls is None:
                await _open(protocol, self.proxy, None)
            else:
                await self._tunnel(protocol, self.proxy, self.tls)

    async def _tunnel(self, protocol: asyncio.BaseProtocol, proxy: SplitResult, tls: ssl.SSLContext) -> None:
        entrance = _Entrance()
        transport = await _open(entrance, proxy, None)
        try:
            await entrance.pass_through(_target(self.server), proxy)
            loop = asyncio.get_running_loop()
            inside = await loop.start_tls(transport, protocol, tls, server_hostname=self.server.hostname)
        except BaseException:
            transport.abort()
            raise
        assert inside is not None
        protocol.connection_made(inside)


def address_of(text: str) -> SplitResult | None:
    """The parts of a URL; None where it is none of HTTP."""
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in _PORTS and parts.hostname and parts.port != 0 and _HEADER_VALUE.fullmatch(text)
    except ValueError:  # brackets without IPv6, a port without a number
        return None
    return parts if is_one else None


def route_to(url: str, headers: Mapping[str, str]) -> Route:
    """With proxy and certificate authorities from the environment, and the password that the URL may carry.

    Raises:
        UsageError: the URL is none, or the proxy that the environment names.
    """
    server = address_of(url)
    if server is None:
        raise UsageError(f"{url.rpartition('@')[2]} is not a URL", remedy="write it like http://host:8000/v1")
    return Route(
        server=server,
        proxy=_proxy(server),
        tls=ssl.create_default_context() if server.scheme == "https" else None,
        headers={**headers, **_credentials(server, "Authorization")},
    )


class _Entrance(asyncio.Protocol):
    """A connection to a proxy, until the tunnel is there."""

    def __init__(self) -> None:
        self._answer = asyncio.get_running_loop().create_future()
        self._head = b""

    async def pass_through(self, target: str, proxy: SplitResult) -> None:
        headers = {"Host": target, **_credentials(proxy, "Proxy-Authorization")}
        lines = [f"CONNECT {target} HTTP/1.1", *(_line(name, value) for name, value in headers.items())]
        self._transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))
        status, _, message = (await self._answer).partition(" ")
        if not status.startswith("2"):
            raise ProxyRefusedError(int(status) if status.isdigit() else 0, message)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self._answer.done() and (b"\r\n\r\n" in self._head or len(self._head) > _LONGEST_HEAD):
            first_line = self._head.partition(b"\r\n")[0].decode("latin-1")
            self._answer.set_result(first_line.partition(" ")[2])

    def connection_lost(self, error: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the proxy hung up"))


async def _open(
    protocol: asyncio.BaseProtocol, place: SplitResult, tls: ssl.SSLContext | None
) -> asyncio.WriteTransport:
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: protocol,
            place.hostname or "",
            _port(place),
            ssl=tls,
            happy_eyeballs_delay=OTHER_FAMILY_AFTER_S,
        )
    except (ssl.SSLError, TimeoutError):
        raise
    except OSError as error:
        raise ConnectionError(_in_words(error)) from error
    return transport


def _in_words(error: OSError) -> str:
    """Without numbers and addresses: who reads it knows where it was to go."""
    if error.errno is None:  # of several addresses, each with its own
        return str(error)
    return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)


def _proxy(server: SplitResult) -> SplitResult | None:
    """From HTTP_PROXY, HTTPS_PROXY and NO_PROXY."""
    if server.hostname in LOOPBACK or proxy_bypass(_target(server)):
        return None
    address = getproxies().get(server.scheme)
    if not address:
        return None
    proxy = address_of(address if "://" in address else f"http://{address}")
    if proxy is None or proxy.scheme != "http":
        raise UsageError(
            f"{server.scheme.upper()}_PROXY names no HTTP proxy",
            remedy=f"write it like http://host:3128, or list {server.hostname} in NO_PROXY",
        )
    return proxy


def _credentials(place: SplitResult, header: str) -> dict[str, str]:
    """User and password of a URL, as a header; none where it has none."""
    if place.username is None:
        return {}
    pair = f"{unquote(place.username)}:{unquote(place.password or '')}"
    return {header: f"Basic {b64encode(pair.encode()).decode()}"}


def _line(name: str, value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value):
        raise UsageError(
            f"what is to be sent as {name} holds more than visible ASCII characters",
            remedy="check the key in the environment, and the address: nothing else may stand in them",
        )
    return f"{name}: {value}"


def _authority(server: SplitResult) -> str:
    """Host and port, as they stand in the URL."""
    return server.netloc.rpartition("@")[2]


def _target(server: SplitResult) -> str:
    """Host and port, as a proxy wants them."""
    name = server.hostname or ""
    return f"[{name}]:{_port(server)}" if ":" in name else f"{name}:{_port(server)}"


def _port(place: SplitResult) -> int:
    return place.port or _PORTS[place.scheme]
