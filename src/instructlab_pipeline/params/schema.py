"""The parameter table as JSON: a JSON Schema for a mapping of values, and a list for programs to read."""

from typing import Any

from instructlab_pipeline.params.table import PARAMETERS, PROFILES, Parameter


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of `{"<name>": value}`, values as `params show --json` has them.

    What a schema can say, it says; `params check` knows more.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Parameters of instructlab-pipeline",
        "type": "object",
        "properties": {name: _property(parameter) for name, parameter in PARAMETERS.items()},
        "required": [name for name, parameter in PARAMETERS.items() if parameter.required],
        "additionalProperties": False,
    }


def described() -> list[dict[str, Any]]:
    """Every parameter, in the table's order."""
    return [_description(parameter) for parameter in PARAMETERS.values()]


def _property(parameter: Parameter) -> dict[str, Any]:
    kind = dict(parameter.kind.schema)
    value = {"anyOf": [kind, {"type": "null"}]} if parameter.may_be_unset else kind
    return {"description": parameter.meaning, **value, **_defaults(parameter)}


def _defaults(parameter: Parameter) -> dict[str, Any]:
    """`default` where all profiles agree; `x-env-defaults` always."""
    if parameter.required:
        return {}
    by_profile = {profile: _plain(parameter.defaults[profile]) for profile in PROFILES}
    values = list(by_profile.values())
    agreed = {"default": values[0]} if values.count(values[0]) == len(values) else {}
    return {**agreed, "x-env-defaults": by_profile}


def _description(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "section": parameter.section,
        "type": parameter.kind.name,
        "valid": parameter.kind.valid,
        "required": parameter.required,
        "defaults": {profile: _plain(parameter.defaults[profile]) for profile in PROFILES},
        "environment": parameter.environment_name,
        "specified": parameter.specified,
        "meaning": parameter.meaning,
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
