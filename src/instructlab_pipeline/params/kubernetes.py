"""Rules for what Kubernetes reads: names, selectors, tolerations, resources.

Each rule returns what is wrong, worded to follow the value in a sentence, or None. They say what the API server would
say hours later, when a pod is created. Sources: the API reference of `v1.Toleration` and `v1.ResourceRequirements`,
RFC 1123 names, and the label syntax of `k8s.io/apimachinery/pkg/util/validation`.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from instructlab_pipeline.params.quantities import count_fault, cpu_fault, size_fault

SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LONGEST_SUBDOMAIN = 253
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
OPERATORS = ("Exists", "Equal")
TOLERATION_FIELDS = ("key", "operator", "value", "effect", "tolerationSeconds")
SIZED_RESOURCES = ("memory", "ephemeral-storage")


def name_fault(text: str) -> str | None:
    """An object's name: a secret, a storage class."""
    if len(text) > LONGEST_SUBDOMAIN:
        return f"is longer than {LONGEST_SUBDOMAIN} characters"
    return None if re.fullmatch(SUBDOMAIN, text) else "is not a Kubernetes name"


def extended_resource_fault(text: str) -> str | None:
    """A device's resource name: `nvidia.com/gpu`."""
    domain, slash, name = text.partition("/")
    if not slash:
        return "has no domain in front of the resource"
    if name_fault(domain) is not None:
        return f"has the domain {domain!r}, which is not a domain name in lower case"
    if domain == "kubernetes.io" or domain.endswith(".kubernetes.io"):
        return "is in a domain that Kubernetes keeps for itself"
    return None if re.fullmatch(LABEL, name) else f"has the resource {name!r}, which is not a resource name"


def node_selector_fault(text: str) -> str | None:
    return json_fault(text, _selector_fault)


def tolerations_fault(text: str) -> str | None:
    return json_fault(text, _tolerations_fault)


def worker_resources_fault(text: str) -> str | None:
    return json_fault(text, _resources_fault)


def json_fault(text: str, rule: Callable[[Any], str | None]) -> str | None:
    """What is wrong with `text` as JSON, else what `rule` finds wrong with its value."""
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except RecursionError:
        return "is nested too deeply"
    except ValueError as error:
        return f"is not JSON: {error}"
    return rule(value)


def _selector_fault(selector: Any) -> str | None:
    if not isinstance(selector, dict):
        return "is not a JSON object"
    for key, value in selector.items():
        if (fault := _label_key_fault(key)) is not None:
            return f"has the key {key!r}, which {fault}"
        if not isinstance(value, str):
            return f"has a value for {key} that is not a string: put it in double quotes"
        if not _is_label_value(value):
            return f"has the value {value!r} for {key}, which is not a label's value"
    return None


def _tolerations_fault(tolerations: Any) -> str | None:
    if isinstance(tolerations, dict):
        return "is one JSON object: put it in [ ]"
    if not isinstance(tolerations, list):
        return "is not a JSON array"
    faults = ((number, _toleration_fault(each)) for number, each in enumerate(tolerations, start=1))
    return next((f"has a toleration (number {number}) that {fault}" for number, fault in faults if fault), None)


def _toleration_fault(toleration: Any) -> str | None:
    if not isinstance(toleration, dict):
        return "is not a JSON object"
    if unknown := [name for name in toleration if name not in TOLERATION_FIELDS]:
        return f"has the field {unknown[0]!r}; a toleration has {_listed(TOLERATION_FIELDS)}"
    rules = (_key_fault, _operator_fault, _effect_fault, _seconds_fault)
    return next((fault for rule in rules if (fault := rule(toleration)) is not None), None)


def _key_fault(toleration: dict[str, Any]) -> str | None:
    key, value = toleration.get("key", ""), toleration.get("value", "")
    if not key:
        return None if toleration.get("operator") == "Exists" else "has no key, which only operator Exists allows"
    if (fault := _label_key_fault(key)) is not None:
        return f"has the key {key!r}, which {fault}"
    return None if isinstance(value, str) and _is_label_value(value) else f"has the value {value!r}, which no taint has"


def _operator_fault(toleration: dict[str, Any]) -> str | None:
    operator = toleration.get("operator", "Equal")
    if operator not in OPERATORS:
        return f"has the operator {operator!r}; there are {_listed(OPERATORS)}"
    return (
        "has a value, which operator Exists does not take" if operator == "Exists" and toleration.get("value") else None
    )


def _effect_fault(toleration: dict[str, Any]) -> str | None:
    effect = toleration.get("effect", EFFECTS[0])
    return None if effect in EFFECTS else f"has the effect {effect!r}; there are {_listed(EFFECTS)}"


def _seconds_fault(toleration: dict[str, Any]) -> str | None:
    seconds = toleration.get("tolerationSeconds", 0)
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        return f"has tolerationSeconds {seconds!r}, which is not an integer"
    if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
        return "has tolerationSeconds, which only effect NoExecute takes"
    return None


def _resources_fault(resources: Any) -> str | None:
    if not isinstance(resources, dict):
        return "is not a JSON object"
    for name, quantity in resources.items():
        if (fault := _resource_fault(name, quantity)) is not None:
            return fault
    return None


def _resource_fault(name: str, quantity: Any) -> str | None:
    if name in ("requests", "limits"):
        return f"has {name!r} in it: name the resources themselves, such as cpu and memory"
    rule = _quantity_rule(name)
    if rule is None:
        return (
            f"has the resource {name!r}; there are cpu, {_listed(SIZED_RESOURCES)}, and devices such as nvidia.com/gpu"
        )
    if isinstance(quantity, bool) or not isinstance(quantity, str | int | float):
        return f"has a value for {name} that is not a quantity"
    fault = rule(str(quantity))
    return f"has {quantity!r} for {name}, which {fault}" if fault else None


def _quantity_rule(name: str) -> Callable[[str], str | None] | None:
    if name == "cpu":
        return cpu_fault
    if name in SIZED_RESOURCES or name.startswith("hugepages-"):
        return size_fault
    return count_fault if extended_resource_fault(name) is None else None


def _label_key_fault(key: Any) -> str | None:
    if not isinstance(key, str):
        return "is not a string"
    prefix, slash, name = key.rpartition("/")
    if slash and name_fault(prefix) is not None:
        return "has no domain name before its slash"
    return None if re.fullmatch(LABEL, name) else "is not a label's key"


def _is_label_value(value: str) -> bool:
    return not value or re.fullmatch(LABEL, value) is not None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]!r} is there twice")
    return dict(pairs)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
