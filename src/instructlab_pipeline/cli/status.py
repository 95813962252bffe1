"""`status RUN`: how far a run is, from its folder alone, whether it runs at this moment or not."""

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

    last: dict[str, dict[str, Any]] = {}
    progress: dict[str, dict[str, Any]] = {}
    leaves: dict[str, list[int]] = {}
    for event in storage.events():
        match event:
            case {"event": "start" | "end", "name": name}:
                last[name] = event
                leaves.clear()
            case {"event": "progress", "name": name}:
                progress[name] = event
            case {"event": "point", "name": "leaves", "leaves": under_way}:
                leaves |= under_way
            case {"event": "point", "name": "leaf", "leaf": path, "accepted": accepted, "target": target} if target:
                leaves[path] = [accepted, target]
    holder = storage.holder()
    stages = [_stage_state(storage, name, last.get(name), running=holder is not None) for name in STAGE_NAMES]
    for stage in stages:
        if stage["state"] == "running":
            if seen := progress.get(stage["stage"]):
                stage["progress"] = {name: seen[name] for name in ("done", "total", "unit")}
            if leaves:
                stage["leaves"] = {path: {"accepted": got, "target": of} for path, (got, of) in sorted(leaves.items())}
    return {"run": storage.place(), "holder": holder, "stages": stages}


def _stage_state(storage: RunStorage, name: str, event: dict[str, Any] | None, *, running: bool) -> dict[str, Any]:
    sealed = storage.sealed(name)
    if event is None and sealed is None:
        return {"stage": name, "state": "waiting"}
    if event is not None and event["event"] == "start":
        return {"stage": name, "state": "running" if running else "stopped"}
    if sealed is None:
        return {"stage": name, "state": "stopped", "error": (event or {}).get("error")}
    seconds = event.get("seconds") if event else None
    return {"stage": name, "state": "finished", "seconds": seconds, "digest": sealed.digest, "facts": sealed.facts}


def _in_words(report: dict[str, Any]) -> str:
    from instructlab_pipeline.cli.progress import amount

    lines = [f"{report['run']}: " + (f"held by {report['holder']}" if report["holder"] else "nobody works on it now")]
    for stage in report["stages"]:
        line = f"  {stage['stage']:<14}{stage['state']}"
        if stage.get("seconds") is not None:
            line += f" in {duration(stage['seconds'])}"
        if progress := stage.get("progress"):
            line += f", {amount(progress['done'], progress['unit'])} of {amount(progress['total'], progress['unit'])}"
        if stage.get("error"):
            line += f": {stage['error'].splitlines()[0]}"
        lines += [line, *_leaves_in_words(stage.get("leaves", {}))]
    return "\n".join(lines)


def _leaves_in_words(leaves: dict[str, dict[str, int]]) -> list[str]:
    """Those that are not finished yet, and how many are."""
    lacking = {path: leaf for path, leaf in leaves.items() if leaf["accepted"] < leaf["target"]}
    lines = [f"    {leaf['accepted']:>7} of {leaf['target']:<7} {path}" for path, leaf in lacking.items()]
    if not leaves:
        return []
    return [*lines[:MOST_LEAVES], f"    {len(leaves) - len(lacking)} of {len(leaves)} leaves begun have all they need"]
