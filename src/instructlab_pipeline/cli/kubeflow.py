"""`kube compile`, `submit`, `status`, `logs`; `prepare`, `notify`, `clean` are what the first and the last step do."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from instructlab_pipeline import __version__
from instructlab_pipeline.cli.failures import print_json, told
from instructlab_pipeline.cli.options import ParameterCommand, parameter_options, resolved_options
from instructlab_pipeline.errors import ParameterError, UsageError
from instructlab_pipeline.kube.names import IMAGE
from instructlab_pipeline.params.files import YAML_SUFFIXES
from instructlab_pipeline.params.layers import Resolved, resolve_layers
from instructlab_pipeline.params.places import Layer, environment_layer
from instructlab_pipeline.params.table import PARAMETERS

SECRETS_OF_INPUTS = ("s3_secret", "sdg_teacher_secret", "eval_judge_secret", "notify_webhook_secret")
MAIN = "main"  # the container of a step's pod in which the step runs
IMAGE_OF_THIS_VERSION = f"{IMAGE}:{__version__}"


endpoint_option = click.option(
    "--endpoint",
    metavar="URL",
    envvar="KF_PIPELINES_ENDPOINT",
    required=True,
    help="Where Kubeflow Pipelines is. A token for it comes from KFP_TOKEN. [env: KF_PIPELINES_ENDPOINT]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


@click.command(cls=ParameterCommand, name="compile", short_help="Write the package for Kubeflow Pipelines.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The package, a YAML file.")
@click.option("--image", default=IMAGE_OF_THIS_VERSION, show_default=True, help="The image in which the steps run.")
@parameter_options
def compile_(output: Path, image: str, **options: Any) -> None:
    """Write the package for Kubeflow Pipelines, with these parameters as the defaults of its inputs.

    Parameters that must be given may be left open: a run of the pipeline asks for them.
    """
    from instructlab_pipeline.kube.package import Package, compiled

    resolved = resolved_options(options)
    if resolved.faults:
        raise ParameterError(resolved.faults)
    if output.suffix not in YAML_SUFFIXES:
        raise UsageError(f"{output} is no name for a package", remedy="give --output as a YAML file: pipeline.yaml")
    _tell_what_is_left_out(resolved)
    compiled(Package(resolved=resolved, image=image), output)
    click.echo(output)


@click.command(cls=ParameterCommand, short_help="Compile, upload and start a run.")
@click.option("--run-dir", metavar="PLACE", required=True, help="Where the run lives, as s3://bucket/prefix.")
@endpoint_option
@click.option("--experiment", default="instructlab-pipeline", show_default=True, help="Kubeflow's folder for runs.")
@click.option("--image", default=IMAGE_OF_THIS_VERSION, show_default=True, help="The image in which the steps run.")
@json_option
@parameter_options
def submit(run_dir: str, endpoint: str, experiment: str, image: str, as_json: bool, **options: Any) -> None:
    """Check the parameters, upload the package that is compiled for them, and start a run of it."""
    from instructlab_pipeline.kube import inputs as pipeline_inputs
    from instructlab_pipeline.kube.package import Package, compiled
    from instructlab_pipeline.kube.pipelines_api import pipelines_at
    from instructlab_pipeline.s3.remote import RemoteFolder

    with told(in_json=as_json), tempfile.TemporaryDirectory() as folder:
        resolved = resolved_options(options)
        parameters = resolved.parameters
        _tell_what_is_left_out(resolved)
        remote = RemoteFolder.open(run_dir, named_by="--run-dir")
        package = Path(folder) / "package.yaml"
        compiled(Package(resolved=resolved, image=image), package)
        pipelines = pipelines_at(endpoint)
        values = {**pipeline_inputs.arguments(resolved), pipeline_inputs.RUN_DIR: remote.uri}
        name = f"{parameters.output_model_name} {parameters.output_model_version}"
        run_id = pipelines.start(package, values, name=name, experiment=experiment)
    if as_json:
        print_json({"run": run_id, "run_dir": remote.uri, "link": pipelines.link(run_id)})
    else:
        click.echo(f"run {run_id}\n{pipelines.link(run_id)}")


@click.command(short_help="Show how far a run is.")
@click.argument("run", metavar="RUN_ID")
@endpoint_option
@json_option
def status(run: str, endpoint: str, as_json: bool) -> None:
    """Show how far a run on Kubeflow is; `instructlab-pipeline status s3://...` says more of its stages."""
    from instructlab_pipeline.kube.pipelines_api import pipelines_at

    with told(in_json=as_json):
        state = pipelines_at(endpoint).state(run)
    if as_json:
        print_json(state)
        return
    click.echo(f"{state['name']}: {state['state']}" + (f": {state['error']}" if state["error"] else ""))
    for task in state["tasks"]:
        click.echo(f"  {task['name']:<16}{task['state']}")
    click.echo(state["link"])


@click.command(short_help="Print what the pods of a run printed.")
@click.argument("run", metavar="RUN_ID")
@click.option("--follow", "-f", is_flag=True, help="Go on, also with pods to come, until none has worked for a minute.")
def logs(run: str, follow: bool) -> None:
    """Print what the pods of a run on Kubeflow printed, and its training jobs through them."""
    from instructlab_pipeline.kube.connection import connected
    from instructlab_pipeline.kube.pipelines_api import RUN_LABEL
    from instructlab_pipeline.kube.pod_logs import follow_pods
    from instructlab_pipeline.kube.watching import Collection

    cluster = connected()
    place, selector = f"/api/v1/namespaces/{cluster.namespace}/pods", f"{RUN_LABEL}={run}"
    pods = cluster.list(place, labelSelector=selector)
    if not pods:
        raise UsageError(
            f"there are no pods of run {run} in {cluster.namespace}", remedy="check the id, and `oc project`"
        )
    if follow:
        watched = Collection(path=place, selectors={"labelSelector": selector})
        follow_pods(cluster, watched, click.echo, container=MAIN)
        return
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        name = pod["metadata"]["name"]
        for line in cluster.lines(f"{place}/{name}/log?container={MAIN}"):
            click.echo(f"[{name}] {line}")


@click.command(short_help="Record the parameters: the first step.")
@click.option("--run-dir", metavar="PLACE", required=True, help="Where the run lives.")
@click.option("--profile", required=True, help="The profile that the package was compiled for.")
@click.option("--scratch", required=True, help="Class and size of the volumes that were compiled in.")
@click.option("--params-configmap", metavar="NAME", default="", help="The ConfigMap under the inputs; empty for none.")
@click.option("--inputs", type=click.Path(path_type=Path), required=True, help="The inputs' values, a JSON file.")
def prepare(run_dir: str, profile: str, scratch: str, params_configmap: str, inputs: Path) -> None:
    """Check the parameters of a pipeline's run and record them: what its first step does."""
    from instructlab_pipeline.cli.run import require_what_is_needed
    from instructlab_pipeline.kube import inputs as pipeline_inputs
    from instructlab_pipeline.kube.placement import step_placement
    from instructlab_pipeline.pipeline import STAGE_NAMES
    from instructlab_pipeline.run_storage import open_storage

    values = json.loads(inputs.read_text())
    layers = [
        environment_layer(os.environ),
        *_configmap_layers(params_configmap, profile),
        pipeline_inputs.layer(values, profile),
    ]
    resolved = resolve_layers(profile, layers)
    _refuse_other_scratch(resolved, scratch)
    _refuse_other_secrets(resolved, values)
    parameters = resolved.parameters
    require_what_is_needed(parameters, STAGE_NAMES)
    open_storage(run_dir).write_record(resolved.as_json())
    for notice in resolved.notices:
        click.echo(f"note: {notice}", err=True)
    print_json(step_placement(resolved))


@click.command(short_help="Delete training jobs left over: a last step.")
@click.option("--run-dir", metavar="PLACE", required=True, help="Where the run lives.")
def clean(run_dir: str) -> None:
    """Delete the training jobs that a run has left on the cluster: what a pipeline's last step does."""
    from instructlab_pipeline.kube import deputy

    for name in deputy.clean(run_dir):
        click.echo(f"deleted {name}")


@click.command(cls=ParameterCommand, short_help="Tell the webhook how it ended: a last step.")
@click.option("--run-dir", metavar="PLACE", required=True, help="Where the run lives.")
@click.option("--state", required=True, help="How Kubeflow says that the run ended.")
@parameter_options
def notify(run_dir: str, state: str, **options: Any) -> None:
    """Tell the webhook how a pipeline's run ended: what its last step does. Without a webhook, nobody is told."""
    from instructlab_pipeline.cli.notification import tell_end

    resolved = resolved_options(options)
    for fault in resolved.faults:
        click.echo(f"note: {fault}", err=True)
    if url := resolved.values["notify_webhook_url"]:
        tell_end(str(url), run_dir, state)


def _tell_what_is_left_out(resolved: Resolved) -> None:
    for name, value in resolved.values.items():
        if value and PARAMETERS[name].kind.conceals:
            secret = f"the secret {resolved.values['notify_webhook_secret']}"
            click.echo(
                f"note: {name} is left out, as Kubeflow shows inputs to everybody: put it into {secret}", err=True
            )


def _configmap_layers(name: str, profile: str) -> list[Layer]:
    if not name:
        return []
    from instructlab_pipeline.cli.configmap import configmap_layer

    return [configmap_layer(name, profile)]


def _refuse_other_scratch(resolved: Resolved, scratch: str) -> None:
    """Nobody shall believe that a volume has another class or size than the package gives it."""
    values = resolved.values
    asked = f"{values['k8s_storage_class_name']} {values['k8s_storage_size']}"
    if asked != scratch:
        fault = f"k8s_storage_class_name and k8s_storage_size: {asked} is not what the package was compiled for"
        remedy = f"{scratch}, or another package, which `instructlab-pipeline kube compile` makes"
        raise ParameterError([f"{fault}, and Kubeflow cannot change it when a run starts; valid: {remedy}"])


def _refuse_other_secrets(resolved: Resolved, inputs: Mapping[str, Any]) -> None:
    """Those that the first and the last step need are known by the pipeline's inputs alone."""
    faults = [
        f"{name}: {value} ({resolved.origins[name]}) is not what the pipeline's input of that name says, by which the "
        f"first step has its secrets; valid: {inputs[name]}, or the same name in both places"
        for name, value in resolved.values.items()
        if name in SECRETS_OF_INPUTS and name in inputs and inputs[name] != value
    ]
    if faults:
        raise ParameterError(faults)
