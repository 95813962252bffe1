"""Where a run lives: what the pipeline asks of that place, and a disk's answers. S3's are in `bucket_storage.py`.

Stages always work in a folder on a disk (`folder`). On S3 it is scratch: what a stage needs is brought there when it
runs, and what it seals is kept in the bucket.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from instructlab_pipeline import artifacts
from instructlab_pipeline.artifacts import Artifact
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.events import follow_events, read_events
from instructlab_pipeline.run_folder import RunFolder

S3 = "s3://"


class RunStorage(Protocol):
    """Every method may raise ServiceError or SourceError, where the place cannot be reached or read."""

    @property
    def folder(self) -> RunFolder: ...

    @property
    def events_path(self) -> Path: ...

    def place(self, name: str = "") -> str:
        """Where a person finds a stage's folder, or the run's."""
        ...

    def held(self) -> AbstractContextManager[None]:
        """Around all that one process does to the run."""
        ...

    def holder(self) -> str | None:
        """Who works on the run now, in words, or None."""
        ...

    def record(self) -> dict[str, Any]: ...

    def write_record(self, parameters: Mapping[str, Any]) -> None: ...

    def events(self) -> Iterable[dict[str, Any]]:
        """What all processes told of the run, in the order of time."""
        ...

    def follow(self) -> Iterator[dict[str, Any]]:
        """The same, and what is told later, for as long as somebody works on the run."""
        ...

    def view(self) -> RunFolder:
        """A folder from which the run can be read as from a disk; very large files may be left out."""
        ...

    def memory(self, name: str) -> Path:
        """A folder of the cache that a stage goes on from, here and up to date, to be read."""
        ...

    def keep_report(self, report: Path) -> None:
        """Keep the page of the run, which was written into the folder."""
        ...

    def sealed(self, name: str) -> Artifact | None:
        """What a stage has sealed, by its manifest: its files may not be in the folder."""
        ...

    def is_strange(self, name: str) -> bool:
        """Whether something lies in a stage's folder that no stage has sealed there."""
        ...

    def damage(self, artifact: Artifact) -> str | None:
        """What is wrong with its files where they are kept, in a sentence, or None."""
        ...

    def bring(self, artifact: Artifact) -> None:
        """Have its files in the folder, as they were sealed."""
        ...

    def working(self, name: str, memories: Sequence[str]) -> AbstractContextManager[None]:
        """Around the work on a stage. `memories`: folders of the cache that it goes on from after a crash."""
        ...

    def keep(self, artifact: Artifact) -> None:
        """Keep what a stage has just sealed in the folder, for later stages and for other runs."""
        ...

    def made_elsewhere(self, name: str, key: str) -> Artifact | None:
        """The same stage with the same key, sealed in another run beside this one, as it lies there."""
        ...

    def adopt(self, artifact: Artifact) -> Artifact:
        """The artifact as one of this run, which it becomes where it was made elsewhere."""
        ...


def open_storage(place: str | Path) -> RunStorage:
    """A run's folder on a disk, or `s3://bucket/prefix`."""
    if str(place).startswith(S3):
        from instructlab_pipeline.bucket_storage import BucketStorage

        return BucketStorage.open(str(place))
    return DiskStorage(folder=RunFolder(Path(place)))


@dataclass(frozen=True, kw_only=True)
class DiskStorage:
    """Everything is where the stages work."""

    folder: RunFolder

    @property
    def events_path(self) -> Path:
        return self.folder.events_path

    def place(self, name: str = "") -> str:
        return str(self.folder.path / name)

    def held(self) -> AbstractContextManager[None]:
        return self.folder.held()

    def holder(self) -> str | None:
        return self.folder.holder()

    def record(self) -> dict[str, Any]:
        return self.folder.record()

    def write_record(self, parameters: Mapping[str, Any]) -> None:
        self.folder.write_record(parameters)

    def events(self) -> Iterable[dict[str, Any]]:
        return read_events(self.events_path)

    def follow(self) -> Iterator[dict[str, Any]]:
        return follow_events(self.events_path, lambda: self.holder() is not None)

    def view(self) -> RunFolder:
        return self.folder

    def memory(self, name: str) -> Path:
        return self.folder.cache / name

    def keep_report(self, report: Path) -> None:
        """It is there."""

    def sealed(self, name: str) -> Artifact | None:
        return artifacts.read(self.folder.stage(name))

    def is_strange(self, name: str) -> bool:
        folder = self.folder.stage(name)
        if not folder.is_dir():
            return os.path.lexists(folder)
        return any(folder.iterdir()) and self.sealed(name) is None

    def damage(self, artifact: Artifact) -> str | None:
        return artifacts.damage(artifact)

    def bring(self, artifact: Artifact) -> None:
        """It is here."""

    def working(self, _name: str, _memories: Sequence[str]) -> AbstractContextManager[None]:
        return nullcontext()

    def keep(self, artifact: Artifact) -> None:
        """Leave word of it for other runs, in terms that hold when the folder of all runs is moved."""
        place = os.path.relpath(artifact.path, self.folder.cache.parent)
        artifacts.write_atomically(self._pointer(artifact.kind, artifact.key), place)

    def made_elsewhere(self, name: str, key: str) -> Artifact | None:
        try:
            sealed = artifacts.read(self.folder.cache.parent / self._pointer(name, key).read_text())
        except (OSError, ValueError, SourceError):  # nobody made it, or what points there cannot be used
            return None
        return None if sealed is None or sealed.key != key or artifacts.damage(sealed) is not None else sealed

    def adopt(self, artifact: Artifact) -> Artifact:
        folder = self.folder.stage(artifact.kind)
        return artifact if artifact.path == folder else artifacts.copy_sealed(artifact, folder)

    def _pointer(self, name: str, key: str) -> Path:
        return self.folder.cache / "stages" / name / key
