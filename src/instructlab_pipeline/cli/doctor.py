"""`doctor`: every credential, endpoint, bucket and registry, asked before anything is spent."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from instructlab_pipeline.cli import progress
from instructlab_pipeline.cli.failures import print_json, told
from instructlab_pipeline.cli.options import ParameterCommand, parameter_options, resolved_options
from instructlab_pipeline.errors import SourceError, UsageError
from instructlab_pipeline.health import Check, Finding, WorthKnowing, examined
from instructlab_pipeline.params.layers import Resolved
from instructlab_pipeline.params.quantities import amount
from instructlab_pipeline.params.table import Parameters
from instructlab_pipeline.run_storage import S3

GIB = 1 << 30
MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("fail", "red")}


@click.command(cls=ParameterCommand)
@click.option("--cluster", is_flag=True, help="Look at the cluster of the current kubeconfig context too.")
@click.option("--run-dir", metavar="PLACE", default="runs", help="Where the run will live. [default: runs]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@parameter_options
def doctor(cluster: bool, run_dir: str, as_json: bool, **options: Any) -> None:
    """Ask everything that a run with these parameters needs; spend and change nothing.

    A line each: ok, warn or fail, with what to do. The exit code is that with which the run would end. With --cluster,
    endpoints, bucket and registry are asked with what its secrets hold, as far as you may read them.
    """
    with told(in_json=as_json), tempfile.TemporaryDirectory() as folder:
        resolved = resolved_options(options)
        if cluster:
            _take_what_pods_get(resolved.values, Path(folder))
            resolved = resolved_options(options)
        found = examined(
            [*_local_checks(resolved.parameters, run_dir), *(_cluster_checks(resolved) if cluster else ())]
        )
    if as_json:
        print_json({"checks": [_as_json(finding) for finding in found]})
    else:
        for finding in found:
            _print(finding)
    if first := next((finding.error for finding in found if finding.error), None):
        failed = [finding.name for finding in found if finding.status == "fail"]
        raise type(first)(
            f"{len(failed)} of {len(found)} checks failed: {', '.join(failed)}", remedy="see the lines above"
        )


def _take_what_pods_get(values: Mapping[str, Any], folder: Path) -> None:
    """The cluster's secrets into the environment; what a parameter says itself stays."""
    from instructlab_pipeline.kube.connection import connected
    from instructlab_pipeline.kube.secrets_live import opened

    for variable, text in opened(connected(), values, folder).items():
        if values.get(variable.lower()) is None:
            os.environ[variable] = text


def _local_checks(parameters: Parameters, run_dir: str) -> Iterator[tuple[str, Check]]:
    yield "git", _git
    yield "torch", _torch
    yield "gpu", _gpu
    yield "disk", lambda: _disk(parameters, run_dir)
    if run_dir.startswith(S3):
        yield "run folder", lambda: _bucket(run_dir)
    yield "base model", lambda: _base_model(parameters)
    yield "taxonomy", lambda: _taxonomy(parameters)
    yield "teacher", lambda: _endpoint(parameters, "teacher")
    yield "judge", lambda: _endpoint(parameters, "judge")
    yield "registry", lambda: _registry(parameters)


def _cluster_checks(resolved: Resolved) -> list[tuple[str, Callable[[], str]]]:
    from instructlab_pipeline.kube.checks import cluster_checks
    from instructlab_pipeline.kube.connection import connected

    return list(cluster_checks(connected(), resolved.parameters))


def _git() -> str:
    try:
        return subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise SourceError(f"git does not run: {error}", remedy="install git") from error


def _torch() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    except PackageNotFoundError as error:
        raise UsageError(
            f"{error.name} is not installed", remedy="pip install 'instructlab-pipeline[train]'"
        ) from error


def _gpu() -> str:
    from instructlab_pipeline.training.hardware import gpu_memory

    if memory := gpu_memory():
        return ", ".join(f"{size / GIB:.0f} GiB" for size in memory)
    raise WorthKnowing("no GPU here: training and evaluation will run on CPUs", remedy="fine for small models only")


def _disk(parameters: Parameters, run_dir: str) -> str:
    from instructlab_pipeline.bucket_storage import scratch

    folder = scratch() if run_dir.startswith(S3) else Path(run_dir).absolute()
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(nearest, os.W_OK):
        raise UsageError(f"this process may not write in {nearest}", remedy="choose another folder with --run-dir")
    free, wanted = shutil.disk_usage(nearest).free, amount(parameters.k8s_storage_size) or 0
    told_free = f"{free / GIB:.1f} GiB free in {nearest}"
    if free < wanted:
        raise WorthKnowing(
            f"{told_free}, less than k8s_storage_size asks for", remedy="free some, or choose a --run-dir"
        )
    return told_free


def _bucket(run_dir: str) -> str:
    from instructlab_pipeline.s3.remote import RemoteFolder

    remote = RemoteFolder.open(run_dir, named_by="--run-dir")
    name = "doctor"
    is_first = remote.create(name, b"is here")
    is_conditional = not remote.create(name, b"is here")
    remote.delete([name])
    if not is_first or is_conditional:
        return f"{remote.uri} can be written, and only one process at a time performs a stage"
    raise WorthKnowing(
        f"the server of {remote.uri} ignores If-None-Match: two processes could perform a stage at once",
        remedy="start each run once only",
    )


def _base_model(parameters: Parameters) -> str:
    from instructlab_pipeline.model.stage import ModelInputs, listed_size
    from instructlab_pipeline.modelcar.source import schemes_of

    inputs = ModelInputs(
        sdg_base_model=parameters.sdg_base_model, output_registry_insecure=parameters.output_registry_insecure
    )
    size = listed_size(inputs.sdg_base_model, schemes_of(inputs))
    return f"{inputs.sdg_base_model} is complete, {progress.amount(size, 'B')}"


def _taxonomy(parameters: Parameters) -> str:
    from instructlab_pipeline.taxonomy.stage import fingerprint

    return f"{parameters.sdg_repo_url} at {fingerprint(parameters.sdg_repo_url, parameters.sdg_repo_revision)[:12]}"


def _endpoint(parameters: Parameters, role: str) -> str:
    from instructlab_pipeline.sdg.teachers import Address, contact, require_teacher

    teacher = require_teacher(parameters.sdg_teacher_endpoint)
    own = parameters.sdg_judge_endpoint if role == "judge" else teacher
    models = {"judge": parameters.sdg_judge_model, "teacher": parameters.sdg_teacher_model}
    model = models[role] or (None if own and own != teacher else parameters.sdg_teacher_model)
    return f"{own or teacher} serves {contact(Address(role=role, endpoint=own or teacher, model=model))}"


def _registry(parameters: Parameters) -> str:
    from instructlab_pipeline.publish.check import check_destination

    notices = check_destination(
        parameters.output_oci_model_uri,
        version=parameters.output_model_version,
        insecure=parameters.output_registry_insecure,
    )
    if notices:
        raise WorthKnowing("; ".join(notices), remedy="choose another output_model_version, if it is to be kept")
    return f"{parameters.output_oci_model_uri} can be written"


def _print(finding: Finding) -> None:
    mark, color = MARKS[finding.status]
    click.echo(f"{click.style(mark, fg=color)}  {finding.name:<20}{finding.told}")
    if finding.remedy:
        click.echo(f"      {'':<20}what to do: {finding.remedy}")


def _as_json(finding: Finding) -> dict[str, str]:
    return {"name": finding.name, "status": finding.status, "told": finding.told, "remedy": finding.remedy}
