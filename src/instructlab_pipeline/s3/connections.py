"""Connections to an S3 server by the standard library, through the environment's proxy, with the user's authority."""

import base64
import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from socket import SHUT_RDWR
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

Connection = http.client.HTTPConnection


class Connections:
    """To the one server at which all URLs point; each is used by one thread at a time, and kept for the next."""

    def __init__(self, *, timeout_s: float, ca_bundle: str) -> None:
        self._timeout_s, self._ca_bundle = timeout_s, ca_bundle
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()

    @contextmanager
    def taken(self, url: SplitResult) -> Iterator[Connection]:
        """One that is kept when the body has read its reply to the end, and closed when it fails."""
        connection = self._idle.pop() if self._idle else self._new(url)
        self._busy.add(connection)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        else:
            self._idle.append(connection)
        finally:
            self._busy.discard(connection)

    def close(self) -> None:
        """Also those in use: whoever waits for a byte is woken by an error."""
        for connection in [*self._busy]:
            with suppress(OSError, AttributeError):  # closed, or not opened yet
                connection.sock.shutdown(SHUT_RDWR)
        while self._idle:
            self._idle.pop().close()

    def _new(self, url: SplitResult) -> Connection:
        proxy = proxy_of(url)
        host, port = _address(proxy or url)
        if url.scheme == "http":
            return Connection(host, port, timeout=self._timeout_s)
        connection = http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._context)
        if proxy:
            connection.set_tunnel(*_address(url), headers=authorization(proxy))
        return connection

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # private authorities leave out what nobody checked so far
        if self._ca_bundle:
            context.load_verify_locations(self._ca_bundle)
        return context


def proxy_of(url: SplitResult) -> SplitResult | None:
    """What the environment names for it (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)."""
    named = getproxies().get(url.scheme)
    if not named or proxy_bypass(url.hostname or ""):
        return None
    return urlsplit(named if "://" in named else f"http://{named}")


def authorization(proxy: SplitResult) -> dict[str, str]:
    """The header that opens the proxy, if it wants one."""
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def _address(url: SplitResult) -> tuple[str, int | None]:
    return url.hostname or "", url.port
