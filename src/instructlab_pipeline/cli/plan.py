"""`plan`: what `run` with the same words would do, reuse and cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from instructlab_pipeline.cli.options import ParameterCommand, parameter_options, resolved_options
from instructlab_pipeline.cli.run import default_folder, json_option, reported, require_what_is_needed
from instructlab_pipeline.events import Events, duration
from instructlab_pipeline.run_storage import open_storage

if TYPE_CHECKING:
    from instructlab_pipeline.plan import Foreseen


@click.command(cls=ParameterCommand)
@click.option(
    "--run-dir", metavar="PLACE", help="The run's folder, or s3://bucket/prefix. [default: runs/NAME-VERSION]"
)
@json_option
@parameter_options
def plan(run_dir: str | None, as_json: bool, **options: Any) -> None:
    """Say what `run` with the same words would do, reuse and cost.

    Leaves are read and sources are looked at, so what cannot be used shows here; no teacher is asked, nothing is made.
    """
    from instructlab_pipeline import plan as planning
    from instructlab_pipeline.pipeline import STAGE_NAMES, Workshop

    with reported(as_json=as_json) as report:
        resolved = resolved_options(options)
        require_what_is_needed(resolved.parameters, STAGE_NAMES)
        storage = open_storage(run_dir or default_folder(resolved.parameters))
        workshop = Workshop(storage=storage, parameters=resolved.parameters, events=Events())
        stages = planning.foresee(workshop)
        report.update(run=storage.place(), stages=planning.as_json(stages))
    if not as_json:
        click.echo(_in_words(storage.place(), stages))


def _in_words(place: str, stages: Sequence["Foreseen"]) -> str:
    lines = [f"{place}:"]
    for stage in stages:
        lines.append(f"  {stage.name:<14}{stage.action:<7}{stage.why}".rstrip())
        details = [stage.work] if stage.work else []
        if stage.action == "run" and stage.last_seconds is not None:
            details.append(f"took {duration(stage.last_seconds)} last time")
        lines += [f"  {'':<14}{'':<7}{detail}" for detail in details]
    return "\n".join(lines)
