"""How a model becomes the layers of an image: which file goes where, and the exact bytes of each tar.

Pure. Nothing of the machine, the user or the hour gets in, so that the same files give the same digests anywhere: a
large file alone in its layer is sent again only when it changed.
"""

import hashlib
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import PurePosixPath

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.publish.blob import Blob, Piece

ROOT = "models"  # where KServe looks for a model in an image
LARGE_BYTES = 16 << 20  # from here on, a file has a layer of its own
MOST_ALONE = 100  # files; container runtimes mount no more than 127 layers, those of a base image among them
FORMAT = 1  # raise it when the same entries give other bytes
LAYER_FILES = "ai.instructlab.pipeline.layer.files"  # annotation of a layer: its `identity`
_END_OF_TAR = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of the image, by its path below /models, such as `tokenizer.json`."""

    path: str
    content: Piece

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.size


@dataclass(frozen=True, kw_only=True)
class Layer:
    entries: tuple[Entry, ...]

    @cached_property
    def identity(self) -> str:
        """The same for layers with the same bytes, told from what is known of their files without reading them."""
        return identity_of({entry.path: _sha256(entry.content) for entry in self.entries})

    @cached_property
    def blob(self) -> Blob:
        """An uncompressed tar: the folders above the files, then each file, padded to whole blocks."""
        return Blob(
            (
                _heads(entry.path for entry in self.entries),
                *chain.from_iterable(map(_member, self.entries)),
                _END_OF_TAR,
            )
        )


def layers(entries: Iterable[Entry]) -> tuple[Layer, ...]:
    """One layer for each large file, in the order of their paths, and a last one for all the others."""
    ordered = sorted(entries, key=lambda entry: entry.path)
    alone = [entry for entry in ordered if entry.size >= LARGE_BYTES][:MOST_ALONE]
    others = tuple(entry for entry in ordered if entry not in alone)
    own = tuple(Layer(entries=(entry,)) for entry in alone)
    return (*own, Layer(entries=others)) if others else own


def around(path: str, size: int) -> tuple[bytes, bytes]:
    """What comes before and after the bytes of a file that has a layer of its own."""
    return _heads([path]) + _header(f"{ROOT}/{path}", size=size), _padding(size) + _END_OF_TAR


def identity_of(files: Mapping[str, str]) -> str:
    """Of a layer with these files, sha256 by path."""
    return digest_of([FORMAT, sorted(files.items())])


def _sha256(content: Piece) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else content.sha256


def _heads(paths: Iterable[str]) -> bytes:
    folders = sorted({str(folder) for path in paths for folder in _folders(path)})
    return b"".join(_header(f"{folder}/", size=0) for folder in folders)


def _folders(path: str) -> list[PurePosixPath]:
    return list(PurePosixPath(ROOT, path).parents)[:-1]


def _member(entry: Entry) -> tuple[Piece, ...]:
    return _header(f"{ROOT}/{entry.path}", size=entry.size), entry.content, _padding(entry.size)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _header(name: str, *, size: int) -> bytes:
    """Everyone may read it, root owns it, and it is as old as time."""
    info = tarfile.TarInfo(name.rstrip("/"))
    is_folder = name.endswith("/")
    info.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
    info.mode = 0o755 if is_folder else 0o644
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, encoding="utf-8")
