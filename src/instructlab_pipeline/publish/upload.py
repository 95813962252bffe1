"""One blob on its way into a registry, by the distribution specification 1.1: begun, sent, finished with its digest.

Where it breaks, it goes on where the registry says it stands, or from its start where the registry cannot.
"""

from collections.abc import AsyncIterator

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.publish.destination import Content, Sent
from instructlab_pipeline.publish.refusal import Reply
from instructlab_pipeline.publish.transport import Broken, Request, Transport

DONE = frozenset({200, 201, 202, 204})  # the specification has one for each step, and registries take another
BAD_REQUEST = 400
FORGOTTEN = frozenset({404, 416})  # answers to an upload that the registry has just begun
CANNOT_GO_ON = frozenset({BAD_REQUEST, 404, 405, 410, 416})  # answers to what concerns a broken upload: begin it again


class Upload:
    """One blob's way into the registry: begun, advanced as far as the connection holds, finished."""

    def __init__(self, transport: Transport, root: str, content: Content, sent: Sent) -> None:
        self._transport, self._root, self._content, self._sent = transport, root, content, sent
        self._location: str | None = None
        self._goes_on = False  # whether a part of it broke before
        self.reached = 0  # the most bytes that the registry ever had when we went on

    async def advance(self) -> None:
        """Send what the registry does not have yet.

        Raises:
            Broken: not all of it arrived; call again.
        """
        start = await self._standing()
        if start < self._content.size:
            self._moved_to(await self._step(self._rest(start), DONE))

    async def finish(self, digest: str) -> None:
        assert self._location is not None
        mark = "&" if "?" in self._location else "?"
        request = Request(method="PUT", url=f"{self._location}{mark}digest={digest}", headers={"Content-Length": "0"})
        await self._step(request, DONE, again=frozenset({BAD_REQUEST}))

    async def _standing(self) -> int:
        """How many bytes the registry has; 0 of an upload that had to be begun (again)."""
        self._goes_on = self._location is not None
        if self._location is not None:
            request = Request(method="GET", url=self._location)
            reply = await self._transport.once(request, expected=CANNOT_GO_ON | DONE)
            if reply.status in DONE:
                self._moved_to(reply)
                self.reached = max(self.reached, _end(reply))
                return _end(reply)
        self._goes_on = False
        self._moved_to(await self._transport.once(begin(self._root), expected=DONE))
        return 0

    async def _step(self, request: Request, expected: frozenset[int], again: frozenset[int] = frozenset()) -> Reply:
        """What the registry cannot go on with is begun again; so are the answers `again` of a new upload.

        Raises:
            SourceError: what arrived is not what was announced, because a file is not what was sealed.
        """
        hopeless = again | (CANNOT_GO_ON if self._goes_on else FORGOTTEN)
        reply = await self._transport.once(request, expected=expected | hopeless)
        if reply.status not in expected:
            self._location = None
            if reply.status == BAD_REQUEST:
                await self._content.check()
            raise Broken(f"it cannot go on with an upload (status {reply.status}{reply.complaint})")
        return reply

    def _rest(self, start: int) -> Request:
        assert self._location is not None
        size = self._content.size
        place = {"Content-Range": f"{start}-{size - 1}"} if start else {}
        return Request(
            method="PATCH",
            url=self._location,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size - start), **place},
            body=lambda: self._chunks(start),
        )

    async def _chunks(self, start: int) -> AsyncIterator[bytes]:
        async for chunk in self._content.stream(start):
            self._sent(len(chunk))
            yield chunk

    def _moved_to(self, reply: Reply) -> None:
        self._location = location_of(reply, self._transport)


def begin(root: str, query: str = "") -> Request:
    return Request(method="POST", url=f"{root}/blobs/uploads/{query}", headers={"Content-Length": "0"})


def location_of(reply: Reply, transport: Transport) -> str:
    location = reply.headers.get("Location")
    if not location:
        raise ServiceError(
            f"{transport.registry} began an upload without saying where", remedy="see whether it is an OCI registry"
        )
    return transport.placed(location, below=reply.url)


def _end(reply: Reply) -> int:
    """Bytes held, from `Range: 0-LAST`; `0-0` is what registries say of nothing at all."""
    last = reply.headers.get("Range", "").removeprefix("bytes=").partition("-")[2]
    return int(last) + 1 if last.isdigit() and int(last) > 0 else 0
