"""What every place of a base model can do, whichever the scheme of its URI: list its files, and give them out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.errors import SourceError

SAFETENSORS = ".safetensors"
OTHER_WEIGHTS = {
    *(".bin", ".ckpt", ".data", ".gguf", ".h5", ".msgpack", ".npz", ".onnx"),
    *(".onnx_data", ".ot", ".pkl", ".pt", ".pth", ".tflite"),
}
OWN_FORMAT = "consolidated"  # so begin weights a second time, in the names of their authors' own programs
NO_DIGEST = "modified "  # so begins a version that says when, where there is nothing that says what


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file. `version` changes whenever its content does: an ETag, or a path with its time of change."""

    name: str
    size: int
    version: str

    @property
    def holds_weights(self) -> bool:
        return self.name.endswith(SAFETENSORS)


class Source(Protocol):
    """A folder of files somewhere."""

    uri: str

    def listing(self) -> list[Entry]:
        """Every file below the URI.

        Raises:
            SourceError: there is nothing, or nothing that these credentials may read.
            ServiceError: the server did not answer.
        """
        ...


class PieceSource(Source, Protocol):
    """One that gives out any part of a file, to several threads at once.

    `patience_s`: how long a piece may go on without a byte, however often it is asked for, before it is given up.
    """

    patience_s: float

    def read(self, entry: Entry, start: int, end: int) -> Iterator[memoryview]:
        """The bytes of `entry` from `start` to before `end`, of the version that was listed, as they come.

        What is yielded may be overwritten by what comes next.

        Raises:
            SourceError: they may not be read, or are of another version.
            ServiceError: the connection broke, or nothing came for too long; another attempt may help.
        """
        ...

    def is_digest(self, entry: Entry) -> bool:
        """Whether its version is made from its bytes alone, as far as the server has told by now."""
        ...

    def close(self) -> None:
        """Let go of connections. What is being read in other threads ends with an error."""
        ...


@runtime_checkable
class WholeSource(Source, Protocol):
    """One that gives out whole files, whose versions are `sha256:HEX`, or `git:HEX` for git's name of the content."""

    def download(self, entry: Entry, folder: Path, advance: Callable[[int], None]) -> Path:
        """The file below `folder`, gone on with where it stopped; `advance` is told of bytes as they come.

        Raises:
            SourceError, ServiceError: as `PieceSource.read`.
        """
        ...


@runtime_checkable
class ProvenSource(Source, Protocol):
    """One whose files can only be proven together."""

    def prove(self, entries: list[Entry], folder: Path) -> None:
        """Hold all files, which lie in `folder`, against the source's digests.

        Raises:
            ServiceError: some are wrong; they are taken away.
        """
        ...


@runtime_checkable
class ArchiveSource(Source, Protocol):
    """One whose entries are archives that hold the files."""

    def unpack(self, folder: Path, target: Path) -> None:
        """Write the files below `target`, out of the archives in `folder`.

        Raises:
            SourceError: an archive cannot be read, or there is no model in it.
        """
        ...


def wanted(uri: str, entries: Iterable[Entry]) -> list[Entry]:
    """The files that a model can need, by name: no hidden files, no code, and no weights but the safetensors beside
    config.json.

    Raises:
        SourceError: a name leads out of the folder.
    """
    return sorted((entry for entry in entries if _is_wanted(uri, entry.name)), key=lambda entry: entry.name)


def listing_digest(entries: Iterable[Entry]) -> str:
    """The same for the same content, wherever it was listed."""
    return digest_of([[entry.name, entry.size, entry.version] for entry in entries])


def _is_wanted(uri: str, name: str) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise SourceError(f"{uri} lists a file named {name!r}, which leads out of its folder", remedy="rename the file")
    if any(part.startswith(".") for part in path.parts) or path.suffix in {".py", *OTHER_WEIGHTS}:
        return False
    return path.suffix != SAFETENSORS or (len(path.parts) == 1 and not name.startswith(OWN_FORMAT))
