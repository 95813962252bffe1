"""What each step measured: one JSON object a line, written by the first worker, followed by the pipeline."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from instructlab_pipeline.events import Events, append_line
from instructlab_pipeline.training.trackers import Trackers


class Telemetry:
    """Appends to `path`; silent on all workers but the first."""

    def __init__(self, path: Path, *, speaks: bool) -> None:
        self._path = path
        self._speaks = speaks

    def tell(self, kind: str, **fields: Any) -> None:
        if self._speaks:
            append_line(self._path, {"kind": kind, **fields})


class Follower:
    """Turns new lines of a telemetry file into events of the stage `name`, and tells the trackers of steps."""

    def __init__(self, path: Path, name: str, events: Events, trackers: Trackers) -> None:
        self._path = path
        self._name = name
        self._events = events
        self._trackers = trackers
        self._offset = path.stat().st_size if path.exists() else 0

    def follow(self) -> None:
        """Pass on what was written since the last call."""
        for line in self._new_lines():
            match line.pop("kind"):
                case "step":
                    self._step(line)
                case "tokenized":
                    self._events.progress(f"{self._name}_tokens", line["done"], line["total"], unit="samples")
                case "saved":
                    self._events.metric("checkpoint_stall_s", line.pop("stall_s"), stage=self._name, **line)
                case "validation":
                    self._trackers.log({"validation_loss": line["loss"]}, line["step"])
                    self._events.metric("validation_loss", line.pop("loss"), stage=self._name, **line)
                case "notice":
                    self._events.point("notice", message=line["message"])

    def _step(self, line: dict[str, Any]) -> None:
        step, steps = line.pop("step"), line.pop("steps")
        self._trackers.log(line, step)
        self._events.progress(self._name, step, steps, unit="steps", loss=line["loss"])
        self._events.metric("loss", line.pop("loss"), stage=self._name, step=step, **line)

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        yield from (json.loads(line) for line in whole.splitlines() if line.strip())
