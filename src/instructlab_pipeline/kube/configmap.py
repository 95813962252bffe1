"""The parameters as the ConfigMap of the specification: what it holds, and what it gives."""

from collections.abc import Mapping
from typing import Any

from instructlab_pipeline.kube.names import CONFIGMAP, LABELS, NAMESPACE
from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.layers import Resolved
from instructlab_pipeline.params.places import Given, Layer
from instructlab_pipeline.params.table import PARAMETERS


def texts_of(resolved: Resolved) -> dict[str, str]:
    """Every parameter as text; empty where it is missing, unset, or follows another one."""
    return {name: "" if _follows(resolved, name) else text_of(value) for name, value in resolved.values.items()}


def manifest(texts: Mapping[str, str], *, namespace: str = NAMESPACE) -> dict[str, Any]:
    metadata = {"name": CONFIGMAP, "namespace": namespace, "labels": dict(LABELS)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(texts)}


def layer(data: Mapping[str, str], place: str, profile: str) -> Layer:
    """What a ConfigMap's `data` gives. It lists every parameter, so what is the profile's default was not chosen."""
    given = [
        Given(name=name, text=text, origin=place, explicit=not _is_default(name, text, profile))
        for name, text in data.items()
    ]
    return Layer(place=place, given=given)


def _follows(resolved: Resolved, name: str) -> bool:
    leader = PARAMETERS[name].follows
    return leader is not None and resolved.origins[name].startswith(f"{leader} (")


def _is_default(name: str, text: str, profile: str) -> bool:
    parameter = PARAMETERS.get(name)
    return parameter is not None and text.strip() == text_of(parameter.defaults[profile])
