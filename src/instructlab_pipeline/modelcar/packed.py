"""An image whose layers are compressed: each is fetched whole and proven, then the model's files are taken out."""

import gzip
import os
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from instructlab_pipeline.artifacts import link_or_copy
from instructlab_pipeline.errors import SourceError, boundary
from instructlab_pipeline.model.source import Entry
from instructlab_pipeline.modelcar.image import REMEDY, Image
from instructlab_pipeline.modelcar.ranges import PLAIN
from instructlab_pipeline.modelcar.tree import Stored, Tree, model_files, models_elsewhere
from instructlab_pipeline.publish.image import ROOT
from instructlab_pipeline.publish.oci import Descriptor

GZIP, ZSTD = ("+gzip", ".gzip"), ("+zstd", ".zstd")  # as OCI and as Docker write them
BLOCK_BYTES = 1 << 20
MAX_RATIO = 100  # of what a layer unpacks to; weights hardly get smaller
ALWAYS_TAKEN_BYTES = 64 << 20


def is_known(media_type: str) -> bool:
    return media_type in {tar + packing for tar in PLAIN for packing in ("", *GZIP, *ZSTD)}


class PackedSource:
    """Its entries are the layers, the lowest first by name; `unpack` makes the model's files of them."""

    patience_s = 0.0  # the registry's client has its own

    def __init__(self, image: Image, layers: Sequence[Descriptor]) -> None:
        self.uri, self._image, self._layers = image.uri, image, layers

    def listing(self) -> list[Entry]:
        return [
            Entry(name=_name(number), size=layer.size, version=layer.digest)
            for number, layer in enumerate(self._layers)
        ]

    def read(self, entry: Entry, start: int, end: int) -> Iterator[memoryview]:
        return self._image.ranges(entry.version, start, end)

    def is_digest(self, entry: Entry) -> bool:  # noqa: ARG002 - a layer's name is one
        return True

    def close(self) -> None:
        """Nothing is held: each range has a connection of its own."""

    def unpack(self, folder: Path, target: Path) -> None:
        """Write the model's files below `target`, out of the layers in `folder`.

        Raises:
            SourceError: a layer cannot be read, or there is no model in the image.
        """
        with boundary(SourceError, f"unpacking {self.uri}", remedy=REMEDY):
            for layer, targets in self._wanted(folder).items():
                with self._archive(layer, folder) as archive:
                    for member in archive:
                        if member.offset_data in targets:
                            _write(archive.extractfile(member), [target / name for name in targets[member.offset_data]])

    def _wanted(self, folder: Path) -> Mapping[str, Mapping[int, list[str]]]:
        """Names of the model's files, by layer and place in it."""
        tree = Tree()
        for entry in self.listing():
            with self._archive(entry.name, folder) as archive:
                tree.add(entry.name, archive)
        found = model_files(tree)
        self._require(found, tree)
        wanted: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name, stored in found.items():
            wanted[stored.layer][stored.offset].append(name)
        return wanted

    def _require(self, found: Mapping[str, Stored], tree: Tree) -> None:
        if not found:
            elsewhere = models_elsewhere(tree)
            hint = f"; {', '.join(elsewhere)} looks like one" if elsewhere else ""
            raise SourceError(
                f"{self.uri} has no model below /{ROOT}{hint}",
                remedy=f"name an image that holds config.json and the rest below /{ROOT}, as KServe wants it",
            )

    @contextmanager
    def _archive(self, layer: str, folder: Path) -> Iterator[tarfile.TarFile]:
        """To be read once, from its beginning to its end."""
        path, kind = folder / layer, self._layers[int(layer)].media_type
        with path.open("rb") as file:
            limit = max(MAX_RATIO * path.stat().st_size, ALWAYS_TAKEN_BYTES)
            stream: Any = _Limited(_decompressed(kind, file), limit)
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                yield archive


class _Limited:
    """A stream that gives out so many bytes at most."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"a layer unpacks to more than {MAX_RATIO} times its size")
        return data


def _decompressed(media_type: str, file: IO[bytes]) -> Any:
    if media_type.endswith(GZIP):
        return gzip.GzipFile(fileobj=file)
    if media_type.endswith(ZSTD):
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return file


def _write(content: IO[bytes] | None, targets: Sequence[Path]) -> None:
    """A file under all of its names."""
    first, *others = targets
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
    with first.open("wb") as file:
        while content and (block := content.read(BLOCK_BYTES)):
            file.write(block)
        os.fdatasync(file.fileno())
    for other in others:
        link_or_copy(first, other)


def _name(number: int) -> str:
    return f"{number:04}"
