"""An image in an OCI layout on disk (image-layout of the image specification 1.1).

A layout may hold other images: their tags are kept. A blob appears under its digest when it is complete.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import write_atomically
from instructlab_pipeline.errors import ServiceError, SourceError, UsageError, boundary
from instructlab_pipeline.publish.blob import Blob
from instructlab_pipeline.publish.destination import Sent
from instructlab_pipeline.publish.oci import INDEX_TYPE, MANIFEST_TYPE, Descriptor, describe
from instructlab_pipeline.publish.steps import in_steps

REF_NAME = "org.opencontainers.image.ref.name"


def require_usable(directory: Path) -> None:
    """Refuse, before anything is spent, what cannot become a layout.

    Raises:
        UsageError: a file is in its place.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(
            f"{directory} is a file, and no OCI layout can be written there",
            remedy="choose another directory in output_oci_model_uri",
        )


@contextmanager
def open_layout(directory: Path) -> Iterator["Layout"]:
    """A Destination in `directory`, which is ours alone meanwhile: whoever comes second waits.

    Raises:
        ServiceError: the folder cannot be written.
    """
    layout = Layout(directory)
    with layout.writing():
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield layout
    finally:
        os.close(descriptor)


class Layout:
    """See Destination.

    Raises:
        ServiceError: the folder cannot be written (from every method).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._blobs = directory / "blobs" / "sha256"

    async def has(self, descriptor: Descriptor) -> bool:
        path = self._path(descriptor.digest)
        return path.is_file() and path.stat().st_size == descriptor.size

    async def put(self, descriptor: Descriptor, blob: Blob, sent: Sent) -> None:
        with self.writing():
            await in_steps(self._write(descriptor, blob, sent))

    async def tag(self, tag: str, manifest: bytes) -> None:
        descriptor = describe(MANIFEST_TYPE, manifest)
        with self.writing():
            await in_steps(self._write(descriptor, Blob((manifest,)), lambda _: None))
            self._point(tag, descriptor)

    async def read(self, reference: str) -> bytes | None:
        tagged = (entry["digest"] for entry in self._entries() if _tag_of(entry) == reference)
        digest = reference if reference.startswith("sha256:") else next(tagged, None)
        return self._path(digest).read_bytes() if digest and self._path(digest).is_file() else None

    def _write(self, descriptor: Descriptor, blob: Blob, sent: Sent) -> Generator[None, None, None]:
        self._blobs.mkdir(parents=True, exist_ok=True)
        draft = self._path(f".{descriptor.digest}")  # one that a crash left is written over
        whole = hashlib.sha256()
        with draft.open("wb") as file:
            for chunk in blob.chunks():
                file.write(chunk)
                whole.update(chunk)
                sent(len(chunk))
                yield
            file.flush()
            os.fsync(file.fileno())
        if f"sha256:{whole.hexdigest()}" != descriptor.digest:
            draft.unlink()
            raise SourceError("a file was changed while it was published", remedy="run the same command again")
        draft.replace(self._path(descriptor.digest))

    def _point(self, tag: str, descriptor: Descriptor) -> None:
        others = [entry for entry in self._entries() if _tag_of(entry) != tag]
        entry = {**descriptor.record(), "annotations": {REF_NAME: tag}}
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [*others, entry]}
        write_atomically(self._directory / "oci-layout", '{"imageLayoutVersion":"1.0.0"}')
        write_atomically(self._directory / "index.json", json.dumps(index, separators=(",", ":")))

    def _entries(self) -> list[dict[str, Any]]:
        path = self._directory / "index.json"
        if not path.exists():
            return []
        try:
            entries: list[dict[str, Any]] = json.loads(path.read_bytes())["manifests"]
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{path} is not the index of an OCI layout", remedy="choose another directory in output_oci_model_uri"
            ) from None
        return entries

    def _path(self, digest: str) -> Path:
        return self._blobs / digest.replace("sha256:", "")

    def writing(self) -> Any:
        return boundary(
            ServiceError,
            f"writing the OCI layout {self._directory}",
            remedy="choose a directory in output_oci_model_uri that can be written and has room",
        )


def _tag_of(entry: dict[str, Any]) -> str | None:
    tag: str | None = (entry.get("annotations") or {}).get(REF_NAME)
    return tag
