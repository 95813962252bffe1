"""`oci://registry/repository:tag`: a published model as a base model, so that it can be tuned again.

It joins two rooms: what the model stage wants of a source, out of what publishing knows of registries. A file is read
in place, as a range of its layer, which an uncompressed tar allows; the layers' digests prove all of them afterwards.
"""

import asyncio
import hashlib
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import ServiceError, SourceError, boundary
from instructlab_pipeline.model.source import Entry
from instructlab_pipeline.model.stage import SCHEMES, ModelInputs, Opener
from instructlab_pipeline.publish.image import ROOT
from instructlab_pipeline.publish.oci import Descriptor, descriptor_of
from instructlab_pipeline.publish.reference import RegistryReference, locate
from instructlab_pipeline.publish.registry import Registry, connect

READ_AHEAD_BYTES = 64 << 10
BLOCK_BYTES = 1 << 20
PLAIN = ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar")
REMEDY = "check the image in sdg_base_model, and that this registry's credentials may read it"


def schemes_of(inputs: ModelInputs) -> dict[str, Opener]:
    """All kinds of URIs that a base model can have."""
    return {**SCHEMES, "oci": partial(ModelCarSource, insecure=inputs.output_registry_insecure)}


class ModelCarSource:
    """`version` of an entry is its layer's digest and its place in it."""

    def __init__(self, uri: str, *, insecure: bool = False) -> None:
        reference = locate(uri)
        if not isinstance(reference, RegistryReference):
            raise SourceError(f"{uri} names no image in a registry", remedy="write oci://registry/repository:tag")
        self.uri, self._reference, self._insecure = uri, reference, insecure

    def listing(self) -> list[Entry]:
        layers = asyncio.run(self._layers())
        found: dict[str, Entry] = {}
        for layer in layers:
            if layer.media_type in PLAIN:
                found |= {entry.name: entry for entry in self._files(layer)}
        if not found:
            raise SourceError(
                f"{self.uri} has no file below /{ROOT} in a layer that is not compressed",
                remedy="name an image that `instructlab-pipeline run` has published",
            )
        return list(found.values())

    async def read(self, entry: Entry, start: int, end: int) -> AsyncIterator[memoryview]:
        digest, place = _place(entry)
        yield memoryview(await self._range(digest, place + start, place + end))

    async def prove(self, entries: list[Entry], folder: Path) -> None:
        """Hold the files in `folder`, and what lies between them in their layers, against the layers' digests.

        Raises:
            ServiceError: a layer has other bytes; its files are taken away.
        """
        sizes = {layer.digest: layer.size for layer in await self._layers()}
        by_layer: Mapping[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_layer[_place(entry)[0]].append(entry)
        for digest, files in by_layer.items():
            if await self._digest(digest, sizes[digest], files, folder) != digest:
                for file in files:
                    (folder / file.name).unlink()
                raise ServiceError(f"{self.uri}: layer {digest} has other bytes", remedy="run the same command again")

    async def _digest(self, layer: str, size: int, files: list[Entry], folder: Path) -> str:
        hasher, position = hashlib.sha256(), 0
        for entry in sorted(files, key=lambda entry: _place(entry)[1]):
            start = _place(entry)[1]
            hasher.update(await self._range(layer, position, start))
            await asyncio.to_thread(_hash_file, hasher, folder / entry.name)
            position = start + entry.size
        hasher.update(await self._range(layer, position, size))
        return f"sha256:{hasher.hexdigest()}"

    async def _layers(self) -> list[Descriptor]:
        async with self._registry() as registry:
            content = await registry.read(self._reference.wanted)
        if content is None:
            raise SourceError(f"there is no image {self.uri}", remedy=REMEDY)
        with boundary(SourceError, f"reading the manifest of {self.uri}", remedy=REMEDY):
            return [descriptor_of(layer) for layer in json.loads(content)["layers"]]

    def _files(self, layer: Descriptor) -> Iterator[Entry]:
        with boundary(SourceError, f"reading a layer of {self.uri}", remedy=REMEDY):
            ranges = io.BufferedReader(_Ranges(self, layer), READ_AHEAD_BYTES)
            with tarfile.open(fileobj=ranges, mode="r:") as archive:
                for member in archive:
                    folder, _, name = member.name.removeprefix("./").partition("/")
                    if member.isfile() and folder == ROOT:
                        yield Entry(name=name, size=member.size, version=f"{layer.digest}@{member.offset_data}")

    async def _range(self, digest: str, start: int, end: int) -> bytes:
        if start == end:
            return b""
        async with self._registry() as registry:
            return await registry.fetch_range(digest, start, end)

    @asynccontextmanager
    async def _registry(self) -> AsyncIterator[Registry]:
        try:
            async with connect(self._reference, insecure=self._insecure, writing=False) as registry:
                yield registry
        except ServiceError as error:
            raise ServiceError(f"{self.uri}: {error.message}", remedy=REMEDY) from error


class _Ranges(io.RawIOBase):
    """A layer as a file that is read where it is looked at."""

    def __init__(self, source: ModelCarSource, layer: Descriptor) -> None:
        self._source, self._layer, self._position = source, layer, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._layer.size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        start, end = self._position, min(self._position + len(buffer), self._layer.size)
        data = asyncio.run(self._source._range(self._layer.digest, start, end)) if start < end else b""  # noqa: SLF001
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _place(entry: Entry) -> tuple[str, int]:
    digest, _, offset = entry.version.partition("@")
    return digest, int(offset)


def _hash_file(hasher: Any, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            hasher.update(block)
