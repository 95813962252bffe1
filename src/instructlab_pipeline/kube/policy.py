"""The admission policy: the API server itself refuses a wrong parameter, in the words of the command line.

Made from the parameter table. For each parameter the policy has a variable `<name>`, the fault of its text or '', and a
validation that wants it to be ''. A second policy warns where each value is valid and the whole is not what somebody
may think (`params/rules.py`). Both look at ConfigMaps of one name only.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from instructlab_pipeline.kube.cel import bind, first_fault, listed, quoted, sentence
from instructlab_pipeline.kube.names import CONFIGMAP
from instructlab_pipeline.kube.policy_kinds import faults_of
from instructlab_pipeline.kube.policy_rules import warnings
from instructlab_pipeline.kube.policy_uris import control_character, without_secrets
from instructlab_pipeline.params.layers import LONGEST_SHOWN, SECRET_PREFIXES
from instructlab_pipeline.params.table import ALIASES, PARAMETERS, Parameter

Manifest = Mapping[str, Any]

API = "admissionregistration.k8s.io/v1"
ADVICE = f"{CONFIGMAP}-advice"
ORIGIN = f"ConfigMap {CONFIGMAP}"
DATA = {"name": "data", "expression": "has(object.data) ? object.data : {}"}


def policy() -> Manifest:
    """Refuses what the command line refuses."""
    names = [*PARAMETERS, *ALIASES]
    variables = [DATA, *(variable for name in names for variable in _variables(name))]
    validations = [*_names(names), *(_value(name) for name in names), *map(_contradiction, ALIASES)]
    return _policy(CONFIGMAP, "Fail", variables, validations)


def advice() -> Manifest:
    """Warns of what the command line gives notice of."""
    variables = [DATA, *({"name": name, "expression": expression} for name, expression in warnings().items())]
    validations = [
        {"expression": f"variables.{name} == ''", "messageExpression": f"variables.{name}"} for name in warnings()
    ]
    return _policy(ADVICE, "Ignore", variables, validations)


def bindings() -> tuple[Manifest, Manifest]:
    return _binding(CONFIGMAP, "Deny"), _binding(ADVICE, "Warn")


def _policy(name: str, failure: str, variables: Sequence[Manifest], validations: Sequence[Manifest]) -> Manifest:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps"],
        "resourceNames": [CONFIGMAP],
        "scope": "Namespaced",
    }
    return {
        "apiVersion": API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": failure,
            "matchConstraints": {"resourceRules": [rule]},
            "variables": variables,
            "validations": validations,
        },
    }


def _binding(name: str, action: str) -> Manifest:
    return {
        "apiVersion": API,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": [action]},
    }


def _names(names: list[str]) -> Iterator[Manifest]:
    """No other keys. Nearest names are not told: CEL has no measure of likeness."""
    unknown = f"variables.data.filter(k, !(k in {listed(names)}))"
    secret = f"[{', '.join(f'k.startsWith({quoted(prefix)})' for prefix in SECRET_PREFIXES)}].exists(b, b)"
    why = f"({secret} ? {quoted(_KEPT_ELSEWHERE)} : '')"
    message = sentence("k", quoted(f" ({ORIGIN}) is not a parameter"), why)
    yield {"expression": f"{unknown}.size() == 0", "messageExpression": bind("k", f"{unknown}[0]", message)}
    binary = "!has(object.binaryData) || object.binaryData.size() == 0"
    yield {"expression": binary, "message": f"{ORIGIN} has binaryData; parameters are texts, in data"}


_KEPT_ELSEWHERE = ": it is read from the environment, and belongs into no file"


def _variables(name: str) -> Iterator[Manifest]:
    """The parameter's fault; where it is asked for in steps, each step but the last has a number."""
    parameter = _parameter(name)
    empty = "''" if parameter.may_be_unset or parameter.kind.empty_is_a_value else quoted("is empty")
    *before, last = faults_of(parameter.kind, "t")
    earlier = ""
    for number, step in enumerate([*before, last], start=1):
        known = [(f"{earlier} != ''", earlier)] if earlier else []
        fault = bind("t", f"variables.data[{quoted(name)}].trim()", first_fault(("t == ''", empty), otherwise=step))
        absent = (f"!({quoted(name)} in variables.data)", "''")
        own = name if step is last else f"{name}_{number}"
        yield {"name": own, "expression": first_fault(absent, *known, otherwise=fault)}
        earlier = f"variables.{own}"


def _value(name: str) -> Manifest:
    parameter = _parameter(name)
    message = sentence(
        quoted(f"{parameter.name}: "),
        _shown(name),
        quoted(f" ({_origin(name)}) "),
        f"variables.{name}",
        quoted(f"; valid: {parameter.kind.valid}"),
    )
    return {"expression": f"variables.{name} == ''", "messageExpression": message}


def _contradiction(alias: str) -> Manifest:
    """A parameter under both of its names, with two values."""
    name, data = ALIASES[alias], "variables.data"
    both = f"{quoted(alias)} in {data} && {quoted(name)} in {data}"
    message = sentence(
        quoted(f"{name}: "),
        _shown(alias),
        quoted(f" ({_origin(alias)}) contradicts "),
        _shown(name),
        quoted(f" ({_origin(name)}); valid: one of them"),
    )
    same = f"{data}[{quoted(alias)}].trim() == {data}[{quoted(name)}].trim()"
    return {"expression": f"!({both}) || {same}", "messageExpression": message}


def _shown(name: str) -> str:
    """The text in quotes, on one line, without secrets, and short enough to be read."""
    escapes = (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
    text = without_secrets(f"variables.data[{quoted(name)}]")
    escaped = "x" + "".join(f".replace({_escape(old)}, {_escape(new)})" for old, new in escapes)
    unprintable, _ = control_character("y")
    cut = f"'\"' + (y + ' ').substring(0, {LONGEST_SHOWN - 1}) + '…'"
    shown = f"(y.size() + 2 <= {LONGEST_SHOWN} ? '\"' + y + '\"' : {cut})"
    line = bind("y", escaped, f"({unprintable} ? '(not printable)' : {shown})")
    return bind("x", text, line)


def _escape(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + "'"


def _origin(name: str) -> str:
    return f"{ORIGIN} as {name}" if name in ALIASES else ORIGIN


def _parameter(name: str) -> Parameter:
    return PARAMETERS[ALIASES.get(name, name)]
