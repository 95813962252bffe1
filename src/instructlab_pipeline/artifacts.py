"""Sealed folders: what a stage made, with digests, and proof that it was finished.

A folder is an artifact when it holds `manifest.json`, which is written last and renamed into place.
What lies under `work/` is the stage's own (journals, recovery checkpoints, logs): it survives a crash and is never part
of the artifact.
"""

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from instructlab_pipeline.errors import SourceError

MANIFEST = "manifest.json"
WORK = "work"
CHUNK_BYTES = 1 << 20
RECHECKED_BYTES = 16 << 20  # files up to this size are hashed again before reuse; larger ones by size alone
SHARD_BYTES = 128 << 20  # of records in one file: a million samples are a dozen, which copy side by side
Facts = dict[str, Any]


class ManifestError(SourceError):
    """A manifest that we did not write so."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of an artifact, by its path inside it."""

    path: str
    size: int
    sha256: str


class Reader(Protocol):
    """Reads along while a file is sealed, so that nobody need read it again for what else its bytes can tell."""

    def read(self, chunk: bytes) -> None: ...

    def end(self, file: File) -> None: ...


ReadersFor = Callable[[str, int], Reader | None]  # who reads along a file of this path and size, if anybody


def nobody(_path: str, _size: int) -> None:
    """No reader for any file."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A sealed folder. `digest` speaks for its files; `facts` are what a reader wants to know without opening them."""

    path: Path
    kind: str
    key: str
    digest: str
    inputs: Mapping[str, str]
    files: tuple[File, ...]
    facts: Facts

    def __truediv__(self, name: str) -> Path:
        return self.path / name


def digest_of(value: Any) -> str:
    """sha256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(
    folder: Path,
    *,
    kind: str,
    key: str,
    inputs: Mapping[str, str],
    facts: Facts,
    readers: ReadersFor = nobody,
) -> Artifact:
    """Hash what the stage wrote, make it read-only, and write the manifest last."""
    paths = sorted(_files(folder), key=lambda path: path.relative_to(folder).as_posix())
    with ThreadPoolExecutor() as pool:
        files = tuple(pool.map(lambda path: _sealed(folder, path, readers), paths))
    artifact = Artifact(
        path=folder, kind=kind, key=key, digest=digest_of_files(files), inputs=dict(inputs), files=files, facts=facts
    )
    record = {name: value for name, value in asdict(artifact).items() if name != "path"}
    write_atomically(folder / MANIFEST, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return artifact


def unseal(folder: Path) -> None:
    """Take the manifest away first, then everything but `work/`."""
    (folder / MANIFEST).unlink(missing_ok=True)
    if not folder.exists():
        return
    for path in folder.iterdir():
        if path.name == WORK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def read(folder: Path) -> Artifact | None:
    """The artifact in `folder`, or None where no manifest was written."""
    try:
        content = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    return parsed(content, folder, place=str(folder / MANIFEST))


def parsed(manifest: bytes, folder: Path, *, place: str) -> Artifact:
    """The artifact that a manifest tells of, with its files in `folder`. `place`: where the manifest was found."""
    try:
        record = json.loads(manifest)
        files = tuple(File(**file) for file in record.pop("files"))
        return Artifact(path=folder, files=files, **record)
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestError(
            f"{place} is not a manifest of ours: {error}", remedy=f"delete {place.rpartition('/')[0]} and run again"
        ) from error


def damage(artifact: Artifact) -> str | None:
    """What is wrong with a sealed folder's files, in a sentence, or None."""
    for file in artifact.files:
        path = artifact / file.path
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != file.size:
            return f"{path} has {path.stat().st_size} bytes instead of {file.size}"
        if file.size <= RECHECKED_BYTES and file_digest(path) != file.sha256:
            return f"{path} was changed after it was sealed"
    return None


def is_whole(artifact: Artifact, file: File) -> bool:
    """Whether this file of it is here, bit by bit."""
    path = artifact / file.path
    return path.is_file() and path.stat().st_size == file.size and file_digest(path) == file.sha256


def copy_sealed(artifact: Artifact, folder: Path) -> Artifact:
    """The same artifact in another folder, by hard links where the file system has them; the manifest comes last."""
    unseal(folder)
    for file in artifact.files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(artifact / file.path, target)
    write_atomically(folder / MANIFEST, (artifact / MANIFEST).read_text())
    copied = read(folder)
    assert copied is not None
    return copied


def link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def write_atomically(path: Path, text: str) -> None:
    """The whole text or nothing, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]], *, shard_bytes: int = SHARD_BYTES) -> int:
    """One JSON object a line, keys in the order given, in shards where they are many; says how many records."""
    count = 0
    with ShardWriter(path, shard_bytes=shard_bytes) as writer:
        for record in records:
            writer.write(record)
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The records of all shards, in order."""
    for shard in shards_of(path):
        with shard.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


class ShardWriter:
    """Records into `path`, and when that is full into files beside it: samples.jsonl, samples-00002.jsonl, ...

    Which record goes where depends on the records alone. A record is never cut.
    """

    def __init__(self, path: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for shard in shards_of(path):
            shard.unlink(missing_ok=True)
        self._path = path
        self._shard_bytes = shard_bytes
        self._number = 1
        self._size = 0
        self._file = path.open("wb")

    def write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        if self._size and self._size + len(line) > self._shard_bytes:
            self._next_shard()
        self._file.write(line)
        self._size += len(line)

    def _next_shard(self) -> None:
        self._file.close()
        self._number += 1
        self._size = 0
        self._file = self._path.with_stem(f"{self._path.stem}-{self._number:05}").open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()


def shards_of(path: Path) -> list[Path]:
    """The files that hold the records of `path`, in order: itself, and those that it goes on in."""
    return [path, *sorted(path.parent.glob(f"{glob.escape(path.stem)}-[0-9][0-9][0-9][0-9][0-9]{path.suffix}"))]


def shards_digest(path: Path) -> str:
    """sha256 of the file; of the digests of all, where there are more."""
    digests = [file_digest(shard) for shard in shards_of(path)]
    return digests[0] if len(digests) == 1 else digest_of(digests)


def _files(folder: Path) -> Iterable[Path]:
    for root, folders, names in os.walk(folder):
        if Path(root) == folder:
            folders[:] = [name for name in folders if name != WORK]
            names = [name for name in names if not name.startswith(".") and name != MANIFEST]  # noqa: PLW2901 - drafts
        yield from (Path(root) / name for name in names)


def _sealed(folder: Path, path: Path, readers: ReadersFor) -> File:
    path.chmod(0o444)
    name, size, own = path.relative_to(folder).as_posix(), path.stat().st_size, hashlib.sha256()
    reader = readers(name, size)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            own.update(chunk)
            if reader is not None:
                reader.read(chunk)
        os.fsync(file.fileno())
    sealed = File(path=name, size=size, sha256=own.hexdigest())
    if reader is not None:
        reader.end(sealed)
    return sealed


def digest_of_files(files: Iterable[File]) -> str:
    """Of a sealed folder."""
    return digest_of([[file.path, file.sha256] for file in files])


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
