"""`file:PATH`: a base model in a folder of this machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.model.source import Entry

BLOCK_BYTES = 1 << 20
REMEDY = "point sdg_base_model at the folder that holds config.json"


class FolderSource:
    """Files are copied, never linked: sealing makes files read-only, and the user's own must stay as they are."""

    patience_s = 0.0

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.folder = folder_of(uri)

    def listing(self) -> list[Entry]:
        if not self.folder.is_dir():
            raise SourceError(f"{self.uri}: there is no folder {self.folder}", remedy=REMEDY)
        files = (Path(root) / name for root, _, names in os.walk(self.folder) for name in names)
        return [self._entry(path) for path in files]

    def read(self, entry: Entry, start: int, end: int) -> Iterator[memoryview]:
        path = self.folder / entry.name
        with path.open("rb") as file:
            if self._entry(path) != entry:
                raise SourceError(f"{path} changed while it was copied", remedy="run the same command again")
            file.seek(start)
            buffer = memoryview(bytearray(BLOCK_BYTES))
            while num_bytes := file.readinto(buffer[: end - file.tell()]):
                yield buffer[:num_bytes]

    def is_digest(self, entry: Entry) -> bool:  # noqa: ARG002 - a time of change never is
        return False

    def close(self) -> None:
        """Nothing is held."""

    def _entry(self, path: Path) -> Entry:
        name = path.relative_to(self.folder).as_posix()
        if not name.isascii() and name != os.fsencode(name).decode(errors="replace"):
            raise SourceError(f"{self.uri} holds a file named {name!r}, which is not UTF-8", remedy="rename the file")
        try:
            state = path.stat()
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror}", remedy=REMEDY) from error
        return Entry(
            name=name,
            size=state.st_size,
            version=f"{path}:{state.st_mtime_ns}",
        )


def folder_of(uri: str) -> Path:
    """The absolute path that `file:PATH` means: `file:models/tiny`, `file:~/tiny`, `file:/models/tiny`, `file:///models/tiny`.

    Raises:
        SourceError: the URI names another machine.
    """
    path = uri.removeprefix("file:")
    if path.startswith("//"):
        machine, slash, path = path[2:].partition("/")
        path = slash + path
        if machine not in {"", "localhost"}:
            raise SourceError(f"{uri} names a machine, {machine}", remedy="write file:PATH or file:///PATH")
    return Path(unquote(path)).expanduser().absolute()
