"""What the endpoint says: JSON by schema, the bracketed forms of sdg_hub's flows, else prose."""

import json
import math
import re
from dataclasses import dataclass
from random import Random
from typing import Any

from simulator.prefix_cache import CHARACTERS_PER_TOKEN
from simulator.request import Request
from simulator.words import prose, question

ITEMS = 5  # of a list whose length nobody has set
_BRACKETED = ("context", "question")  # what a list in brackets may be of
_QUESTION = re.compile(r"question|instruction|query|task", re.IGNORECASE)
_REMARK = re.compile(r"reason|explanation|feedback", re.IGNORECASE)
_REMARK_SHARE = 0.35  # a remark's length, of an answer's
_ITEM_SHARE = 0.35  # an item's in a list


@dataclass(frozen=True, kw_only=True)
class Manner:
    """`mean_tokens` of an answer, log-normal with `sigma`; `pass_rate`: share of the judged that pass."""

    mean_tokens: float = 200.0
    sigma: float = 0.6
    pass_rate: float = 0.8
    longest_reply: int = 4096


@dataclass(frozen=True, kw_only=True)
class Text:
    content: str
    finish: str

    @property
    def num_tokens(self) -> int:
        return tokens_in(self.content)


def tokens_in(text: str) -> int:
    return max(1, len(text) // CHARACTERS_PER_TOKEN)


def reply_to(request: Request, manner: Manner) -> Text:
    """The same reply to the same prompt and seed."""
    draw = Random(request.digest + b"%d" % request.seed)
    content = Author(request, manner, draw).written()
    longest = request.max_tokens * CHARACTERS_PER_TOKEN
    if len(content) > longest:
        return Text(content=content[:longest], finish="length")
    return Text(content=content, finish="stop")


class Author:
    """Writes one reply."""

    def __init__(self, request: Request, manner: Manner, draw: Random) -> None:
        self._request = request
        self._draw = draw
        mean = math.log(manner.mean_tokens * CHARACTERS_PER_TOKEN) - manner.sigma**2 / 2
        self._answer_characters = draw.lognormvariate(mean, manner.sigma)
        self._passes = int.from_bytes(request.digest) < manner.pass_rate * 2**64
        self._definitions: dict[str, Any] = {}

    def written(self) -> str:
        request = self._request
        if request.schema is not None:
            self._definitions = request.schema.get("$defs", {})
            text = json.dumps(self._value(request.schema, name="", share=1.0))
            return f"```json\n{text}\n```" if request.fenced else text
        if "[End of Answer]" in request.prompt:
            return self._yes_or_no()
        for tag in _BRACKETED:
            if f"[{tag.upper()}]" in request.prompt:
                return self._list_of(tag)
        return self._string("answer", share=1.0)

    def _list_of(self, tag: str) -> str:
        items = (self._string(tag, share=_ITEM_SHARE) for _ in range(self._request.count or ITEMS))
        return "\n\n".join(f"[{tag.upper()}]\n{item}\n[END]" for item in items)

    def _yes_or_no(self) -> str:
        explanation = self._string("explanation", share=1.0)
        answer = "YES" if self._passes else "NO"
        return (
            f"[Start of Explanation]\n{explanation}\n[End of Explanation]\n[Start of Answer]\n{answer}\n[End of Answer]"
        )

    def _value(self, schema: dict[str, Any], *, name: str, share: float) -> Any:
        """A value that satisfies `schema`, for the property `name`; `share` scales the length of texts."""
        schema = self._resolved(schema)
        kind = schema.get("type")
        if "enum" in schema or "const" in schema:
            return self._choice(schema.get("enum") or [schema["const"]])
        if kind == "object":
            return {key: self._value(rule, name=key, share=share) for key, rule in schema["properties"].items()}
        if kind == "array":
            count = self._request.count or schema.get("minItems") or ITEMS
            return [self._value(schema["items"], name=name, share=share * _ITEM_SHARE) for _ in range(count)]
        if kind in ("integer", "number"):
            return schema.get("maximum", 5) if self._passes else schema.get("minimum", 1)
        if kind == "boolean":
            return self._passes
        return self._string(name, share=share)

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            return self._resolved(self._definitions[schema["$ref"].rpartition("/")[2]])
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self._resolved(schema[key][0])
        return schema

    def _choice(self, options: list[Any]) -> Any:
        """The best for what passes: the highest number, or the first word."""
        if all(isinstance(option, int | float) for option in options):
            return max(options) if self._passes else min(options)
        return options[0] if self._passes else options[-1]

    def _string(self, name: str, *, share: float) -> str:
        if _QUESTION.search(name):
            return question(self._draw)
        return prose(self._draw, self._answer_characters * share * (_REMARK_SHARE if _REMARK.search(name) else 1.0))
