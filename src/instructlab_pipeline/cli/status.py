"""`status RUN`: how far a run is, from its folder alone, whether it runs at this moment or not."""

from typing import Any

import click

from instructlab_pipeline.cli.failures import print_json, told
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.events import duration
from instructlab_pipeline.run_storage import RunStorage, open_storage


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
    for event in storage.events():
        if event["event"] in ("start", "end"):
            last[event["name"]] = event
        elif event["event"] == "progress":
            progress[event["name"]] = event
    holder = storage.holder()
    stages = [_stage_state(storage, name, last.get(name), running=holder is not None) for name in STAGE_NAMES]
    for stage in stages:
        if stage["state"] == "running" and (seen := progress.get(stage["stage"])):
            stage["progress"] = {name: seen[name] for name in ("done", "total", "unit")}
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
        lines.append(line)
    return "\n".join(lines)
