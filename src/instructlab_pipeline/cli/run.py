"""`run` and `stage`: the pipeline from the command line."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from instructlab_pipeline.cli import failures
from instructlab_pipeline.cli.notification import notified
from instructlab_pipeline.cli.options import ParameterCommand, parameter_options, resolved_options
from instructlab_pipeline.errors import GateError, PipelineError, UsageError
from instructlab_pipeline.params.layers import Resolved
from instructlab_pipeline.params.table import Parameters
from instructlab_pipeline.run_storage import RunStorage, open_storage

if TYPE_CHECKING:
    from instructlab_pipeline.pipeline import Workshop

RUNS = Path("runs")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout at the end.")


@click.command(cls=ParameterCommand)
@click.option(
    "--run-dir", metavar="PLACE", help="The run's folder, or s3://bucket/prefix. [default: runs/NAME-VERSION]"
)
@click.option("--until", metavar="STAGE", default="publish", help="The last stage to perform. [default: publish]")
@json_option
@parameter_options
def run(run_dir: str | None, until: str, as_json: bool, **options: Any) -> None:
    """Take a taxonomy and a base model to a tuned, evaluated, published model.

    Run the same command again and it goes on where it stopped: what is finished and unchanged is reused.
    """
    from instructlab_pipeline.cli.summary import in_words
    from instructlab_pipeline.pipeline import STAGE_NAMES

    with reported(as_json=as_json) as report:
        _refuse_unknown_stage(until)
        resolved = resolved_options(options)
        require_what_is_needed(resolved.parameters, STAGE_NAMES[: STAGE_NAMES.index(until) + 1])
        storage = open_storage(run_dir or default_folder(resolved.parameters))
        with notified(resolved.parameters.notify_webhook_url, storage.place(), report):
            try:
                _run_stages(storage, resolved, until, report)
                _require_pass(report)
            except GateError:
                _say(in_words(report), as_json=as_json)
                raise
            _say(in_words(report), as_json=as_json)


@click.command(cls=ParameterCommand)
@click.argument("name", metavar="NAME")
@click.option("--run-dir", metavar="PLACE", required=True, help="The run's folder, or s3://bucket/prefix.")
@click.option("--as-job", is_flag=True, help="Train in a job of the cluster, as k8s_training_api says.")
@json_option
@parameter_options
def stage(name: str, run_dir: str, as_job: bool, as_json: bool, **options: Any) -> None:
    """Perform the stage NAME of the run in --run-dir, on what the stages before it have sealed there.

    Parameters that parameter files, the environment and the command line leave open are those that the run recorded.
    """
    from instructlab_pipeline import pipeline

    with reported(as_json=as_json) as report:
        _refuse_unknown_stage(name)
        storage = open_storage(run_dir)
        record = storage.record()
        if not record:
            click.echo(f"note: there is no run in {storage.place()} yet", err=True)
        resolved = resolved_options(options, recorded=record.get("parameters"))
        require_what_is_needed(resolved.parameters, [name])
        with workshop(storage, resolved) as own:
            place = replace(own, deputy=_deputy(resolved, name, run_dir)) if as_job else own
            report.update(pipeline.as_json(pipeline.run_one(place, name)))
        _say(f"{name}: {report['status']}, in {storage.place(name)}", as_json=as_json)


def _deputy(resolved: Resolved, name: str, run_dir: str) -> Callable[[str, str], None] | None:
    """The job that trains, unless the parameters want training in this very process."""
    from instructlab_pipeline.kube import deputy
    from instructlab_pipeline.kube.training_run import Patience

    if name not in deputy.STAGES:
        raise UsageError(f"{name} is no stage that trains", remedy=f"leave --as-job out; {deputy.STAGES} know it")
    if resolved.parameters.k8s_training_api == "none":
        return None
    return deputy.deputy_of(resolved, run_dir, tell=partial(click.echo, err=True), patience=Patience())


@contextmanager
def reported(*, as_json: bool) -> Iterator[dict[str, Any]]:
    """A report to fill, printed as JSON when that was asked for, whether the work ends well or not."""
    report: dict[str, Any] = {}
    try:
        yield report
    except (Exception, KeyboardInterrupt) as error:
        report["error"] = failures.as_json(error)
        raise
    finally:
        if as_json:
            failures.print_json(report)


@contextmanager
def workshop(storage: RunStorage, resolved: Resolved) -> Iterator["Workshop"]:
    """The run, held, with its record written and its events shown; its page is written at the end."""
    from instructlab_pipeline.cli.progress import shown_progress
    from instructlab_pipeline.cli.report import write_report
    from instructlab_pipeline.events import Events
    from instructlab_pipeline.pipeline import Workshop

    parameters = resolved.parameters
    with storage.held(), shown_progress() as listener:
        _refuse_what_is_no_run(storage)
        storage.write_record(resolved.as_json())
        events = Events(path=storage.events_path, listeners=[listener])
        for notice in resolved.notices:
            events.point("notice", message=notice)
        try:
            yield Workshop(storage=storage, parameters=parameters, events=events)
        finally:
            with suppress(OSError, PipelineError):  # whatever ended the run is what the user must hear of
                storage.keep_report(write_report(storage.view(), storage.folder.report_path))


def _refuse_what_is_no_run(storage: RunStorage) -> None:
    """A stage clears its folder: one that somebody else has filled must never be taken for it."""
    from instructlab_pipeline.pipeline import STAGE_NAMES

    if storage.record():
        return
    strange = [name for name in STAGE_NAMES if storage.is_strange(name)]
    if strange:
        raise UsageError(
            f"{storage.place()} is not the folder of a run, and what lies there in {', '.join(strange)} would be lost",
            remedy="choose a new or an empty folder with --run-dir",
        )


def _run_stages(storage: RunStorage, resolved: Resolved, until: str, report: dict[str, Any]) -> None:
    """Perform the stages; the report holds those that were finished, also when a later one fails."""
    from instructlab_pipeline import pipeline
    from instructlab_pipeline.cli.summary import outcome

    results: list[pipeline.StageResult] = []
    try:
        with workshop(storage, resolved) as place:
            if until == "publish":
                with place.events.watched("publish"):
                    _check_destination(place)
            for result in pipeline.run(place, until=until):
                results.append(result)  # noqa: PERF402 - what was finished counts when a later stage fails
    finally:
        report.update(
            run=storage.place(),
            report=storage.place(storage.folder.report_path.name),
            stages=list(map(pipeline.as_json, results)),
            **outcome(results),
        )


def _check_destination(place: "Workshop") -> None:
    """Try key and registry now, which would fail hours later; a run that has published is left in peace."""
    from instructlab_pipeline.publish.check import check_destination
    from instructlab_pipeline.publish.stage import require_signing_key

    if place.storage.sealed("publish") is not None:
        return
    parameters = place.parameters
    require_signing_key(parameters.output_signing_key)
    found = check_destination(
        parameters.output_oci_model_uri,
        version=None if parameters.output_overwrite_version else parameters.output_model_version,
        insecure=parameters.output_registry_insecure,
    )
    for notice in found:
        place.events.point("notice", message=notice)


def _require_pass(report: Mapping[str, Any]) -> None:
    """A run that ends with the evaluation ends as one that would have published."""
    evaluation = report.get("evaluation", {})
    if evaluation.get("verdict") == "fail":
        raise GateError(
            f"the quality gate said no: {'; '.join(evaluation['reasons'])}",
            remedy=f"look at {report['answers']}; more documents, seed examples or epochs may help",
        )


def _refuse_unknown_stage(name: str) -> None:
    from instructlab_pipeline.pipeline import STAGE_NAMES

    if name not in STAGE_NAMES:
        raise UsageError(f"there is no stage {name!r}", remedy=f"the stages, in order: {', '.join(STAGE_NAMES)}")


def require_what_is_needed(parameters: Parameters, stages: Sequence[str]) -> None:
    """Refuse now what would fail later, before anything is spent."""
    from instructlab_pipeline.evaluation.evaluable import require_evaluable
    from instructlab_pipeline.publish.stage import require_destination
    from instructlab_pipeline.sdg.flows import chosen_flows
    from instructlab_pipeline.sdg.teachers import require_teacher

    if "sdg" in stages:
        require_teacher(parameters.sdg_teacher_endpoint)
        chosen_flows(parameters.sdg_flows)
    if "eval_final" in stages:
        require_evaluable(parameters)
    if "publish" in stages:
        require_destination(parameters.output_oci_model_uri, parameters.output_model_registry_url)


def default_folder(parameters: Parameters) -> Path:
    return RUNS / f"{parameters.output_model_name}-{parameters.output_model_version}"


def _say(text: str, *, as_json: bool) -> None:
    if not as_json:
        click.echo(text)
