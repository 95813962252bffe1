"""Where pods may run and what they may take, from the parameters."""

import json
from decimal import Decimal
from typing import Any

from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.layers import Resolved
from instructlab_pipeline.params.quantities import amount
from instructlab_pipeline.params.rules import Settings
from instructlab_pipeline.params.table import Parameters

# What the first step decides for the others; those that it needs itself are inputs of the pipeline.
SECRETS_OF_STEPS = ("output_oci_registry_secret", "output_signing_secret", "sdg_repo_secret")
# Of a step that only follows its training job.
WATCHER = {"training_cpu": "1", "training_memory": "4Gi", "training_gpus": "0"}


def step_placement(resolved: Resolved) -> dict[str, Any]:
    """For the steps of the pipeline, as `components.prepare` hands it to Kubeflow."""
    parameters = resolved.parameters
    resources = _resources(parameters.k8s_worker_resources)
    trains_itself = parameters.k8s_training_api == "none"
    return {
        **{name: resolved.values[name] for name in SECRETS_OF_STEPS},
        **(_training_step(resolved) if trains_itself else WATCHER),
        "cpu": resources.get("cpu", str(parameters.train_cpu_limit)),
        "memory": resources.get("memory", parameters.train_memory_per_worker),
        "gpu_type": parameters.train_gpu_identifier,
        "gpus": str(parameters.train_gpus_per_worker),
        "node_selector": node_selector(parameters),
        "tolerations": tolerations(parameters),
    }


def _training_step(resolved: Resolved) -> dict[str, str]:
    """Of a step that trains by itself: all workers are in its one pod, each on a GPU where GPUs are wanted."""
    workers, gpus = resolved.parameters.train_num_workers, resolved.parameters.train_gpus_per_worker
    each = training_resources(resolved.settings)
    return {
        "training_cpu": _times(workers, each["cpu"]),
        "training_memory": _times(workers, each["memory"]),
        "training_gpus": str(workers if gpus else 0),
    }


def training_resources(settings: Settings) -> dict[str, str]:
    """Of one training pod: those of every worker, in which the training's own count where somebody gave them."""
    resources = _resources(str(settings["k8s_worker_resources"].value))
    for name, resource in (("train_cpu_limit", "cpu"), ("train_memory_per_worker", "memory")):
        if settings[name].explicit or resource not in resources:
            resources[resource] = text_of(settings[name].value)
    gpu, gpus = (settings[name].value for name in ("train_gpu_identifier", "train_gpus_per_worker"))
    devices = {str(gpu): str(gpus)} if gpus else {}
    return {name: quantity for name, quantity in resources.items() if name != gpu} | devices


def node_selector(parameters: Parameters) -> dict[str, str]:
    return dict(json.loads(parameters.k8s_node_selector or "{}"))


def tolerations(parameters: Parameters) -> list[dict[str, Any]]:
    return list(json.loads(parameters.k8s_tolerations or "[]"))


def _times(count: int, quantity: str) -> str:
    return f"{(count * (amount(quantity) or Decimal(0))).normalize():f}"


def _resources(text: str) -> dict[str, str]:
    return {name: str(quantity) for name, quantity in json.loads(text).items()}
