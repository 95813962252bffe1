"""Where pods may run and what they may take, from the parameters."""

import json
from typing import Any

from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.rules import Settings
from instructlab_pipeline.params.table import Parameters


def step_placement(parameters: Parameters) -> dict[str, Any]:
    """For the steps of the pipeline, as `components.prepare` hands it to Kubeflow."""
    resources = _resources(parameters.k8s_worker_resources)
    return {
        "cpu": resources.get("cpu", str(parameters.train_cpu_limit)),
        "memory": resources.get("memory", parameters.train_memory_per_worker),
        "gpu_type": parameters.train_gpu_identifier,
        "gpus": str(parameters.train_gpus_per_worker),
        "node_selector": node_selector(parameters),
        "tolerations": tolerations(parameters),
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


def _resources(text: str) -> dict[str, str]:
    return {name: str(quantity) for name, quantity in json.loads(text).items()}
