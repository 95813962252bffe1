"""An image in a registry: the OCI distribution specification 1.1, over one HTTP client.

A blob that is there already is not sent.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.publish.address import is_url
from instructlab_pipeline.publish.credentials import find_credentials
from instructlab_pipeline.publish.destination import Content, Sent
from instructlab_pipeline.publish.oci import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    checked,
    digest_of_bytes,
    index_document,
    listed,
    media_type_of,
    referrer_record,
    referrers_tag,
)
from instructlab_pipeline.publish.reference import DOCKER_HUB, RegistryReference
from instructlab_pipeline.publish.refusal import Reply, wants_tls
from instructlab_pipeline.publish.together import together
from instructlab_pipeline.publish.transport import (
    ATTEMPTS,
    CONNECT_S,
    Broken,
    Request,
    Transport,
    pause,
    whole,
)
from instructlab_pipeline.publish.upload import DONE, Upload, begin, location_of

OK, CREATED, PARTIAL = 200, 201, 206
BAD_REQUEST, UNAUTHORIZED, NOT_FOUND = 400, 401, 404
AT_THE_DOOR = frozenset({OK, UNAUTHORIZED})  # some let nobody in who has no login, and show what is public all the same
NO_SUCH_METHOD = frozenset({405, 501})
DOCKER_HUB_API = "registry-1.docker.io"
READABLE_TYPES = (
    MANIFEST_TYPE,
    INDEX_TYPE,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
LAST_TURNS = 5  # of the event loop, in which it hears that a connection has ended, and closes it
MOST_PAGES = 1000
PROOFS = "an image's proofs"
UNSUPPORTED = NO_SUCH_METHOD | {BAD_REQUEST, 403}  # answers where a registry lacks what not every one has
_NEXT_PAGE = re.compile(r"""<([^>]*)>[^,]*;\s*rel="?next\b""")


@asynccontextmanager
async def connect(
    reference: RegistryReference, *, insecure: bool, writing: bool = True, borrowed: Collection[str] = ()
) -> AsyncIterator["Registry"]:
    """A Destination in the reference's repository. `insecure` is plain HTTP; else TLS, checked by SSL_CERT_FILE.

    `borrowed` names other repositories whose blobs may be taken over.

    Raises:
        ServiceError: the registry is not there, not trusted, or does not want us.
    """
    import aiohttp

    host = DOCKER_HUB_API if reference.registry == DOCKER_HUB else reference.registry
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
    base = f"{'http' if insecure else 'https'}://{host}"
    sockets = _Sockets()
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(), limit=0, socket_factory=sockets.made)
    try:
        async with aiohttp.ClientSession(
            timeout=timeout, connector=connector, proxy=_proxy(base), requote_redirect_url=False
        ) as http:
            transport = Transport(
                http=http,
                base=base,
                registry=reference.registry,
                repository=reference.repository,
                credentials=find_credentials(reference.registry, reference.repository),
                writing=writing,
                borrowed=sorted({*borrowed} - {reference.repository}),
            )
            await _knock(transport)
            yield Registry(transport)
    finally:
        await sockets.hang_up()


class _Sockets(list[socket.socket]):
    def made(self, address: Any) -> socket.socket:
        """For an address as `socket.getaddrinfo` gives it."""
        family, kind, protocol, *_ = address
        self.append(socket.socket(family, kind, protocol))
        return self[-1]

    async def hang_up(self) -> None:
        """Whoever is not listened to any more would want to be heard out, and outlive the event loop."""
        for each in self:
            with suppress(OSError):  # it is closed
                each.shutdown(socket.SHUT_RDWR)
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)


async def _knock(transport: Transport) -> None:
    reply = await transport.send(Request(method="GET", url=f"{transport.base}/v2/"), expected=AT_THE_DOOR)
    if urlsplit(reply.url).scheme != urlsplit(transport.base).scheme:  # sent on to where it speaks TLS
        raise wants_tls(transport.registry)


class Registry:
    """See Destination.

    Raises:
        ServiceError: refused, or still failing after all attempts (from every method).
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._root = f"{transport.base}/v2/{transport.repository}"

    async def has(self, descriptor: Descriptor) -> bool:
        return await self._has(descriptor.digest)

    async def _has(self, digest: str) -> bool:
        request = Request(method="HEAD", url=f"{self._root}/blobs/{digest}")
        reply = await self._transport.send(request, expected=frozenset({OK, NOT_FOUND, *NO_SUCH_METHOD}))
        return reply.status == OK

    async def is_empty(self) -> bool:
        request = Request(method="GET", url=f"{self._root}/tags/list?n=1")
        reply = await self._transport.send(request, expected=frozenset({OK, NOT_FOUND, *UNSUPPORTED}))
        return reply.status == NOT_FOUND or (reply.status == OK and not reply.document.get("tags"))

    async def put(self, content: Content, sent: Sent) -> None:
        """One request carries the whole blob; only where it broke does another one carry the rest.

        As often as it takes, as long as the registry gets further.
        """
        upload = Upload(self._transport, self._root, content, sent)
        failures = 0
        while True:
            reached = upload.reached
            try:
                await upload.advance()
                return await upload.finish(await content.digest())
            except Broken as broken:
                failures = 1 if upload.reached > reached else failures + 1
                if failures == ATTEMPTS:
                    raise self._transport.gave_up(broken) from None
                await pause(failures, broken)
            if await self._has(await content.digest()):
                return None

    async def borrow(self, descriptor: Descriptor, repository: str) -> bool:
        request = begin(self._root, f"?mount={descriptor.digest}&from={repository}")
        refused = frozenset({UNAUTHORIZED, NOT_FOUND, *UNSUPPORTED})  # it is gone, or not for us: the blob can be sent
        reply = await self._transport.send(request, expected=refused | DONE)
        return reply.status == CREATED  # else an upload was begun, which nobody will finish

    async def rehearse(self) -> None:
        """Begin an upload and cancel it: whether we may write here, at the price of two requests."""
        begun = await self._transport.send(begin(self._root), expected=DONE)
        request = Request(method="DELETE", url=location_of(begun, self._transport))
        with suppress(Broken, ServiceError):  # some want a right to delete for it, or cannot; all forget in time
            await self._transport.once(request, expected=DONE)

    async def tag(self, tag: str, manifest: bytes) -> None:
        await self._write(tag, manifest)

    async def attach(self, subject: str, manifests: Sequence[bytes]) -> None:
        """Where the registry does not say that it lists the subject's referrers, a tag lists them."""
        replies = await together([self._write(digest_of_bytes(manifest), manifest) for manifest in manifests])
        answered = zip(manifests, replies, strict=True)
        unlisted = [referrer_record(manifest) for manifest, reply in answered if "Oci-Subject" not in reply.headers]
        if unlisted:
            await self._list_by_tag(subject, unlisted)

    async def read(self, reference: str) -> bytes | None:
        accept = ", ".join(READABLE_TYPES)
        request = Request(method="GET", url=f"{self._root}/manifests/{reference}", headers={"Accept": accept})
        reply = await self._transport.send(request, expected=frozenset({OK, NOT_FOUND}))
        return reply.content if reply.status == OK else None

    async def fetch(self, descriptor: Descriptor) -> bytes:
        request = Request(method="GET", url=f"{self._root}/blobs/{descriptor.digest}")
        reply = await self._transport.send(request, expected=frozenset({OK}))
        return checked(descriptor, reply.content)

    async def fetch_range(self, digest: str, start: int, end: int) -> bytes:
        """The bytes of a blob from `start` to before `end`; nothing proves them."""
        request = Request(
            method="GET", url=f"{self._root}/blobs/{digest}", headers={"Range": f"bytes={start}-{end - 1}"}
        )
        reply = await self._transport.send(request, expected=frozenset({OK, PARTIAL}))
        return reply.content[start:end] if reply.status == OK else reply.content

    async def referrers(self, digest: str) -> list[dict[str, Any]]:
        page, found = f"{self._root}/referrers/{digest}", list[dict[str, Any]]()
        for _ in range(MOST_PAGES):
            request = Request(method="GET", url=page, headers={"Accept": INDEX_TYPE})
            reply = await self._transport.send(request, expected=frozenset({OK, NOT_FOUND, *UNSUPPORTED}))
            if reply.status != OK:
                return await self._listed_by_tag(digest)
            entries = listed(reply.content, PROOFS)
            found += entries
            link = _NEXT_PAGE.search(reply.headers.get("Link", ""))  # RFC 8288
            if not link or not entries:
                return found
            page = self._transport.placed(link[1], below=page)
        raise ServiceError(
            f"{self._transport.registry} has no end to {PROOFS}", remedy="tell the registry's administrator"
        )

    async def _list_by_tag(self, subject: str, records: Sequence[dict[str, Any]]) -> None:
        """Read back, as whoever attaches something else at the same time may have written over it."""
        for _ in range(ATTEMPTS):
            listed = await self._listed_by_tag(subject)
            missing = [record for record in records if record not in listed]
            if not missing:
                return
            await self._write(referrers_tag(subject), index_document([*listed, *missing]))
        raise ServiceError(
            f"{self._transport.registry} does not keep {referrers_tag(subject)}, the list of {PROOFS}",
            remedy="see whether someone else publishes the same image now, then run the same command again",
        )

    async def _listed_by_tag(self, digest: str) -> list[dict[str, Any]]:
        content = await self.read(referrers_tag(digest))
        return [] if content is None else listed(content, PROOFS)

    async def _write(self, reference: str, manifest: bytes) -> Reply:
        request = Request(
            method="PUT",
            url=f"{self._root}/manifests/{reference}",
            headers={"Content-Type": media_type_of(manifest), "Content-Length": str(len(manifest))},
            body=whole(manifest),
        )
        return await self._transport.send(request, expected=DONE)


def _proxy(base: str) -> str | None:
    """From HTTP_PROXY, HTTPS_PROXY, NO_PROXY. aiohttp's own way would also take logins from ~/.netrc, and clash."""
    url = urlsplit(base)
    proxy = None if proxy_bypass(str(url.hostname)) else getproxies().get(url.scheme)
    if proxy and "://" not in proxy:  # as curl takes it
        proxy = f"http://{proxy}"
    if proxy and not is_url(proxy):
        raise UsageError(
            f"the variable {url.scheme.upper()}_PROXY holds no address of a proxy",
            remedy="write http://HOST:PORT there, or name the registry in NO_PROXY",
        )
    return proxy
