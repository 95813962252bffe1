"""An image in a registry: the OCI distribution specification 1.1, over one HTTP client.

A blob that is there already is not sent. An upload that breaks goes on where the registry says it stands.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.publish.blob import Blob
from instructlab_pipeline.publish.credentials import DOCKER_HUB, find_credentials
from instructlab_pipeline.publish.destination import Sent
from instructlab_pipeline.publish.oci import MANIFEST_TYPE, Descriptor
from instructlab_pipeline.publish.reference import RegistryReference
from instructlab_pipeline.publish.refusal import Reply
from instructlab_pipeline.publish.transport import (
    ATTEMPTS,
    CONNECT_S,
    Body,
    Broken,
    Request,
    Transport,
    pause,
)

DOCKER_HUB_API = "registry-1.docker.io"
CANNOT_GO_ON = frozenset({400, 404, 405, 416})  # answers to the rest of a broken upload: begin it again
OK, CREATED, ACCEPTED, NO_CONTENT, NOT_FOUND = 200, 201, 202, 204, 404


@asynccontextmanager
async def connect(reference: RegistryReference, *, insecure: bool) -> AsyncIterator["Registry"]:
    """A Destination in the reference's repository. `insecure` is plain HTTP; else TLS, checked by SSL_CERT_FILE.

    Raises:
        ServiceError: the registry is not there, not trusted, or does not want us.
    """
    import aiohttp

    host = DOCKER_HUB_API if reference.registry == DOCKER_HUB else reference.registry
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
    base = f"{'http' if insecure else 'https'}://{host}"
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(), limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, proxy=_proxy(base)) as http:
        transport = Transport(
            http=http,
            base=base,
            registry=reference.registry,
            repository=reference.repository,
            credentials=find_credentials(reference.registry, reference.repository),
        )
        await transport.send(Request(method="GET", url=f"{transport.base}/v2/"), expected=frozenset({OK}))
        yield Registry(transport)


class Registry:
    """See Destination.

    Raises:
        ServiceError: refused, or still failing after all attempts (from every method).
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._root = f"{transport.base}/v2/{transport.repository}"

    async def has(self, descriptor: Descriptor) -> bool:
        request = Request(method="HEAD", url=f"{self._root}/blobs/{descriptor.digest}")
        reply = await self._transport.send(request, expected=frozenset({OK, NOT_FOUND}))
        return reply.status == OK

    async def put(self, descriptor: Descriptor, blob: Blob, sent: Sent) -> None:
        """One request carries the whole blob; only where it broke does a second one carry the rest."""
        upload = _Upload(self._transport, self._root, blob, sent)
        for number in range(1, ATTEMPTS + 1):
            try:
                await upload.advance()
                await upload.finish(descriptor.digest)
            except Broken as broken:
                if number == ATTEMPTS:
                    raise self._transport.gave_up(broken) from None
                await pause(number, broken)
                if await self.has(descriptor):
                    return
            else:
                return

    async def rehearse(self) -> None:
        """Begin an upload and cancel it: whether we may write here, at the price of two requests."""
        location = _location(await self._transport.send(_begin(self._root), expected=frozenset({ACCEPTED})), self._root)
        request = Request(method="DELETE", url=location)  # not every registry can cancel; all forget in time
        await self._transport.send(request, expected=frozenset({OK, ACCEPTED, NO_CONTENT, *CANNOT_GO_ON}))

    async def tag(self, tag: str, manifest: bytes) -> None:
        request = Request(
            method="PUT",
            url=f"{self._root}/manifests/{tag}",
            headers={"Content-Type": MANIFEST_TYPE, "Content-Length": str(len(manifest))},
            body=_whole(manifest),
        )
        await self._transport.send(request, expected=frozenset({CREATED, OK, ACCEPTED}))

    async def read(self, reference: str) -> bytes | None:
        request = Request(method="GET", url=f"{self._root}/manifests/{reference}", headers={"Accept": MANIFEST_TYPE})
        reply = await self._transport.send(request, expected=frozenset({OK, NOT_FOUND}))
        return reply.content if reply.status == OK else None


class _Upload:
    """One blob's way into the registry: begun, advanced as far as the connection holds, finished."""

    def __init__(self, transport: Transport, root: str, blob: Blob, sent: Sent) -> None:
        self._transport, self._root, self._blob, self._sent = transport, root, blob, sent
        self._location: str | None = None
        self._goes_on = False  # whether a part of it broke before

    async def advance(self) -> None:
        """Send what the registry does not have yet.

        Raises:
            Broken: not all of it arrived; call again.
        """
        start = await self._standing()
        if start < self._blob.size:
            self._moved_to(await self._step(self._rest(start), frozenset({ACCEPTED, NO_CONTENT})))

    async def finish(self, digest: str) -> None:
        assert self._location is not None
        mark = "&" if "?" in self._location else "?"
        request = Request(method="PUT", url=f"{self._location}{mark}digest={digest}", headers={"Content-Length": "0"})
        await self._step(request, frozenset({CREATED, NO_CONTENT}))

    async def _standing(self) -> int:
        """How many bytes the registry has; 0 of an upload that had to be begun (again)."""
        self._goes_on = self._location is not None
        if self._location is not None:
            request = Request(method="GET", url=self._location)
            reply = await self._transport.once(request, expected=frozenset({NO_CONTENT, NOT_FOUND}))
            if reply.status == NO_CONTENT:
                self._moved_to(reply)
                return _end(reply)
        self._goes_on = False
        self._moved_to(await self._transport.once(_begin(self._root), expected=frozenset({ACCEPTED})))
        return 0

    async def _step(self, request: Request, expected: frozenset[int]) -> Reply:
        """What the registry cannot go on with is begun again; of a new upload, such an answer is an error."""
        reply = await self._transport.once(request, expected=expected | (CANNOT_GO_ON if self._goes_on else set()))
        if reply.status in CANNOT_GO_ON:
            self._location = None
            raise Broken(f"it cannot go on with an upload (status {reply.status})")
        return reply

    def _rest(self, start: int) -> Request:
        assert self._location is not None
        size = self._blob.size
        place = {"Content-Range": f"{start}-{size - 1}"} if start else {}
        return Request(
            method="PATCH",
            url=self._location,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size - start), **place},
            body=lambda: self._chunks(start),
        )

    async def _chunks(self, start: int) -> AsyncIterator[bytes]:
        for chunk in self._blob.chunks(start):
            self._sent(len(chunk))
            yield chunk

    def _moved_to(self, reply: Reply) -> None:
        self._location = _location(reply, self._root)


def _begin(root: str) -> Request:
    return Request(method="POST", url=f"{root}/blobs/uploads/", headers={"Content-Length": "0"})


def _location(reply: Reply, root: str) -> str:
    location = reply.headers.get("Location")
    if not location:
        raise ServiceError(
            "the registry began an upload without saying where", remedy="see whether it is an OCI registry"
        )
    return urljoin(f"{root}/", location)


def _proxy(base: str) -> str | None:
    """From HTTP_PROXY, HTTPS_PROXY, NO_PROXY. aiohttp's own way would also take logins from ~/.netrc, and clash."""
    url = urlsplit(base)
    return None if proxy_bypass(str(url.hostname)) else getproxies().get(url.scheme)


def _end(reply: Reply) -> int:
    """Bytes held, from `Range: 0-LAST`; `0-0` is what registries say of nothing at all."""
    last = reply.headers.get("Range", "").removeprefix("bytes=").partition("-")[2]
    return int(last) + 1 if last.isdigit() and int(last) > 0 else 0


def _whole(content: bytes) -> Body:
    async def body() -> AsyncIterator[bytes]:
        yield content

    return body
