"""From layers to a tagged image at a destination, read back and compared.

Each layer is looked up and sent on its own. Those whose digest is remembered are read only to be sent; the others are
hashed, on all cores, while some are on their way already. Of an empty repository nothing needs to be asked, so there a
layer leaves while it is hashed.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish.base_image import NO_BASE, BaseImage
from instructlab_pipeline.publish.blob import Blob
from instructlab_pipeline.publish.destination import Destination
from instructlab_pipeline.publish.image import LAYER_FILES, Layer
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
from instructlab_pipeline.publish.together import together

AT_ONCE = 4  # layers on their way
HASHED_AT_ONCE = max(2, (os.cpu_count() or 2) // 2)  # each takes two cores: the layer's digest, and its file's seal


@dataclass(frozen=True, kw_only=True)
class Image:
    """`fixed` is the tag, if any, that must not mean another image from one day to the next."""

    layers: Sequence[Layer]
    annotations: Mapping[str, str]
    fixed: str | None = None
    base: BaseImage = NO_BASE


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """`size_bytes` is all of the image; `bytes_sent` what of it had to be written."""

    manifest: bytes
    size_bytes: int
    layers: Sequence[Descriptor]
    layers_sent: int
    bytes_sent: int

    @property
    def digest(self) -> str:
        return digest_of_bytes(self.manifest)


async def push(image: Image, destination: Destination, *, memory: Memory, events: Events) -> Pushed:
    """Write every blob that is not there, then the manifest, under its digest alone.

    Raises:
        SourceError: a file is not what was sealed.
        UsageError: the fixed tag means another image; nothing was sent.
        ServiceError: the destination failed.
    """
    way = _Way(image, destination, memory, events, empty=await destination.is_empty())
    if image.fixed is not None and not way.empty:
        await _require_free(image.fixed, destination, way)
    layers = await together([*map(way.deliver_base, image.base.layers), *map(way.deliver, image.layers)])
    config, manifest = _documents(image, layers)
    await way.deliver_document(config)
    await destination.tag(digest_of_bytes(manifest), manifest)
    return Pushed(
        manifest=manifest,
        size_bytes=sum(layer.size for layer in layers) + len(config) + len(manifest),
        layers=layers,
        layers_sent=way.layers_sent,
        bytes_sent=way.bytes_sent,
    )


async def tag_all(tags: Sequence[str], pushed: Pushed, destination: Destination, *, fixed: str | None = None) -> None:
    """Let every tag mean the image, and read it back under each and under its digest. `fixed` as in Image.

    A tag that means it already is not written: registries can be told to let nobody do so.

    Raises:
        UsageError: the fixed tag has come to mean another image while this one was sent.
        ServiceError: the destination failed, or holds another manifest than was sent.
    """
    before = dict(zip(tags, await together([destination.read(tag) for tag in tags]), strict=True))
    taken = before.get(fixed) if fixed is not None else None
    if taken is not None and taken != pushed.manifest:
        raise _taken(str(fixed), taken, pushed.manifest, "It was sent, but got no tag")
    for tag in tags:
        if before[tag] != pushed.manifest:
            await destination.tag(tag, pushed.manifest)
    references = (pushed.digest, *tags)
    read_back = await together([destination.read(reference) for reference in references])
    for reference, held in zip(references, read_back, strict=True):
        if held != pushed.manifest:
            raise ServiceError(
                f"{reference} was written as {pushed.digest}, but is {_what(held)} when read back",
                remedy="see whether someone else publishes under the same tag, then run again",
            )


def _what(held: bytes | None) -> str:
    return "not there" if held is None else digest_of_bytes(held)


@dataclass
class _Way:
    """Blobs on their way, and how many bytes of them have gone. `empty`: the destination had none before."""

    image: Image
    destination: Destination
    memory: Memory
    events: Events
    empty: bool
    bytes_sent: int = 0
    layers_sent: int = 0
    _skipped: int = 0
    _telling: threading.Lock = field(default_factory=threading.Lock)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _cores: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(HASHED_AT_ONCE))

    @cached_property
    def total(self) -> int:
        own = sum(layer.blob.size for layer in self.image.layers)
        return own + sum(layer.size for layer in self.image.base.layers)

    async def foreseen(self) -> list[Descriptor]:
        """What the layers will be, without sending any."""
        return [*self.image.base.layers, *await together([self._descriptor(layer) for layer in self.image.layers])]

    async def deliver(self, layer: Layer) -> Descriptor:
        known, elsewhere = self.memory.digest(layer), self.memory.repository(layer)
        if known is not None or elsewhere is not None or not self.empty:
            descriptor = await self._descriptor(layer)
            if await self._is_there(descriptor) or await self._is_borrowed(descriptor, elsewhere):
                self.memory.keep_repository(layer)
                return descriptor
        async with self._room:
            await self.destination.put(self._packed[layer.identity], self._sent)
        self.layers_sent += 1
        self.memory.keep_repository(layer)
        return await self._descriptor(layer)

    async def deliver_base(self, layer: Descriptor) -> Descriptor:
        base = self.image.base
        if not await self._is_there(layer) and not await self._is_borrowed(layer, base.repository):
            async with self._room:
                await self.destination.put(Blob((await base.fetch(layer),)), self._sent)
            self.layers_sent += 1
        return layer

    async def deliver_document(self, content: bytes) -> None:
        if not await self.destination.has(describe(CONFIG_TYPE, content)):
            await self.destination.put(Blob((content,)), self._sent)

    @cached_property
    def _packed(self) -> "dict[str, _Packed]":
        return {layer.identity: _Packed(layer, self.memory, self._cores) for layer in self.image.layers}

    async def _descriptor(self, layer: Layer) -> Descriptor:
        return _described(await self._packed[layer.identity].digest(), layer)

    async def _is_there(self, descriptor: Descriptor) -> bool:
        if not await self.destination.has(descriptor):
            return False
        self._skip(descriptor.size)
        return True

    async def _is_borrowed(self, descriptor: Descriptor, repository: str | None) -> bool:
        if repository is None or not await self.destination.borrow(descriptor, repository):
            return False
        self._skip(descriptor.size)
        return True

    def _skip(self, count: int) -> None:
        with self._telling:
            self._skipped += count
            self._tell()

    def _sent(self, count: int) -> None:
        """Called from whichever thread writes."""
        with self._telling:
            self.bytes_sent += count
            self._tell()

    def _tell(self) -> None:
        done = min(self.bytes_sent + self._skipped, self.total)
        self.events.progress("publish", done, self.total, unit="B")


@dataclass
class _Packed:
    """A layer as the content of a blob. Its digest is the remembered one, or is taken once, for whoever asks first."""

    layer: Layer
    memory: Memory
    cores: asyncio.Semaphore
    _hashing: asyncio.Task[str] | None = None

    @property
    def size(self) -> int:
        return self.layer.blob.size

    async def digest(self) -> str:
        return self.memory.digest(self.layer) or await self.check()

    async def check(self) -> str:
        return await self._begin_hashing()

    async def stream(self, start: int = 0) -> AsyncIterator[bytes]:
        """From the first byte on, hashing goes on beside sending, where it is needed."""
        if self.memory.digest(self.layer) is None:
            self._begin_hashing()
        async for chunk in self.layer.blob.stream(start):
            yield chunk

    def _begin_hashing(self) -> asyncio.Task[str]:
        if self._hashing is None:
            self._hashing = asyncio.create_task(self._hashed())
            self._hashing.add_done_callback(_noted)
        return self._hashing

    async def _hashed(self) -> str:
        async with self.cores:
            digest = await self.layer.blob.digest()
        self.memory.keep(self.layer.identity, digest)
        return digest


def _noted(hashing: asyncio.Task[str]) -> None:
    """A file that cannot be read may already have ended the sending of it, so that nobody asks for the digest."""
    if not hashing.cancelled():
        hashing.exception()


def _described(digest: str, layer: Layer) -> Descriptor:
    """Says of itself which sealed files it was made from."""
    return Descriptor(
        media_type=LAYER_TYPE, digest=digest, size=layer.blob.size, annotations={LAYER_FILES: layer.identity}
    )


def _documents(image: Image, layers: Sequence[Descriptor]) -> tuple[bytes, bytes]:
    """Configuration and manifest."""
    own = layers[len(image.base.layers) :]
    config = config_document([layer.digest for layer in own], image.annotations, base=image.base.config)
    return config, manifest_document(describe(CONFIG_TYPE, config), layers, image.annotations)


async def _require_free(tag: str, destination: Destination, way: _Way) -> None:
    held = await destination.read(tag)
    if held is None:
        return
    _, manifest = _documents(way.image, await way.foreseen())
    if held != manifest:
        raise _taken(tag, held, manifest, "Nothing was sent")


def _taken(tag: str, held: bytes, manifest: bytes, outcome: str) -> UsageError:
    return UsageError(
        f"version {tag} is published already, as {digest_of_bytes(held)}: this image is another one, "
        f"{digest_of_bytes(manifest)}. {outcome}",
        remedy="raise output_model_version, or set output_overwrite_version=true to let the version mean this one",
    )
