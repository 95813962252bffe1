"""`status RUN`: how far a run is, from its folder alone, whether it runs at this moment or not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from instructlab_pipeline.cli.failures import print_json, told
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.events import duration
from instructlab_pipeline.run_storage import RunStorage, open_storage

MOST_LEAVES = 20  # shown


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def status(run: str, as_json: bool) -> None:
    """Show how far the run in RUN is, a folder or s3://bucket/prefix, and who works on it."""
    with told(in_json=as_json):
        storage = open_storage(run)
        if not storage.record():
            raise UsageError(f"{run} is not a run folder: it has no run.json", remedy="name a folder that `run` made")
        report = state_of(storage)
    if as_json:
        print_json(report)
    else:
        click.echo(_in_words(report))


def state_of(storage: RunStorage) -> dict[str, Any]:
    """The state of each stage: `finished`, `running`, `stopped` or `waiting`; and the holder of the run, if any."""
    from instructlab_pipeline.pipeline import STAGE_NAMES

    told = _Told()
    for event in storage.events():
        told.hear(event)
    holder = storage.holder()
    stages = [_stage_state(storage, name, told.last.get(name), running=holder is not None) for name in STAGE_NAMES]
    for stage in stages:
        if stage["state"] == "running":
            stage.update(told.under_way(stage["stage"]))
    return {"run": storage.place(), "holder": holder, "stages": stages}


@dataclass(kw_only=True)
class _Told:
    """What the events come to: each stage's last beginning or end, its last good end, its progress, the leaves."""

    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: dict[str, dict[str, Any]] = field(default_factory=dict)
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    leaves: dict[str, list[int]] = field(default_factory=dict)

    def hear(self, event: Mapping[str, Any]) -> None:
        match event:
            case {"event": "start" | "end", "name": name}:
                self.last[name] = dict(event)
                self.leaves.clear()
                if event.get("ok"):
                    self.made[name] = dict(event)
            case {"event": "point", "name": "reused", "stage": name}:
                self.last[name] = self.made.get(name, {"event": "end", "ok": True})
            case {"event": "progress", "name": name}:
                self.progress[name] = dict(event)
            case {"event": "point", "name": "leaves", "leaves": under_way}:
                self.leaves |= under_way
            case {"event": "point", "name": "leaf", "leaf": path, "accepted": accepted, "target": target} if target:
                self.leaves[path] = [accepted, target]

    def under_way(self, stage: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if seen := self.progress.get(stage):
            found["progress"] = {name: seen[name] for name in ("done", "total", "unit")}
        if self.leaves:
            found["leaves"] = {path: {"accepted": got, "target": of} for path, (got, of) in sorted(self.leaves.items())}
        return found


def _stage_state(storage: RunStorage, name: str, event: dict[str, Any] | None, *, running: bool) -> dict[str, Any]:
    sealed = storage.sealed(name)
    if event is None and sealed is None:
        return {"stage": name, "state": "waiting"}
    if event is not None and event["event"] == "start":
        return {"stage": name, "state": "running" if running else "stopped"}
    if sealed is None or (event is not None and not event.get("ok")):
        return {"stage": name, "state": "stopped", "error": (event or {}).get("error")}
    seconds = event.get("seconds") if event else None
    return {"stage": name, "state": "finished", "seconds": seconds, "digest": sealed.digest, "facts": sealed.facts}


def _in_words(report: dict[str, Any]) -> str:
    from instructlab_pipeline.cli.progress import amounts

    lines = [f"{report['run']}: " + (f"held by {report['holder']}" if report["holder"] else "nobody works on it now")]
    for stage in report["stages"]:
        line = f"  {stage['stage']:<14}{stage['state']}"
        if stage.get("seconds") is not None:
            line += f" in {duration(stage['seconds'])}"
        if progress := stage.get("progress"):
            line += f", {amounts(progress['done'], progress['total'], progress['unit'])}"
        if words := stage.get("error") or _result_in_words(stage.get("facts", {})):
            line += f": {words.splitlines()[0]}"
        lines += [line, *_leaves_in_words(stage.get("leaves", {}))]
    return "\n".join(lines)


def _result_in_words(facts: Mapping[str, Any]) -> str:
    """What came of a finished stage, where that is what one waits for."""
    match facts:
        case {"skipped": str(reason)}:
            return f"skipped, {reason}"
        case {"verdict": verdict, "clear": clear}:
            return f"{verdict}, {'clear' if clear else 'not clear'}"
        case {"reference": reference}:
            return str(reference)
    return ""


def _leaves_in_words(leaves: dict[str, dict[str, int]]) -> list[str]:
    """Those that are not finished yet, and how many are."""
    lacking = {path: leaf for path, leaf in leaves.items() if leaf["accepted"] < leaf["target"]}
    lines = [f"    {leaf['accepted']:>7} of {leaf['target']:<7} {path}" for path, leaf in lacking.items()]
    if not leaves:
        return []
    return [*lines[:MOST_LEAVES], f"    {len(leaves) - len(lacking)} of {len(leaves)} leaves begun have all they need"]
