"""A run at `s3://bucket/prefix`, which any number of machines work on without sharing a disk.

    <prefix>/run.json                parameters with origins, as on a disk
             events/<process>.jsonl  what each process told
             <stage>/...             as on a disk: the manifest comes last, and goes first when a stage is made again
                     work/...        what an unfinished stage goes on from
             memory/<name>/...       folders of the cache that a stage goes on from, such as the teacher's journal
             leases/<stage>/...      who performs a stage now
    beside it: cache/stages/<stage>/<key>   the name of the run that sealed the stage with this key

Each machine has scratch space for it under the user's cache folder, which may vanish at any time.
"""

import os
import re
import socket
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from instructlab_pipeline import artifacts
from instructlab_pipeline.artifacts import MANIFEST, WORK, Artifact
from instructlab_pipeline.errors import PipelineError, SourceError
from instructlab_pipeline.events import append_line, read_events
from instructlab_pipeline.holder import this_process
from instructlab_pipeline.run_folder import RunFolder
from instructlab_pipeline.s3.lease import Lease, holder_of
from instructlab_pipeline.s3.mirror import Mirror, kept_up
from instructlab_pipeline.s3.remote import RemoteFolder, Wanted

EVENTS, LEASES, MEMORY = "events", "leases", "memory"
CACHE = "cache"
TELL_EVERY_S = 10.0  # what a process tells is in the bucket so soon
LOOK_EVERY_S = 5.0  # for what was told, where it is followed
BETWEEN_STEPS_S = 300.0  # until a pipeline's next pod works, its image and its volume have to be there
RECORD = "run.json"
UNSEEN = (f"{EVENTS}/", f"{LEASES}/", f"{MEMORY}/")  # by those who look at a run
RUN_NAME = re.compile(r"[^/]+")
VIEWED_BYTES = 32 << 20  # of the largest file that they look at
# What a TrainJob or a PyTorchJob tells a pod: the first of its pods speaks for all of them.
POD_RANKS = ("PET_NODE_RANK", "RANK")


@dataclass(kw_only=True)
class BucketStorage:
    """`leads`: this process seals what it makes; one that only helps to train keeps nothing."""

    folder: RunFolder
    remote: RemoteFolder
    leads: bool = True
    _leases: dict[str, Lease] = field(default_factory=dict)
    _started: float = field(default_factory=time.time)

    @classmethod
    def open(cls, uri: str) -> Self:
        """Nothing is asked of the server yet."""
        remote = RemoteFolder.open(uri.rstrip("/"), named_by="--run-dir")
        rank = next((os.environ[name] for name in POD_RANKS if name in os.environ), "0")
        return cls(folder=RunFolder(scratch() / remote.bucket / remote.prefix), remote=remote, leads=rank == "0")

    @cached_property
    def _told(self) -> Mirror:
        return Mirror(folder=self.events_path.parent, remote=self.remote.below(EVENTS))

    @property
    def events_path(self) -> Path:
        process = re.sub(r"[^\w.-]", "-", f"{self._started:.3f}-{socket.gethostname()}-{os.getpid()}")
        return self.folder.path / EVENTS / f"{process}.jsonl"

    def place(self, name: str = "") -> str:
        return f"{self.remote.uri}/{name}".rstrip("/")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Processes on different stages do not hinder each other; those on the same one do, in `working`."""
        self.events_path.parent.mkdir(parents=True, exist_ok=True)
        with kept_up([self._told], every_s=TELL_EVERY_S):
            yield

    def holder(self) -> str | None:
        held = self.remote.below(LEASES).listing()
        names = sorted({name.partition("/")[0] for name in held})
        holders = {name: holder_of(self.remote.below(f"{LEASES}/{name}")) for name in names}
        return ", ".join(f"{words}, on {name}" for name, words in holders.items() if words) or None

    def record(self) -> dict[str, Any]:
        if (content := self.remote.read(RECORD)) is not None:
            self.folder.path.mkdir(parents=True, exist_ok=True)
            self.folder.record_path.write_bytes(content)
            return self.folder.record()
        return {}

    def write_record(self, parameters: Mapping[str, Any]) -> None:
        self.folder.write_record(parameters)
        if self.leads:
            self.remote.write(RECORD, self.folder.record_path.read_bytes())

    def events(self) -> Iterable[dict[str, Any]]:
        told = [event for events in self._told_by_process().values() for event in events]
        return sorted(told, key=_time)

    def follow(self, *, look_every_s: float = LOOK_EVERY_S) -> Iterator[dict[str, Any]]:
        """Between two steps of a pipeline nobody works on the run for a while: that is not yet its end."""
        known: dict[str, int] = {}
        busy, is_over = None, False
        while not is_over:
            now = time.monotonic()
            busy = now if self.holder() is not None else busy
            is_over = busy is None or now - busy > BETWEEN_STEPS_S or (now != busy and self._is_published())
            told = self._told_by_process()
            yield from sorted((event for name in told for event in told[name][known.get(name, 0) :]), key=_time)
            known = {name: len(events) for name, events in told.items()}
            if not is_over:
                time.sleep(look_every_s)

    def _told_by_process(self) -> dict[str, list[dict[str, Any]]]:
        told = self.folder.path / "told"  # apart from what this machine is writing
        remote = self.remote.below(EVENTS)
        there = remote.listing()
        remote.download(
            {
                name: Wanted(target=told / name, size=entry.size)
                for name, entry in there.items()
                if not entry.is_of(told / name)
            }
        )
        return {name: list(read_events(told / name)) for name in there}

    def _is_published(self) -> bool:
        return self.sealed("publish") is not None

    def view(self) -> RunFolder:
        self._told.up()
        view = RunFolder(self.folder.path / "view" / self.folder.path.name)
        wanted = {
            name: Wanted(target=view.path / name, size=entry.size)
            for name, entry in self.remote.listing().items()
            if not name.startswith(UNSEEN) and entry.size <= VIEWED_BYTES and not entry.is_of(view.path / name)
        }
        self.remote.download(wanted)
        view.events_path.unlink(missing_ok=True)
        for event in self.events():
            append_line(view.events_path, event)
        return view

    def memory(self, name: str) -> Path:
        self._memory(name).down()
        return self.folder.cache / name

    def keep_report(self, report: Path) -> None:
        if self.leads:
            self.remote.write(report.name, report.read_bytes())

    def sealed(self, name: str) -> Artifact | None:
        return self._sealed_in(self.remote, name)

    def is_strange(self, name: str) -> bool:
        there = self.remote.below(name).listing()
        return bool(there) and MANIFEST not in there

    def damage(self, artifact: Artifact) -> str | None:
        folder = self._home(artifact).below(artifact.kind)
        there = folder.listing()
        for file in artifact.files:
            place = f"{folder.uri}/{file.path}"
            if file.path not in there:
                return f"{place} is missing"
            if there[file.path].size != file.size:
                return f"{place} has {there[file.path].size} bytes instead of {file.size}"
        return None

    def bring(self, artifact: Artifact) -> None:
        """The manifest comes last here too, so that what is sealed here is whole."""
        folder = self._home(artifact).below(artifact.kind)
        content = folder.read(MANIFEST)
        here = artifacts.read(artifact.path)
        if content is None:
            raise SourceError(f"{folder.uri} is no longer sealed", remedy="perform its stage again, then this one")
        if here is not None and here.digest == artifact.digest and artifacts.damage(here) is None:
            return
        (artifact.path / MANIFEST).unlink(missing_ok=True)
        folder.download(
            {
                file.path: Wanted(target=artifact / file.path, size=file.size, sha256=file.sha256)
                for file in artifact.files
                if not artifacts.is_whole(artifact, file)
            }
        )
        artifacts.write_atomically(artifact / MANIFEST, content.decode())

    @contextmanager
    def working(self, name: str, memories: Sequence[str]) -> Iterator[None]:
        if not self.leads:
            yield
            return
        mirrors = [Mirror(folder=self.folder.stage(name) / WORK, remote=self.remote.below(f"{name}/{WORK}"))]
        mirrors += map(self._memory, memories)
        with self._lease(name).held():
            self.remote.below(name).delete([MANIFEST])
            for mirror in mirrors:
                mirror.down()
            with kept_up(mirrors):
                yield

    def _lease(self, name: str) -> Lease:
        lease = self._leases[name] = Lease(notes=self.remote.below(f"{LEASES}/{name}"), holder=this_process())
        return lease

    def _memory(self, name: str) -> Mirror:
        return Mirror(folder=self.folder.cache / name, remote=self.remote.below(f"{MEMORY}/{name}"))

    def keep(self, artifact: Artifact) -> None:
        if not self.leads:
            return
        self._leases[artifact.kind].require()
        folder = self.remote.below(artifact.kind)
        there = folder.listing()
        files = {file.path: artifact / file.path for file in artifact.files}
        folder.upload(files, there=there)
        folder.delete(_others(there, files))
        self._told.up()  # whoever follows the run looks no further once it is published
        folder.write(MANIFEST, (artifact / MANIFEST).read_bytes())
        with suppress(PipelineError):  # other runs may want it; this one is well without
            self.remote.beside(CACHE).write(_pointer(artifact.kind, artifact.key), self.remote.name.encode())

    def made_elsewhere(self, name: str, key: str) -> Artifact | None:
        with suppress(PipelineError, ValueError):  # what cannot be used is made again
            run = (self.remote.beside(CACHE).read(_pointer(name, key)) or b"").decode()
            sealed = self._sealed_in(self.remote.beside(run), name) if RUN_NAME.fullmatch(run) else None
            if sealed is not None and sealed.key == key and self.damage(sealed) is None:
                return sealed
        return None

    def adopt(self, artifact: Artifact) -> Artifact:
        """Copied by the server: its files come here only where a stage reads them."""
        home, name = self._home(artifact), artifact.kind
        if home == self.remote:
            return artifact
        target = self.remote.below(name)
        if self.leads:
            with self._lease(name).held():
                target.delete([MANIFEST])
                files = {file.path: file.size for file in artifact.files}
                home.below(name).copy(files, to=target)
                target.delete(_others(target.listing(), files))
                home.below(name).copy({MANIFEST: 0}, to=target)
        return replace(artifact, path=self.folder.stage(name))

    def _home(self, artifact: Artifact) -> RemoteFolder:
        """The run in which it lies: this one, or one beside it."""
        run = artifact.path.parent
        return self.remote if run == self.folder.path else self.remote.beside(run.name)

    def _sealed_in(self, run: RemoteFolder, name: str) -> Artifact | None:
        content = run.read(f"{name}/{MANIFEST}")
        if content is None:
            return None
        folder = RunFolder(self.folder.path.with_name(run.name)).stage(name)
        return artifacts.parsed(content, folder, place=f"{run.uri}/{name}/{MANIFEST}")


def _time(event: Mapping[str, Any]) -> float:
    return float(event["time"])


def _others(there: Iterable[str], files: Container[str]) -> list[str]:
    """What lies in a stage's folder and is none of its files."""
    return [name for name in there if name not in files and not name.startswith(f"{WORK}/")]


def _pointer(name: str, key: str) -> str:
    return f"stages/{name}/{key}"


def scratch() -> Path:
    """In a pod it lies on the scratch volume, to which the variables lead."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "instructlab-pipeline" / "runs"
