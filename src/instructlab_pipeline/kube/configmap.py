"""The parameters as the ConfigMap of the specification: what it holds, and what it gives."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from instructlab_pipeline.kube.names import CONFIGMAP, LABELS, NAMESPACE
from instructlab_pipeline.params.export import literals
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


def kustomization(texts: Mapping[str, str]) -> dict[str, Any]:
    """The excerpt for an overlay on `deploy/base`, as the specification has it."""
    return {"configMapGenerator": [{"name": CONFIGMAP, "behavior": "merge", "literals": literals(texts)}]}


def layer(data: Mapping[str, str], place: str) -> Layer:
    """What the `data` of a ConfigMap gives."""
    return Layer(place=place, given=[Given(name=name, text=text, origin=place) for name, text in data.items()])


def chosen(layer: Layer, profile: str) -> Layer:
    """A ConfigMap lists every parameter: what is empty in it, or is the profile's default, nobody chose.

    What is empty leaves the word to the places below it, such as the secret that holds the teacher's endpoint.
    """
    filled = [each for each in layer.given if each.text.strip() or not _may_be_left_open(each.name)]
    return replace(
        layer, given=[replace(each, explicit=not _is_default(each.name, each.text, profile)) for each in filled]
    )


def _follows(resolved: Resolved, name: str) -> bool:
    leader = PARAMETERS[name].follows
    return leader is not None and resolved.origins[name].startswith(f"{leader} (")


def _may_be_left_open(name: str) -> bool:
    parameter = PARAMETERS.get(name)
    return parameter is not None and (parameter.required or parameter.may_be_unset)


def _is_default(name: str, text: str, profile: str) -> bool:
    parameter = PARAMETERS.get(name)
    return parameter is not None and text.strip() == text_of(parameter.defaults[profile])
