"""A prefix of a bucket as a folder: whole files, many at once, and none that is there already.

Two files are taken for the same when their size and their ETag are. A server that makes ETags in another way than from
MD5 sums (one that encrypts with keys of its own does) gets each file again, which costs time and nothing else.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.s3.e_tags import e_tag
from instructlab_pipeline.s3.settings import Settings
from instructlab_pipeline.s3.store import is_path, open_bucket, s3_boundary

if TYPE_CHECKING:
    from obstore.store import S3Store

PART_BYTES = 16 << 20  # of one request; S3 takes 10,000 parts of a file
NUM_MOVES = 8  # requests at once
NUM_PARTS = 2  # of one file, sent at once
COPIED_BYTES = 5 << 30  # what S3 copies by itself; larger files go through this machine
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the server says of one file. `modified`: seconds since 1970, by its clock."""

    size: int
    e_tag: str
    modified: float

    def is_of(self, path: Path) -> bool:
        """Whether the file is the same here."""
        return path.is_file() and path.stat().st_size == self.size and self.e_tag == e_tag(path, part_bytes=PART_BYTES)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file to fetch: where to, how large it is, and its sha256 where that is known."""

    target: Path
    size: int
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """Names of files are relative to `prefix`. `named_by`: the option that gave the URI, for error messages."""

    bucket: str
    prefix: str
    settings: Settings
    store: "S3Store"
    named_by: str

    @classmethod
    def open(cls, uri: str, *, named_by: str) -> Self:
        """`s3://bucket/prefix`.

        Raises:
            UsageError: the URI is none of that form.
        """
        match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/+([^?#\s]+?)/*", uri)
        if match is None or not is_path(match[2]):
            raise UsageError(f"{uri} is no place in a bucket", remedy=f"give {named_by} as s3://bucket/prefix")
        settings = Settings.from_environment(os.environ)
        return cls(
            bucket=match[1],
            prefix=match[2],
            settings=settings,
            store=open_bucket(match[1], settings),
            named_by=named_by,
        )

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def below(self, name: str) -> "RemoteFolder":
        return replace(self, prefix=f"{self.prefix}/{name}")

    @property
    def name(self) -> str:
        return self.prefix.rpartition("/")[2]

    def beside(self, name: str) -> "RemoteFolder":
        parent = self.prefix.rpartition("/")[0]
        return replace(self, prefix=f"{parent}/{name}".lstrip("/"))

    def listing(self) -> dict[str, Entry]:
        import obstore

        with self._boundary():
            found = list(obstore.list(self.store, self.prefix).collect())
        return {
            item["path"].removeprefix(f"{self.prefix}/"): Entry(
                size=item["size"], e_tag=(item["e_tag"] or "").strip('"'), modified=item["last_modified"].timestamp()
            )
            for item in found
        }

    def folders(self) -> list[str]:
        """The names of the folders right below, however much is in them."""
        import obstore

        with self._boundary():
            found = obstore.list_with_delimiter(self.store, self.prefix)["common_prefixes"]
        return sorted(path.removeprefix(f"{self.prefix}/").rstrip("/") for path in found)

    def read(self, name: str) -> bytes | None:
        """A small file's content, or None where there is none."""
        import obstore

        with self._boundary():
            try:
                return bytes(obstore.get(self.store, self.key(name)).bytes())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def write(self, name: str, content: bytes) -> None:
        import obstore

        with self._boundary():
            obstore.put(self.store, self.key(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Whether this call, and no other, made the file."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._boundary():
            try:
                obstore.put(self.store, self.key(name), content, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def delete(self, names: Iterable[str]) -> None:
        import obstore

        keys = [self.key(name) for name in names]
        with self._boundary():
            for start in range(0, len(keys), 1000):  # as many as S3 takes at once
                obstore.delete(self.store, keys[start : start + 1000])

    def upload(self, files: Mapping[str, Path], *, there: Mapping[str, Entry]) -> None:
        """Send the files that are not `there`, which is a listing, in the same state."""
        in_parallel(lambda name: self._upload(name, files[name], there.get(name)), _largest_first(files))

    def download(self, files: Mapping[str, Wanted]) -> None:
        """Fetch the files, each under its own name only when it is whole.

        Raises:
            ServiceError: what arrived is not what was asked for.
        """
        pieces = [
            (name, file, start)
            for name, file in sorted(files.items(), key=lambda item: -item[1].size)
            for start in range(0, file.size, PART_BYTES)
        ]
        for file in files.values():
            file.target.parent.mkdir(parents=True, exist_ok=True)
            _part(file).write_bytes(b"")
        in_parallel(lambda piece: self._fetch(*piece), pieces)
        in_parallel(lambda name: self._complete(name, files[name]), files)

    def copy(self, sizes: Mapping[str, int], *, to: "RemoteFolder") -> None:
        """Have the files of these names, in bytes, in another folder of the same bucket."""
        in_parallel(lambda name: self._copy(name, sizes[name], to), sizes)

    def key(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def _upload(self, name: str, path: Path, there: Entry | None) -> None:
        import obstore

        if there is not None and there.is_of(path):
            return
        with self._boundary():
            obstore.put(self.store, self.key(name), path, chunk_size=PART_BYTES, max_concurrency=NUM_PARTS)

    def _copy(self, name: str, size: int, to: "RemoteFolder") -> None:
        import obstore

        with self._boundary():
            if size <= COPIED_BYTES:
                obstore.copy(self.store, self.key(name), to.key(name))
            else:
                pieces = obstore.get(self.store, self.key(name)).stream(min_chunk_size=PART_BYTES)
                obstore.put(self.store, to.key(name), pieces, chunk_size=PART_BYTES, max_concurrency=NUM_PARTS)

    def _fetch(self, name: str, file: Wanted, start: int) -> None:
        import obstore

        end = min(start + PART_BYTES, file.size)
        with self._boundary():
            piece = obstore.get_range(self.store, self.key(name), start=start, end=end)
        with _part(file).open("r+b") as part:
            part.seek(start)
            part.write(piece)

    def _complete(self, name: str, file: Wanted) -> None:
        part = _part(file)
        with part.open("rb") as whole:
            size = os.fstat(whole.fileno()).st_size
            sha256 = hashlib.file_digest(whole, "sha256").hexdigest() if file.sha256 else None
            os.fsync(whole.fileno())
        if (size, sha256) != (file.size, file.sha256):
            part.unlink()
            raise ServiceError(
                f"{self.uri}/{name} is not what its manifest says: it was changed, or it is changing at this moment",
                remedy="run the same command again; if it recurs, perform the stage that made it again",
            )
        part.replace(file.target)

    def _boundary(self) -> AbstractContextManager[None]:
        return s3_boundary(self.uri, self.settings, named_by=self.named_by)


def in_parallel(function: Callable[[Item], Any], items: Iterable[Item]) -> None:
    """Call `function` on each, NUM_MOVES at once; the first error ends it without waiting for what has not begun."""
    with ThreadPoolExecutor(NUM_MOVES) as pool:
        try:
            for future in [pool.submit(function, item) for item in items]:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _largest_first(files: Mapping[str, Path]) -> list[str]:
    """So that no large file is left to go alone at the end."""
    return sorted(files, key=lambda name: -files[name].stat().st_size)


def _part(file: Wanted) -> Path:
    return file.target.with_name(f".{file.target.name}.{os.getpid()}.part")
