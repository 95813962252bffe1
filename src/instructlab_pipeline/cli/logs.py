"""`logs RUN`: what a run told, and what its worker processes printed, in the order of the stages."""

import json
from typing import Any

import click

from instructlab_pipeline.artifacts import WORK
from instructlab_pipeline.cli.progress import Teller
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.run_folder import RunFolder
from instructlab_pipeline.run_storage import open_storage


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("stage", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they are, one JSON object a line.")
def logs(run: str, stage: str | None, follow: bool, as_json: bool) -> None:
    """Print what the run in RUN told; with STAGE, what that stage's worker processes printed.

    RUN is a folder or s3://bucket/prefix; what happens in a bucket is there ten seconds later.
    """
    storage = open_storage(run)
    if not storage.record():
        raise UsageError(f"{run} is not a run folder: it has no run.json", remedy="name a folder that `run` made")
    if stage is not None:
        _print_worker_logs(storage.view(), stage)
        return
    teller = Teller(say=click.echo)
    for event in storage.follow() if follow else storage.events():
        if as_json:
            click.echo(json.dumps(event, ensure_ascii=False))
        else:
            _tell(teller, event)


def _tell(teller: Teller, event: dict[str, Any]) -> None:
    if event.get("event") == "end" and not event.get("ok"):
        click.echo(f"{event['name']}: {event.get('error')}")
    teller.hear(event)


def _print_worker_logs(folder: RunFolder, stage: str) -> None:
    from instructlab_pipeline.pipeline import STAGE_NAMES

    if stage not in STAGE_NAMES:
        raise UsageError(f"there is no stage {stage!r}", remedy=f"the stages, in order: {', '.join(STAGE_NAMES)}")
    found = sorted((folder.stage(stage) / WORK).rglob("*.log"))
    if not found:
        raise UsageError(
            f"no worker process of {stage} left a log in {folder.path}",
            remedy="stages without worker processes tell all that they do in `logs RUN`",
        )
    for path in found:
        click.echo(f"==> {path} <==")
        click.echo(path.read_text(encoding="utf-8", errors="replace"))
