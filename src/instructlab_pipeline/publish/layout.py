"""An image in an OCI layout on disk (image-layout of the image specification 1.1).

A layout may hold other images: their tags are kept. A blob appears under its digest when it is complete.
"""

import asyncio
import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import write_atomically
from instructlab_pipeline.errors import ServiceError, SourceError, UsageError, boundary
from instructlab_pipeline.publish.blob import Blob
from instructlab_pipeline.publish.destination import Content, Sent
from instructlab_pipeline.publish.oci import (
    INDEX_TYPE,
    Descriptor,
    checked,
    describe,
    media_type_of,
    referrer_record,
    subject_of,
)

TURN_S = 0.2  # between two looks at whether a layout's folder is free
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


@asynccontextmanager
async def open_layout(directory: Path) -> AsyncIterator["Layout"]:
    """A Destination in `directory`, which is ours alone meanwhile: whoever comes second waits.

    Raises:
        ServiceError: the folder cannot be written.
    """
    layout = Layout(directory)
    descriptor = layout.folder()
    try:
        await _have_alone(descriptor)
        yield layout
    finally:
        os.close(descriptor)


async def _have_alone(descriptor: int) -> None:
    """Wait for a lock without stopping the event loop, as waiting in the kernel would."""
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(TURN_S)


class Layout:
    """See Destination.

    Raises:
        ServiceError: the folder cannot be written (from every method).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._blobs = directory / "blobs" / "sha256"

    def folder(self) -> int:
        """The descriptor of the folder, which is there from now on."""
        with self.writing():
            self._directory.mkdir(parents=True, exist_ok=True)
            return os.open(self._directory, os.O_RDONLY)

    async def has(self, descriptor: Descriptor) -> bool:
        path = self._path(descriptor.digest)
        return path.is_file() and path.stat().st_size == descriptor.size

    async def is_empty(self) -> bool:
        return not self._entries()

    async def put(self, content: Content, sent: Sent) -> None:
        with self.writing():
            await self._write(content, sent)

    async def borrow(self, _descriptor: Descriptor, _repository: str) -> bool:
        return False  # all images of a layout share their blobs

    async def tag(self, tag: str, manifest: bytes) -> None:
        descriptor = describe(media_type_of(manifest), manifest)
        with self.writing():
            await self._write(Blob((manifest,)), lambda _: None)
            if tag != descriptor.digest:
                others = [entry for entry in self._entries() if _tag_of(entry) != tag]
                self._list([*others, {**descriptor.record(), "annotations": {REF_NAME: tag}}])

    async def attach(self, _subject: str, manifests: Sequence[bytes]) -> None:
        entries = [referrer_record(manifest) for manifest in manifests]
        with self.writing():
            for manifest in manifests:
                await self._write(Blob((manifest,)), lambda _: None)
            self._list([*(other for other in self._entries() if other not in entries), *entries])

    async def read(self, reference: str) -> bytes | None:
        tagged = (entry["digest"] for entry in self._entries() if _tag_of(entry) == reference)
        digest = reference if reference.startswith("sha256:") else next(tagged, None)
        return self._path(digest).read_bytes() if digest and self._path(digest).is_file() else None

    async def fetch(self, descriptor: Descriptor) -> bytes:
        with boundary(SourceError, f"reading {descriptor.digest} in {self._directory}", remedy="copy the image anew"):
            return checked(descriptor, self._path(descriptor.digest).read_bytes())

    async def referrers(self, digest: str) -> list[dict[str, Any]]:
        manifests = [(entry, await self.read(entry["digest"])) for entry in self._entries() if _tag_of(entry) is None]
        return [entry for entry, manifest in manifests if manifest and subject_of(manifest) == digest]

    async def _write(self, content: Content, sent: Sent) -> None:
        self._blobs.mkdir(parents=True, exist_ok=True)
        digest, whole = await content.digest(), hashlib.sha256()
        draft = self._path(f".{digest}")  # one that a crash left is written over
        with draft.open("wb") as file:
            async for chunk in content.stream():
                await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(whole.update, chunk)
                sent(len(chunk))
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        if f"sha256:{whole.hexdigest()}" != digest:
            draft.unlink()
            await content.check()
            raise SourceError("a file was changed while it was published", remedy="run the same command again")
        draft.replace(self._path(digest))

    def _list(self, entries: Sequence[dict[str, Any]]) -> None:
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
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
