"""Hands a training stage to a job on the cluster, from within a step's pod or from anybody's machine."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.kube.connection import Cluster, connected
from instructlab_pipeline.kube.names import LABELS
from instructlab_pipeline.kube.placement import node_selector, tolerations, training_resources
from instructlab_pipeline.kube.pod_logs import Tell
from instructlab_pipeline.kube.training_job import Training
from instructlab_pipeline.kube.training_run import Patience, api_served, remove_jobs, run_job
from instructlab_pipeline.params.layers import Resolved

IMAGE_VARIABLE = "INSTRUCTLAB_PIPELINE_IMAGE"  # set in every pod of ours: workers run in the image of their step
RUN_LABEL, STAGE_LABEL = "instructlab-pipeline/run", "instructlab-pipeline/stage"
STAGES = ("train_phase_1", "train_phase_2")


def deputy_of(resolved: Resolved, run_dir: str, *, tell: Tell, patience: Patience) -> Callable[[str, str], None]:
    """What performs a stage, by name and key, as a job.

    Raises:
        UsageError: there is no cluster, it cannot run such jobs, or pods could not reach the run.
    """
    if not run_dir.startswith("s3://"):
        raise UsageError(f"pods cannot reach {run_dir}", remedy="give --run-dir as s3://bucket/prefix")
    cluster = connected()
    api = api_served(cluster, resolved.parameters.k8s_training_api)
    image = _image()

    def perform(name: str, key: str) -> None:
        making = Making(stage=name, run_dir=run_dir, key=key)
        training = training_of(resolved, making, image=image, cluster=cluster)
        run_job(training, api, cluster, tell=tell, patience=patience)

    return perform


@dataclass(frozen=True, kw_only=True)
class Making:
    """What a job makes. Its name is a digest of that: same run, same key, same job."""

    stage: str
    run_dir: str
    key: str

    @property
    def job_name(self) -> str:
        return f"{self.stage.replace('_', '-')}-{digest_of([self.run_dir, self.key])[:10]}"


def training_of(resolved: Resolved, making: Making, *, image: str, cluster: Cluster) -> Training:
    parameters = resolved.parameters
    return Training(
        name=making.job_name,
        namespace=cluster.namespace,
        labels={**LABELS, RUN_LABEL: _run_label(making.run_dir), STAGE_LABEL: making.stage},
        owner=owner_of(cluster, socket.gethostname()),
        image=image,
        command=("instructlab-pipeline", "stage", making.stage, "--run-dir", making.run_dir),
        secret=parameters.s3_secret,
        nodes=parameters.train_num_workers,
        gpus=parameters.train_gpus_per_worker,
        resources=training_resources(resolved.settings),
        node_selector=node_selector(parameters),
        tolerations=tolerations(parameters),
        storage_class=parameters.k8s_storage_class_name,
        storage_size=parameters.k8s_storage_size,
        deadline_s=parameters.k8s_training_hours * 3600,
    )


def clean(run_dir: str) -> list[str]:
    """Delete what training jobs the run has left; says which."""
    cluster = connected()
    return remove_jobs(cluster, cluster.namespace, f"{RUN_LABEL}={_run_label(run_dir)}")


def owner_of(cluster: Cluster, host: str) -> dict[str, Any] | None:
    """What takes a job along when it is deleted: the workflow of the step whose pod this is, else the pod itself.

    The workflow rather than its pod, so that a step that is started again finds its job. None outside of the cluster.
    """
    pod = cluster.find(f"/api/v1/namespaces/{cluster.namespace}/pods/{host}")
    if pod is None:
        return None
    owners: list[Mapping[str, Any]] = pod["metadata"].get("ownerReferences") or [
        {"apiVersion": "v1", "kind": "Pod", "name": host, "uid": pod["metadata"]["uid"]}
    ]
    return {name: owners[0][name] for name in ("apiVersion", "kind", "name", "uid")}


def _run_label(run_dir: str) -> str:
    return digest_of(run_dir.rstrip("/"))[:16]


def _image() -> str:
    image = os.environ.get(IMAGE_VARIABLE, "")
    if not image:
        raise UsageError(
            "which image the workers run in is not known", remedy=f"set {IMAGE_VARIABLE}, as `kube compile` does"
        )
    return image
