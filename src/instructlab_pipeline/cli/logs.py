"""`logs RUN`: what a run told, and what its worker processes printed, in the order of the stages."""

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from instructlab_pipeline.artifacts import WORK
from instructlab_pipeline.cli.progress import Teller
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.run_folder import RunFolder
from instructlab_pipeline.run_storage import open_storage

LOOK_EVERY_S = 0.5


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("stage", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they are, one JSON object a line.")
def logs(run: str, stage: str | None, follow: bool, as_json: bool) -> None:
    """Print what the run in RUN told; with STAGE, what that stage's worker processes printed.

    RUN is a folder or s3://bucket/prefix; what happens in a bucket is printed as far as it was kept there.
    """
    storage = open_storage(run)
    if not storage.record():
        raise UsageError(f"{run} is not a run folder: it has no run.json", remedy="name a folder that `run` made")
    folder = storage.view()
    if stage is not None:
        _print_worker_logs(folder, stage)
        return
    teller = Teller(say=click.echo)
    for line in _lines(folder, follow=follow):
        if as_json:
            click.echo(line)
        elif (event := _event(line)) is not None:
            _tell(teller, event)


def _lines(folder: RunFolder, *, follow: bool) -> Iterator[str]:
    """Whole lines; when followed, those to come too, until nobody works on the run any more."""
    with folder.events_path.open(encoding="utf-8", errors="replace") as file:
        held, rest = True, ""
        while held:
            held = follow and folder.holder() is not None
            for line in file:
                rest += line
                if rest.endswith("\n"):
                    yield rest.rstrip("\n")
                    rest = ""
            if held:
                time.sleep(LOOK_EVERY_S)


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:  # torn by a crash
        return None
    return event if isinstance(event, dict) else None


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
