"""The parameters as inputs of the Kubeflow pipeline, and back: typed, with defaults and descriptions from the table."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter as Argument
from inspect import Signature
from typing import Any

from instructlab_pipeline.kube.names import CONFIGMAP
from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.layers import Resolved
from instructlab_pipeline.params.places import Given, Layer
from instructlab_pipeline.params.table import PARAMETERS, Parameter

RUN_DIR, PARAMS_CONFIGMAP = "run_dir", "params_configmap"
PLACE = "pipeline inputs"
TYPES: Mapping[type, str] = {bool: "Boolean", int: "Integer", float: "Float", str: "String"}


@dataclass(frozen=True, kw_only=True)
class Input:
    """`default` is None where the input must be given. A parameter that may be unset is text, empty for unset.

    What is not to be shown is empty too: Kubeflow shows inputs to everybody.
    """

    name: str
    type: type
    default: Any
    description: str


def inputs(resolved: Resolved) -> list[Input]:
    """Where the run lives, then every parameter, with the values of `resolved` as defaults."""
    return [
        Input(
            name=RUN_DIR,
            type=str,
            default=None,
            description="Where the run lives, as s3://bucket/prefix. Started there again, it goes on.",
        ),
        Input(
            name=PARAMS_CONFIGMAP,
            type=str,
            default=CONFIGMAP,
            description="The ConfigMap whose values stand in for inputs that are left at the profile's defaults; empty "
            "for none.",
        ),
        *(_input(parameter, resolved) for parameter in PARAMETERS.values()),
    ]


def signature(found: list[Input]) -> Signature:
    """What Kubeflow reads types and defaults from."""
    return Signature(
        [
            Argument(
                each.name,
                Argument.KEYWORD_ONLY,
                annotation=each.type,
                default=Argument.empty if each.default is None else each.default,
            )
            for each in found
        ]
    )


def docstring(found: list[Input]) -> str:
    """What Kubeflow reads descriptions from."""
    lines = [f"    {each.name}: {each.description}" for each in found]
    return "\n".join(["From a taxonomy and a base model to a published model.", "", "Args:", *lines])


def layer(values: Mapping[str, Any], profile: str) -> Layer:
    """What somebody chose among the inputs of a run: those that differ from the profile's defaults.

    An input at its default leaves the word to the ConfigMap below it.
    """
    texts = {name: _text(PARAMETERS[name], value) for name, value in values.items()}
    return Layer(
        place=PLACE,
        given=[
            Given(name=name, text=text, origin=f"pipeline input {name}")
            for name, text in texts.items()
            if text != text_of(PARAMETERS[name].defaults[profile])
        ],
    )


def arguments(resolved: Resolved) -> dict[str, Any]:
    """The values of a run as the inputs take them; what is required and missing is left out."""
    return {each.name: each.default for each in inputs(resolved) if each.default is not None}


def _input(parameter: Parameter, resolved: Resolved) -> Input:
    setting = resolved.settings[parameter.name]
    default: Any = setting.value
    kind = type(parameter.defaults[resolved.profile])
    if parameter.required:
        kind = str
    elif default is None or parameter.kind.conceals or setting.origin.startswith(f"{parameter.follows} ("):
        kind, default = str, ""
    elif kind not in TYPES:
        kind, default = str, text_of(default)
    return Input(name=parameter.name, type=kind, default=default, description=_described(parameter))


def _described(parameter: Parameter) -> str:
    unset = " Empty for unset." if parameter.may_be_unset else ""
    return f"{parameter.meaning}{unset} Valid: {parameter.kind.valid}.".replace("\n", " ")


def _text(parameter: Parameter, value: Any) -> str:
    """Kubeflow hands integers over as JSON has them: 16 or 16.0."""
    if isinstance(parameter.defaults["dev"], int) and isinstance(value, float) and value.is_integer():
        value = int(value)
    return text_of(value)
