"""Files of an image read in place: as ranges of its layers, which an uncompressed tar allows.

The layers' digests prove all of them afterwards.
"""

import hashlib
import io
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import ServiceError, SourceError, boundary
from instructlab_pipeline.model.source import Entry
from instructlab_pipeline.modelcar.image import REMEDY, Image
from instructlab_pipeline.modelcar.tree import Stored, Tree, model_files
from instructlab_pipeline.publish.oci import Descriptor

READ_AHEAD_BYTES = 64 << 10
BLOCK_BYTES = 1 << 20
PLAIN = ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar")


class RangesSource:
    """`version` of an entry is its layer's digest and its place in it."""

    patience_s = 0.0  # the registry's client has its own

    def __init__(self, image: Image, layers: Sequence[Descriptor]) -> None:
        self.uri, self._image, self._layers = image.uri, image, layers

    @property
    def holds_model(self) -> bool:
        return bool(self._found)

    def listing(self) -> list[Entry]:
        return [
            Entry(name=name, size=stored.size, version=f"{stored.layer}@{stored.offset}")
            for name, stored in self._found.items()
        ]

    def read(self, entry: Entry, start: int, end: int) -> Iterator[memoryview]:
        digest, place = _place(entry)
        return self._image.ranges(digest, place + start, place + end)

    def is_digest(self, entry: Entry) -> bool:  # noqa: ARG002 - the layers' digests are held against all files together
        return False

    def close(self) -> None:
        """Nothing is held: each range has a connection of its own."""

    def prove(self, entries: list[Entry], folder: Path) -> None:
        """Hold the files in `folder`, and what lies between them in their layers, against the layers' digests.

        Raises:
            ServiceError: a layer has other bytes; its files are taken away.
        """
        sizes = {layer.digest: layer.size for layer in self._layers}
        by_layer: Mapping[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_layer[_place(entry)[0]].append(entry)
        for digest, files in by_layer.items():
            if self._digest(digest, sizes[digest], files, folder) != digest:
                for file in files:
                    (folder / file.name).unlink()
                raise ServiceError(f"{self.uri}: layer {digest} has other bytes", remedy="run the same command again")

    def _digest(self, layer: str, size: int, files: list[Entry], folder: Path) -> str:
        hasher, position = hashlib.sha256(), 0
        for entry in sorted(files, key=lambda entry: _place(entry)[1]):
            start = _place(entry)[1]
            if start < position:
                continue  # another name of the file before
            hasher.update(self._image.range(layer, position, start))
            _hash_file(hasher, folder / entry.name)
            position = start + entry.size
        hasher.update(self._image.range(layer, position, size))
        return f"sha256:{hasher.hexdigest()}"

    @cached_property
    def _found(self) -> Mapping[str, Stored]:
        tree = Tree()
        for layer in self._layers:
            with boundary(SourceError, f"reading a layer of {self.uri}", remedy=REMEDY):
                ranges = io.BufferedReader(_Ranges(self._image, layer), READ_AHEAD_BYTES)
                with tarfile.open(fileobj=ranges, mode="r:") as archive:
                    tree.add(layer.digest, archive)
        return model_files(tree)


class _Ranges(io.RawIOBase):
    """A layer as a file that is read where it is looked at."""

    def __init__(self, image: Image, layer: Descriptor) -> None:
        self._image, self._layer, self._position = image, layer, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._layer.size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._image.range(
            self._layer.digest, self._position, min(self._position + len(buffer), self._layer.size)
        )
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
