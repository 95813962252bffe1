"""Processes that stop where a test wants them, so that it need not be quick to meet them there.

with held(WRITING_A_MODEL) as hold:
    start()
    kill(hold.reached())
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers.process import awaited

HOOK = Path(__file__).parent / "holding"


@dataclass(frozen=True)
class Place:
    """Before the process of `module` opens or renames what has `name` in its path, and `steps` have been told there."""

    module: str
    event: str
    name: str
    steps: int = 0


WRITING_A_MODEL = Place("instructlab_pipeline.training.worker", "os.rename", ".model.draft")


def after_step(step: int) -> Place:
    """The first worker of a training, when it has told of so many steps; the others wait for it."""
    return Place("instructlab_pipeline.training.worker", "open", "telemetry.jsonl", step)


def answering(digest: str) -> Place:
    """A worker that asks the model of this digest, before it keeps the first replies."""
    return Place("instructlab_pipeline.evaluation.worker", "open", f"{digest}.lock")


@dataclass(frozen=True)
class Hold:
    folder: Path

    @property
    def is_reached(self) -> bool:
        return (self.folder / "reached").exists()

    def reached(self) -> int:
        """Wait until a process is at the place; its number."""
        return int(awaited(self.folder / "reached", within_s=240))

    def let_go(self) -> None:
        (self.folder / "go").touch()


@contextmanager
def held(place: Place) -> Iterator[Hold]:
    """What starts in this block stops at `place`, until it is let go, killed or asked to leave."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        told = {"MODULE": place.module, "EVENT": place.event, "NAME": place.name, "STEPS": place.steps}
        environment.setenv("PYTHONPATH", str(HOOK))
        for word, value in {**told, "FOLDER": folder}.items():
            environment.setenv(f"HELD_{word}", str(value))
        yield Hold(Path(folder))
