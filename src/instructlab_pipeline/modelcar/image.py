"""An image in a registry: its layers, and parts of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from instructlab_pipeline.errors import ServiceError, SourceError, boundary
from instructlab_pipeline.publish.oci import PLATFORM, Descriptor, descriptor_of
from instructlab_pipeline.publish.reference import RegistryReference, locate
from instructlab_pipeline.publish.registry import Registry, connect

REMEDY = "check the image in sdg_base_model, and that this registry's credentials may read it"

RANGE_BYTES = 16 << 20  # held in memory at once by each who reads


class Image:
    """Of several platforms' images, that of PLATFORM, or else the first: a model runs on none."""

    def __init__(self, uri: str, *, insecure: bool) -> None:
        reference = locate(uri)
        if not isinstance(reference, RegistryReference):
            raise SourceError(f"{uri} names no image in a registry", remedy="write oci://registry/repository:tag")
        self.uri, self._reference, self._insecure = uri, reference, insecure

    def layers(self) -> list[Descriptor]:
        """The lowest first.

        Raises:
            SourceError: there is no such image.
            ServiceError: the registry failed, or does not let us read.
        """
        return asyncio.run(self._layers())

    def ranges(self, digest: str, start: int, end: int) -> Iterator[memoryview]:
        """The bytes of a layer from `start` to before `end`, RANGE_BYTES at a time; nothing proves them."""
        for front in range(start, end, RANGE_BYTES):
            yield memoryview(self.range(digest, front, min(front + RANGE_BYTES, end)))

    def range(self, digest: str, start: int, end: int) -> bytes:
        """The bytes of a layer from `start` to before `end`; nothing proves them."""
        return asyncio.run(self._range(digest, start, end)) if start < end else b""

    async def _range(self, digest: str, start: int, end: int) -> bytes:
        async with self._registry() as registry:
            return await registry.fetch_range(digest, start, end)

    async def _layers(self) -> list[Descriptor]:
        async with self._registry() as registry:
            document = await self._document(registry, self._reference.wanted)
            if document.get("manifests"):
                document = await self._document(registry, _for_us(document["manifests"]))
        with boundary(SourceError, f"reading the manifest of {self.uri}", remedy=REMEDY):
            return [descriptor_of(layer) for layer in document["layers"]]

    async def _document(self, registry: Registry, reference: str) -> dict[str, Any]:
        content = await registry.read(reference)
        if content is None:
            raise SourceError(f"there is no image {self.uri}", remedy=REMEDY)
        with boundary(SourceError, f"reading the manifest of {self.uri}", remedy=REMEDY):
            document: dict[str, Any] = json.loads(content)
        return document

    @asynccontextmanager
    async def _registry(self) -> AsyncIterator[Registry]:
        try:
            async with connect(self._reference, insecure=self._insecure, writing=False) as registry:
                yield registry
        except ServiceError as error:
            raise ServiceError(f"{self.uri}: {error.message}", remedy=REMEDY) from error


def _for_us(manifests: list[dict[str, Any]]) -> str:
    def fits(entry: dict[str, Any]) -> bool:
        platform = entry.get("platform") or {}
        return all(platform.get(name) == value for name, value in PLATFORM.items())

    return str(next((entry for entry in manifests if fits(entry)), manifests[0])["digest"])
