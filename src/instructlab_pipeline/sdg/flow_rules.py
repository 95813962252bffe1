"""What a flow file must look like. Each complaint is a sentence that begins with `file:line`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from instructlab_pipeline.sdg.leaves import KINDS, MULTIPLE_CHOICE
from instructlab_pipeline.sdg.templates import template_environment

PLANNED_NAMES = {"task", "domain", "outline", "document", "form", "examples", "batch", "before", "count", "criteria"}

_TEXT = {"type": "string", "minLength": 1}
_STEP = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "by", "schema", "sampling", "system", "prompt"],
    "properties": {
        "name": _TEXT,
        "by": {"enum": ["teacher", "judge"]},
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        "sampling": {
            "type": "object",
            "required": ["max_tokens"],
            "properties": {"max_tokens": {"type": "integer", "minimum": 1}},
            "additionalProperties": {"type": "number"},
        },
        "system": _TEXT,
        "prompt": _TEXT,
        "reply": {"$ref": "#/$defs/reply"},
        "each": _TEXT,
        "as": _TEXT,
        "count": {"type": "integer", "minimum": 1},
        "criteria": {"type": "object", "minProperties": 1, "additionalProperties": _TEXT},
        "same": {"type": "object", "minProperties": 1, "additionalProperties": _TEXT},
    },
    "oneOf": [{"required": ["reply"]}, {"required": ["criteria"]}],
    "dependentRequired": {"each": ["reply", "count"], "count": ["each"], "as": ["each"], "same": ["reply"]},
}
_REPLY = {
    "type": "object",
    "required": ["type"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["object", "array", "string", "integer"]},
        "properties": {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/reply"}},
        "items": {"$ref": "#/$defs/reply"},
        "minimum": {"type": "integer"},
        "maximum": {"type": "integer"},
        "description": _TEXT,
    },
    "allOf": [
        {"if": {"properties": {"type": {"const": "object"}}}, "then": {"required": ["properties"]}},
        {"if": {"properties": {"type": {"const": "array"}}}, "then": {"required": ["items"]}},
    ],
}
FLOW_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["flow", "kind", "plan", "steps"],
    "properties": {
        "flow": _TEXT,
        "kind": {"enum": [*KINDS, MULTIPLE_CHOICE]},
        "choices": {
            "type": "array",
            "prefixItems": [{"const": "answer"}],
            "items": _TEXT,
            "minItems": 2,
            "uniqueItems": True,
        },
        "plan": {
            "type": "object",
            "additionalProperties": False,
            "required": ["expected_yield", "worked_examples"],
            "properties": {
                "expected_yield": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                "worked_examples": {"type": "integer", "minimum": 1},
                "forms": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
                },
            },
        },
        "steps": {"type": "array", "minItems": 1, "items": _STEP},
    },
    "$defs": {"reply": _REPLY},
}

Place = Sequence[str | int]


def complaints_about(text: str, *, file: str) -> list[str]:
    """Everything that is wrong with a flow's text, in the order of its lines."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        record = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return [f"{file}:{mark.line + 1 if mark else 1}: not YAML: {error.problem}"]
    found = list(_misshapen(record)) or list(_contradictions(record))
    placed = sorted((_line(root, place), sentence) for place, sentence in found)
    return [f"{file}:{line}: {sentence}" for line, sentence in placed]


def _misshapen(record: Any) -> Iterator[tuple[Place, str]]:
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(FLOW_SCHEMA).iter_errors(record):
        place = list(error.absolute_path)
        name = ".".join(str(part) for part in place) or "the flow"
        if error.validator == "oneOf":
            yield place, f"{name}: a step has either `reply` or `criteria`"
        else:
            yield place, f"{name}: {error.message}"


def _contradictions(record: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """What no schema can say: names must exist before they are used, lists must be lists."""
    known, choices = set(PLANNED_NAMES), set(record.get("choices", ()))
    for index, step in enumerate(record["steps"]):
        yield from _contradictions_of_step(("steps", index), step, known)
        known |= _fields(step)[0]
        if choices and choices <= known:
            known.add("choices")
    if not record["steps"][0].get("each"):
        yield ["steps", 0], "the first step makes the rows: it needs `each`"
    for name in sorted({"question", "answer", *choices} - known):
        yield ["steps"], f"no step makes the row's `{name}`"
    if not any("criteria" in step for step in record["steps"]):
        yield ["steps"], "no step judges: one needs `criteria`"
    if (record["kind"] == MULTIPLE_CHOICE) != bool(choices):
        yield ["kind"], "a flow of kind multiple_choice has `choices`, and no other one has"


def _contradictions_of_step(place: Place, step: Mapping[str, Any], known: set[str]) -> Iterator[tuple[Place, str]]:
    """`known`: the names that the steps before made."""
    for key in ("system", "prompt"):
        yield from (((*place, key), sentence) for sentence in _template_complaints(step[key], known))
    fields, complaint = _fields(step)
    if complaint:
        yield (*place, "each"), complaint
    for said, known_field in step.get("same", {}).items():
        if said not in fields or known_field not in known:
            yield (*place, "same"), f"`{said}: {known_field}`: one must be in the reply, the other from a step before"


def _fields(step: Mapping[str, Any]) -> tuple[set[str], str | None]:
    """The fields that a step adds to its rows, and what is wrong with `each`, if anything."""
    if "criteria" in step:
        return set(), None
    properties = step["reply"].get("properties", {})
    if "each" not in step:
        return set(properties), None
    listed = properties.get(step["each"], {})
    if listed.get("type") != "array":
        return set(), f"`each: {step['each']}` is not a list of the reply"
    if listed["items"]["type"] == "object":
        return set(listed["items"]["properties"]), None
    if "as" not in step:
        return set(), "items that are not objects need a name: `as: question`"
    return {step["as"]}, None


def _template_complaints(template: str, known: set[str]) -> Iterator[str]:
    from jinja2 import TemplateSyntaxError, meta

    try:
        parsed = template_environment().parse(template)
    except TemplateSyntaxError as error:
        yield f"line {error.lineno} of the template: {error.message}"
        return
    for name in sorted(meta.find_undeclared_variables(parsed) - known):
        yield f"`{name}` is not known here; known are {', '.join(sorted(known))}"


def _line(root: Any, place: Place) -> int:
    """The line of what stands at `place` in the YAML tree, counted from 1."""
    node = root
    for part in place:
        below = _child(node, part)
        if below is None:
            break
        node = below
    return int(node.start_mark.line) + 1 if node is not None else 1


def _child(node: Any, part: str | int) -> Any:
    if isinstance(part, int):
        return node.value[part]
    return next((value for key, value in node.value if key.value == part), None)
