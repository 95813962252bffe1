"""From layers to a tagged image at a destination, read back and compared.

Each layer is hashed, looked up and sent on its own, so that one is hashed while another is on its way.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish.blob import Blob
from instructlab_pipeline.publish.destination import Destination
from instructlab_pipeline.publish.image import Layer
from instructlab_pipeline.publish.memory import Memory
from instructlab_pipeline.publish.oci import (
    CONFIG_TYPE,
    LAYER_TYPE,
    Descriptor,
    config_document,
    describe,
    digest_of_bytes,
    manifest_document,
)
from instructlab_pipeline.publish.steps import in_steps

AT_ONCE = 4  # layers on their way


@dataclass(frozen=True, kw_only=True)
class Image:
    layers: Sequence[Layer]
    annotations: Mapping[str, str]
    tags: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """`size_bytes` is all of the image; `bytes_sent` what of it had to be written."""

    digest: str
    size_bytes: int
    layers: Sequence[Descriptor]
    layers_sent: int
    bytes_sent: int


async def push(image: Image, destination: Destination, *, memory: Memory, events: Events) -> Pushed:
    """Write every blob that is not there, then the manifest under each tag.

    Raises:
        SourceError: a file is not what was sealed.
        ServiceError: the destination failed, or holds another manifest than was sent.
    """
    way = _Way(destination, memory, events, total=sum(layer.blob.size for layer in image.layers))
    layers = await _all([way.deliver(layer) for layer in image.layers])
    config = await way.deliver_document(CONFIG_TYPE, config_document(layers, image.annotations))

    manifest = manifest_document(config, layers, image.annotations)
    digest = digest_of_bytes(manifest)
    for tag in image.tags:
        await destination.tag(tag, manifest)
    await _read_back(destination, [digest, *image.tags], digest)
    return Pushed(
        digest=digest,
        size_bytes=sum(part.size for part in (*layers, config)) + len(manifest),
        layers=layers,
        layers_sent=way.layers_sent,
        bytes_sent=way.bytes_sent,
    )


@dataclass
class _Way:
    """Blobs on their way, and how many bytes of them have gone."""

    destination: Destination
    memory: Memory
    events: Events
    total: int
    bytes_sent: int = 0
    layers_sent: int = 0
    _skipped: int = 0
    _telling: threading.Lock = field(default_factory=threading.Lock)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def deliver(self, layer: Layer) -> Descriptor:
        async with self._room:
            known = self.memory.digest(layer)
            if known is not None and await self._is_there(_descriptor(known, layer)):
                return _descriptor(known, layer)
            digest = await in_steps(layer.blob.hashing())
            self.memory.keep(layer, digest)
            descriptor = _descriptor(digest, layer)
            if not await self._is_there(descriptor):
                await self.destination.put(descriptor, layer.blob, self._sent)
                self.layers_sent += 1
            return descriptor

    async def deliver_document(self, media_type: str, content: bytes) -> Descriptor:
        descriptor = describe(media_type, content)
        if not await self.destination.has(descriptor):
            await self.destination.put(descriptor, Blob((content,)), self._sent)
        return descriptor

    async def _is_there(self, descriptor: Descriptor) -> bool:
        if not await self.destination.has(descriptor):
            return False
        with self._telling:
            self._skipped += descriptor.size
            self._tell()
        return True

    def _sent(self, count: int) -> None:
        """Called from whichever thread writes."""
        with self._telling:
            self.bytes_sent += count
            self._tell()

    def _tell(self) -> None:
        done = min(self.bytes_sent + self._skipped, self.total)
        self.events.progress("publish", done, self.total, unit="B")


def _descriptor(digest: str, layer: Layer) -> Descriptor:
    return Descriptor(media_type=LAYER_TYPE, digest=digest, size=layer.blob.size)


async def _all(deliveries: Sequence[Coroutine[Any, Any, Descriptor]]) -> list[Descriptor]:
    """Side by side; the first failure ends the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(delivery) for delivery in deliveries]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def _read_back(destination: Destination, references: Sequence[str], digest: str) -> None:
    for reference in references:
        held = await destination.read(reference)
        if held is None or digest_of_bytes(held) != digest:
            raise ServiceError(
                f"{reference} was written as {digest}, but is {held and digest_of_bytes(held)} when read back",
                remedy="see whether someone else publishes under the same tag, then run again",
            )
