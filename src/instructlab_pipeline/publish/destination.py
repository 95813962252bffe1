"""What an image can be written to and read from: all that pushing and verifying know of registries and layouts."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from instructlab_pipeline.publish.oci import Descriptor

Sent = Callable[[int], None]  # told the number of bytes, as they go


class Content(Protocol):
    """Bytes to be written. `digest` may be asked for while they are on their way, and more than once."""

    @property
    def size(self) -> int: ...

    async def digest(self) -> str: ...

    async def check(self) -> str:
        """The digest, taken from the bytes themselves, and not from memory.

        Raises:
            SourceError: a file is not what was sealed.
        """

    def stream(self, start: int = 0) -> AsyncIterator[bytes]:
        """The bytes from `start` on."""


class Source(Protocol):
    """Where images can be read."""

    async def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there."""

    async def read(self, reference: str) -> bytes | None:
        """The manifest that a tag or digest means now, if any."""

    async def fetch(self, descriptor: Descriptor) -> bytes:
        """A blob, checked against its digest: for documents and the layers of base images, as it is held in memory."""

    async def referrers(self, digest: str) -> list[dict[str, Any]]:
        """The descriptors of the manifests that have this one as their subject."""


class Destination(Source, Protocol):
    """Where images can be written, too."""

    async def is_empty(self) -> bool:
        """Whether no image has ever been written here: then there is no use in asking for each blob first."""

    async def put(self, content: Content, sent: Sent) -> None:
        """Write the blob; it is there as a whole or not at all. Its digest is needed only when its bytes have gone."""

    async def borrow(self, descriptor: Descriptor, repository: str) -> bool:
        """Take a blob over from another repository of the same place, if that can be done without sending it."""

    async def tag(self, tag: str, manifest: bytes) -> None:
        """Write the manifest, all of whose blobs are there, and let `tag`, or its own digest, mean it."""

    async def attach(self, subject: str, manifests: Sequence[bytes]) -> None:
        """Write manifests that have the digest `subject` as theirs, so that `referrers` finds them."""
