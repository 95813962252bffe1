"""What an image can be written to: all that pushing knows of registries and layouts."""

from collections.abc import Callable
from typing import Protocol

from instructlab_pipeline.publish.blob import Blob
from instructlab_pipeline.publish.oci import Descriptor

Sent = Callable[[int], None]  # told the number of bytes, as they go


class Destination(Protocol):
    async def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there already."""

    async def put(self, descriptor: Descriptor, blob: Blob, sent: Sent) -> None:
        """Write the blob; it is there as a whole or not at all."""

    async def tag(self, tag: str, manifest: bytes) -> None:
        """Write the manifest, all of whose blobs are there, and let `tag` mean it."""

    async def read(self, reference: str) -> bytes | None:
        """The manifest that a tag or digest means now, if any."""
