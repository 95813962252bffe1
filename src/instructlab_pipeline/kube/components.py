"""The steps of the Kubeflow pipeline: one small component a stage, one before them, one at the end.

Kubeflow ships the text of each function to its pod, so all that they do is call `step`, which is in the image. Their
annotations are read when the package is compiled: no `from __future__ import annotations` here.
"""

from functools import partial
from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Metrics, Model, Output, PipelineTaskFinalStatus

from instructlab_pipeline.kube.names import IMAGE

component = partial(dsl.component, base_image=IMAGE, install_kfp_package=False)


@component
def prepare(run_dir: str, profile: str, scratch: str, params_configmap: str) -> NamedTuple(  # type: ignore[valid-type]
    "Prepared",
    [
        ("cpu", str),
        ("memory", str),
        ("gpu_type", str),
        ("gpus", str),
        ("training_cpu", str),
        ("training_memory", str),
        ("training_gpus", str),
        ("output_oci_registry_secret", str),
        ("output_signing_secret", str),
        ("sdg_repo_secret", str),
        ("node_selector", dict),
        ("tolerations", list),
    ],
):
    from instructlab_pipeline.cli import step

    return step.prepare(run_dir, profile=profile, scratch=scratch, params_configmap=params_configmap)


@component
def model(run_dir: str, pipeline_run: str, model: Output[Model]) -> None:
    from instructlab_pipeline.cli import step

    step.perform("model", run_dir, pipeline_run, artifact=model)


@component
def taxonomy(run_dir: str, pipeline_run: str, leaves: Output[Artifact], metrics: Output[Metrics]) -> None:
    from instructlab_pipeline.cli import step

    step.perform("taxonomy", run_dir, pipeline_run, artifact=leaves, metrics=metrics)


@component
def sdg(run_dir: str, pipeline_run: str, samples: Output[Dataset], metrics: Output[Metrics]) -> None:
    from instructlab_pipeline.cli import step

    step.perform("sdg", run_dir, pipeline_run, artifact=samples, metrics=metrics)


@component
def dataset(run_dir: str, pipeline_run: str, dataset: Output[Dataset], metrics: Output[Metrics]) -> None:
    from instructlab_pipeline.cli import step

    step.perform("dataset", run_dir, pipeline_run, artifact=dataset, metrics=metrics)


@component
def train_phase_1(run_dir: str, pipeline_run: str, model: Output[Model], metrics: Output[Metrics]) -> None:
    from instructlab_pipeline.cli import step

    step.perform("train_phase_1", run_dir, pipeline_run, artifact=model, metrics=metrics)


@component
def eval_phase_1(run_dir: str, pipeline_run: str, metrics: Output[Metrics], report: Output[HTML]) -> None:
    from instructlab_pipeline.cli import step

    step.perform("eval_phase_1", run_dir, pipeline_run, metrics=metrics, report=report)


@component
def train_phase_2(run_dir: str, pipeline_run: str, model: Output[Model], metrics: Output[Metrics]) -> None:
    from instructlab_pipeline.cli import step

    step.perform("train_phase_2", run_dir, pipeline_run, artifact=model, metrics=metrics)


@component
def eval_final(run_dir: str, pipeline_run: str, metrics: Output[Metrics], report: Output[HTML]) -> None:
    from instructlab_pipeline.cli import step

    step.perform("eval_final", run_dir, pipeline_run, metrics=metrics, report=report)


@component
def publish(run_dir: str, pipeline_run: str) -> NamedTuple("Published", [("reference", str), ("digest", str)]):  # type: ignore[valid-type]
    from instructlab_pipeline.cli import step

    return step.published(step.perform("publish", run_dir, pipeline_run))


@component
def finish(
    run_dir: str,
    params_configmap: str,
    notify_webhook_url: str,
    status: PipelineTaskFinalStatus,
    report: Output[HTML],
) -> None:
    from instructlab_pipeline.cli import step

    step.tell_end(run_dir, status.state, webhook=notify_webhook_url, params_configmap=params_configmap)
    step.finish(run_dir, state=status.state, report=report)
