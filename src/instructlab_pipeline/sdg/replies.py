"""From a teacher's text to checked fields: tolerant of its dress, strict about its content.

A schema here is the small part of JSON Schema that flows use: objects, arrays, strings, integers with bounds.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from instructlab_pipeline.sdg.calls import REFUSED, Reply

_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"\A\s*```[a-z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_LEADING_INTEGER = re.compile(r"\s*(-?\d+)(?:\.0+)?\b")
_WORDS_FOR_BOUNDS = {"yes": "maximum", "true": "maximum", "no": "minimum", "false": "minimum"}


class BadReply(Exception):  # noqa: N818 - it is data: the row that met it is tried again, then rejected
    """A reply that cannot be used; `reason` is one of the funnel's words, `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def parse(text: str, schema: Mapping[str, Any], *, finish: str) -> dict[str, Any]:
    """The fields of a reply, as `schema` asks for them.

    Raises:
        BadReply: `empty`, `truncated`, `not_json` or `not_as_asked`.
    """
    bare = _undressed(text)
    if not bare and finish == "length":
        raise BadReply("truncated", "max_tokens came before the reply: a model that reasons first needs more")
    if not bare:
        raise BadReply("empty", "the reply is empty")
    if finish == "length" or (bare[0] in "{[" and bare[-1] not in "}]"):
        raise BadReply("truncated", f"the reply breaks off: ...{bare[-60:]}")
    value = fitted(_loaded(bare), schema)
    assert isinstance(value, dict)
    return value


def read(reply: Reply, schema: Mapping[str, Any]) -> dict[str, Any] | BadReply:
    """The fields of a reply, or what is wrong with it; for a call that was refused, `refused_by_endpoint`."""
    if reply.finish == REFUSED:
        return BadReply("refused_by_endpoint", reply.text)
    try:
        return parse(reply.text, schema, finish=reply.finish)
    except BadReply as bad:
        return bad


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema, in which every property is required and no other is allowed."""
    result = dict(schema)
    if "properties" in schema:
        result["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        result |= {"required": list(schema["properties"]), "additionalProperties": False}
    if "items" in schema:
        result["items"] = strict(schema["items"])
    return result


def outline(schema: Mapping[str, Any]) -> str:
    """What a reply looks like, for people and models: `{"pairs": [{"question": "...", "answer": "..."}, ...]}`."""
    match schema["type"]:
        case "object":
            parts = (f'"{name}": {outline(rule)}' for name, rule in schema["properties"].items())
            return f"{{{', '.join(parts)}}}"
        case "array":
            return f"[{outline(schema['items'])}, ...]"
        case "integer" if "minimum" in schema and "maximum" in schema:
            return f"{schema['minimum']} to {schema['maximum']}"
        case "integer":
            return "0"
    return '"..."'


def fitted(value: Any, schema: Mapping[str, Any], *, at: str = "the reply") -> Any:
    """`value` as the schema wants it, where only its form differs: "5" for 5, a bare list for its one property.

    Raises:
        BadReply: `not_as_asked`, naming the place.
    """
    return _FITTERS[schema["type"]](value, schema, at)


def _undressed(text: str) -> str:
    bare = _THINKING.sub("", text).strip()
    fenced = _FENCE.match(bare)
    return fenced.group(1).strip() if fenced else bare


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _repaired(text)


def _repaired(text: str) -> Any:
    import json_repair

    start = min((place for place in (text.find("{"), text.find("[")) if place >= 0), default=-1)
    try:
        value = json_repair.loads(text[start:]) if start >= 0 else None
    except RecursionError:
        value = None
    if not isinstance(value, dict | list) or not value:
        raise BadReply("not_json", f"no JSON in the reply: {text[:60]}")
    return value


def _object(value: Any, schema: Mapping[str, Any], at: str) -> dict[str, Any]:
    properties: Mapping[str, Any] = schema["properties"]
    if isinstance(value, list) and len(properties) == 1:
        value = {next(iter(properties)): value}
    if not isinstance(value, dict):
        raise _misfit(at, "an object", value)
    by_name = {str(name).strip().lower(): item for name, item in value.items()}
    missing = [name for name in properties if name not in by_name]
    if missing:
        raise BadReply("not_as_asked", f"{at} has no {', '.join(missing)}")
    return {name: fitted(by_name[name], rule, at=f"{at}.{name}") for name, rule in properties.items()}


def _array(value: Any, schema: Mapping[str, Any], at: str) -> list[Any]:
    if not isinstance(value, list):
        raise _misfit(at, "a list", value)
    return [fitted(item, schema["items"], at=f"{at}[{index}]") for index, item in enumerate(value)]


def _string(value: Any, _schema: Mapping[str, Any], at: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _misfit(at, "text", value)
    return value.encode("utf-8", "replace").decode().strip()  # a lone surrogate cannot be written to any file


def _integer(value: Any, schema: Mapping[str, Any], at: str) -> int:
    number = _whole(value, schema)
    if number is None or not schema.get("minimum", number) <= number <= schema.get("maximum", number):
        raise _misfit(at, f"a whole number from {schema.get('minimum')} to {schema.get('maximum')}", value)
    return number


def _whole(value: Any, schema: Mapping[str, Any]) -> int | None:
    if isinstance(value, bool):
        value = str(value)
    if isinstance(value, int | float):
        return int(value) if float(value).is_integer() else None
    if not isinstance(value, str):
        return None
    bound = _WORDS_FOR_BOUNDS.get(value.strip(" .!").lower())
    if bound:
        return schema.get(bound)
    leading = _LEADING_INTEGER.match(value)
    return int(leading.group(1)) if leading else None


def _misfit(at: str, wanted: str, value: Any) -> BadReply:
    return BadReply("not_as_asked", f"{at} is {json.dumps(value, ensure_ascii=False)[:60]}, not {wanted}")


_FITTERS = {"object": _object, "array": _array, "string": _string, "integer": _integer}
