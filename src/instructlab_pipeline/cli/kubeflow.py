"""`kube compile`, `prepare` and `clean`: the package for Kubeflow, and what its first and its last step do."""

import json
import os
from pathlib import Path
from typing import Any

import click

from instructlab_pipeline import __version__
from instructlab_pipeline.cli.failures import print_json
from instructlab_pipeline.cli.options import ParameterCommand, parameter_options, resolved_options
from instructlab_pipeline.errors import ParameterError
from instructlab_pipeline.kube.names import IMAGE
from instructlab_pipeline.params.layers import Resolved, resolve_layers
from instructlab_pipeline.params.places import Layer, environment_layer

IMAGE_OF_THIS_VERSION = f"{IMAGE}:{__version__}"


@click.command(cls=ParameterCommand, name="compile")
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
    compiled(Package(resolved=resolved, image=image), output)
    click.echo(output)


@click.command()
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

    layers = [
        environment_layer(os.environ),
        *_configmap_layers(params_configmap, profile),
        pipeline_inputs.layer(json.loads(inputs.read_text()), profile),
    ]
    resolved = resolve_layers(profile, layers)
    _refuse_other_scratch(resolved, scratch)
    parameters = resolved.parameters
    require_what_is_needed(parameters, STAGE_NAMES)
    open_storage(run_dir).write_record(resolved.as_json())
    for notice in resolved.notices:
        click.echo(f"note: {notice}", err=True)
    print_json(step_placement(parameters))


@click.command()
@click.option("--run-dir", metavar="PLACE", required=True, help="Where the run lives.")
def clean(run_dir: str) -> None:
    """Delete the training jobs that a run has left on the cluster: what a pipeline's last step does."""
    from instructlab_pipeline.kube import deputy

    for name in deputy.clean(run_dir):
        click.echo(f"deleted {name}")


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
