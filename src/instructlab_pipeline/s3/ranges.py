"""Ranges of objects, straight from the socket into the memory from which they are written and hashed.

obstore lists and signs. The bytes come by the standard library, for three fifths of the processor time that obstore's
stream takes, whose chunks are copied from memory to memory; a fast line waits for nothing else.
"""

import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit, urlunsplit

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.s3.connections import Connection, Connections, authorization, proxy_of
from instructlab_pipeline.s3.errors import Failure, explained
from instructlab_pipeline.s3.settings import Settings
from instructlab_pipeline.s3.store import open_bucket, s3_boundary

if TYPE_CHECKING:
    from obstore.store import S3Store

BUFFER_BYTES = 512 << 10  # stays in a core's cache
SIGNED_FOR = timedelta(minutes=15)  # servers let clocks differ by as much
ERROR_BYTES = 64 << 10  # of a refusal
OK, PARTIAL = 200, 206
CHANGED, CHANGED_KIND = "PreconditionFailed", "PreconditionError"  # S3's word, and obstore's

Headers = Mapping[str, str]


class Ranges:
    """Of one bucket's objects, for several threads. `named_by` is for error messages."""

    def __init__(self, bucket: str, settings: Settings, *, timeout_s: float, named_by: str) -> None:
        self._bucket, self._settings, self._timeout_s, self._named_by = bucket, settings, timeout_s, named_by
        self._signer = _signer(bucket, settings)
        self._connections = Connections(timeout_s=timeout_s, ca_bundle=settings.ca_bundle)

    def read(
        self, key: str, start: int, end: int, *, e_tag: str, told: Callable[[Headers], None]
    ) -> Iterator[memoryview]:
        """The bytes from `start` to before `end`, as they come, each in the same memory as those before.

        `told` hears the reply's headers first, their names in small letters.

        Raises:
            SourceError: they may not be read, or are not there.
            ServiceError: they have changed, the server failed, or it said nothing for too long.
        """
        url = urlsplit(self._url(key))
        buffer, left = memoryview(bytearray(BUFFER_BYTES)), end - start
        wanted = {"Range": f"bytes={start}-{end - 1}"} | _if_match(e_tag)
        with (
            self._boundary(key),
            self._connections.taken(url) as connection,
            _asked(connection, url, wanted) as reply,
        ):
            self._require(reply, key, e_tag)
            told({name.lower(): value for name, value in reply.headers.items()})
            before = 0 if reply.status == PARTIAL else start  # a server that knows no ranges sends all
            while before and (num_bytes := reply.readinto(buffer[:before])):
                before -= num_bytes
            while left and (num_bytes := reply.readinto(buffer[:left])):
                left -= num_bytes
                yield buffer[:num_bytes]
            if left or reply.status != PARTIAL:
                connection.close()

    def close(self) -> None:
        self._connections.close()

    def _url(self, key: str) -> str:
        import obstore

        with s3_boundary(self._uri(key), self._settings, named_by=self._named_by):  # keys that the platform gives out
            url: str = obstore.sign(self._signer, "GET", key, SIGNED_FOR)
        return url.partition("?")[0] if self._settings.anonymous else url

    def _require(self, reply: http.client.HTTPResponse, key: str, e_tag: str) -> None:
        """It has the bytes, of the version that was asked for: some servers do not know If-Match."""
        if reply.status not in {OK, PARTIAL}:
            raise self._explained(_failure(reply), key)
        if e_tag and reply.headers.get("ETag", e_tag).removeprefix("W/").strip('"') != e_tag:
            raise self._explained(Failure(kind=CHANGED_KIND), key)

    @contextmanager
    def _boundary(self, key: str) -> Iterator[None]:
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise self._explained(Failure(reason=str(error), untrusted=True), key) from error
        except TimeoutError as error:
            raise ServiceError(
                f"{self._uri(key)}: {self._settings.where} sent nothing for {self._timeout_s:g} s",
                remedy="check the network and the server, then run the same command again: it goes on where it stopped",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._explained(Failure(reason=str(error) or type(error).__name__), key) from error

    def _explained(self, failure: Failure, key: str) -> Exception:
        return explained(failure, uri=self._uri(key), settings=self._settings, named_by=self._named_by)

    def _uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


def _signer(bucket: str, settings: Settings) -> "S3Store":
    """Where there are no keys, any will do: what they sign is then asked for without its signature."""
    anybody = replace(settings, access_key="anybody", secret_key="any")  # noqa: S106 - it opens nothing
    return open_bucket(bucket, anybody if settings.anonymous else settings)


def _asked(connection: Connection, url: SplitResult, headers: Headers) -> http.client.HTTPResponse:
    proxy = proxy_of(url) if url.scheme == "http" else None
    target = urlunsplit(url if proxy else url._replace(scheme="", netloc=""))
    connection.request("GET", target, headers={**headers, **(authorization(proxy) if proxy else {})})
    return connection.getresponse()


def _if_match(e_tag: str) -> dict[str, str]:
    return {"If-Match": f'"{e_tag}"'} if e_tag else {}


def _failure(reply: http.client.HTTPResponse) -> Failure:
    page = reply.read(ERROR_BYTES).decode(errors="replace")
    failure = Failure.told(reply.status, page, moved_to=_server(reply.headers.get("Location", "")))
    kind = CHANGED_KIND if failure.code == CHANGED else ""
    reason = f"{reply.status} {failure.code or http.client.responses.get(reply.status, '')}"
    return replace(failure, kind=kind, reason=reason)


def _server(url: str) -> str:
    """Without the path and what is behind it, where signatures stand."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}" if parts.netloc else ""
