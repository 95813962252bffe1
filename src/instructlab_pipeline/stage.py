"""What a stage is: typed inputs, a folder to write into, and a key made of all that can change its result.

A room's door is its `stage.py`: a frozen dataclass of inputs and a function `run(inputs, context) -> Facts`.
Each field of the inputs is named for what fills it: an earlier stage (its Artifact) or a parameter (its value).
The key is the digest of these fields, so what a stage does not list it cannot depend on.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import WORK, Artifact, Facts, ReadersFor, digest_of, nobody
from instructlab_pipeline.events import Events


@dataclass(frozen=True, kw_only=True)
class Context:
    """Where a stage works and whom it tells.

    `folder` is sealed when the stage returns, except for `folder/work`, which survives crashes and re-runs.
    `cache` is shared by runs, and by processes at the same time.
    """

    folder: Path
    cache: Path
    events: Events

    @property
    def work(self) -> Path:
        path = self.folder / WORK
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the pipeline. Raise `version` when the code changes what the same inputs give.

    `fingerprint` tells the present state of what the inputs point to outside of the run (the commit of a branch, the
    ETags of a bucket), so that a change there is noticed. `lost` tells in a sentence what the stage made outside of the
    run that is no longer there. Both raise ServiceError where they cannot tell. `notices` tells what is worth knowing
    about the inputs each time, also when the stage is reused. `readers`, given the cache, read along while what the
    stage made is sealed. `memories` are the folders of the cache that it goes on from after a crash, or leaves to
    others, and that therefore must not be lost with the machine.
    """

    name: str
    inputs: type[Any]
    run: Callable[[Any, Context], Facts]
    fingerprint: Callable[[Any], str] = lambda _inputs: ""
    lost: Callable[[Any, Artifact], str | None] | None = None
    notices: Callable[[Any], Iterable[str]] = lambda _inputs: ()
    readers: Callable[[Path], ReadersFor] = lambda _cache: nobody
    memories: tuple[str, ...] = ()
    version: int = 1


def unkeyed() -> Any:
    """A field of a stage's inputs that cannot change its result: a secret's name, a limit on concurrency."""
    return field(metadata={"keyed": False})


def key_of(stage: Stage, inputs: Any, fingerprint: str) -> str:
    """Digest of everything that can change what `stage` makes of `inputs`."""
    named = {
        item.name: _plain(getattr(inputs, item.name)) for item in fields(inputs) if item.metadata.get("keyed", True)
    }
    return digest_of({"stage": stage.name, "version": stage.version, "inputs": named, "outside": fingerprint})


def _plain(value: Any) -> Any:
    return {"digest": value.digest} if isinstance(value, Artifact) else value
