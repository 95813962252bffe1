"""What a run folder holds, read as it is: finished or not, from the first stage or from the cache of another run."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from instructlab_pipeline import artifacts
from instructlab_pipeline.artifacts import Artifact
from instructlab_pipeline.evaluation.metrics import METRICS, Scale
from instructlab_pipeline.evaluation.verdict import Grades
from instructlab_pipeline.events import read_events
from instructlab_pipeline.pipeline import STAGE_NAMES

TELEMETRY = "work/telemetry.jsonl"


@dataclass(frozen=True)
class Findings:
    """The run in the folder `path`. What a stage did not leave is None or empty, never an error."""

    path: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """Parameters with their origins, version, machine, command."""
        return _object(self.path / "run.json")

    @cached_property
    def sealed(self) -> dict[str, Artifact]:
        """The finished stages by name, in order."""
        found = {name: artifacts.read(self.path / name) for name in STAGE_NAMES}
        return {name: artifact for name, artifact in found.items() if artifact is not None}

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """Beginnings and ends of the stages, and notices; the many steps in between are left out."""
        kept = ("start", "end", "point")
        return [event for event in read_events(self.path / "events.jsonl") if event.get("event") in kept]

    @cached_property
    def verdict(self) -> dict[str, Any]:
        return _object(self.path / "eval_final" / "verdict.json") if "eval_final" in self.sealed else {}

    @cached_property
    def funnel(self) -> dict[str, dict[str, Any]]:
        return _object(self.path / "sdg" / "funnel.json") if "sdg" in self.sealed else {}

    def facts(self, stage: str) -> Mapping[str, Any]:
        return self.sealed[stage].facts if stage in self.sealed else {}

    def parameter(self, name: str) -> Any:
        return self.record.get("parameters", {}).get(name, {}).get("value")

    def answers(self) -> Iterable[dict[str, Any]]:
        return self._lines("eval_final", "answers.jsonl")

    def samples(self) -> Iterable[dict[str, Any]]:
        return self._lines("sdg", "samples.jsonl")

    def rejected(self) -> Iterable[dict[str, Any]]:
        return self._lines("sdg", "rejected.jsonl")

    def losses(self, phase: str) -> dict[str, list[tuple[float, float]]]:
        """The loss by "optimizer step", or by "epoch" where the phase's telemetry is not in this run.

        A step that was done again after a crash counts once.
        """
        told = read_events(self.path / phase / TELEMETRY)  # line by line as events are, and torn by a crash likewise
        if steps := {line["step"]: line["loss"] for line in told if line.get("kind") == "step"}:
            return {"optimizer step": sorted(steps.items())}
        epochs = _object(self.path / phase / "training.json").get("epoch_losses", [])
        return {"epoch": list(enumerate(epochs, start=1))} if epochs else {}

    def _lines(self, stage: str, name: str) -> Iterable[dict[str, Any]]:
        path = self.path / stage / name
        return artifacts.read_jsonl(path) if stage in self.sealed and path.exists() else ()


def grades_by_leaf(answers: Iterable[Mapping[str, Any]], metric: str) -> dict[str, Grades]:
    """One metric's grades in each leaf where it grades anything."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for answer in answers:
        if metric in answer["grades"]:
            rows.setdefault(answer["leaf"], []).append(answer)
    scale = METRICS[metric].scale if metric in METRICS else Scale.UNIT
    return {
        leaf: Grades(
            items=[row["id"] for row in own],
            base=[row["grades"][metric]["base"] for row in own],
            tuned=[row["grades"][metric]["tuned"] for row in own],
            scale=scale,
        )
        for leaf, own in sorted(rows.items())
    }


def _object(path: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return loaded
