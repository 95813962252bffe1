"""Reading at once the YAML in which almost every `qna.yaml` is written, in a fiftieth of the time.

A text is plain when it is a block mapping of text values, laid out so that no lint rule of InstructLab could object.
libyaml reads it event by event, which no depth of nesting can overflow, and anything out of the ordinary is left to the
exact reader (`positions`) and the linter. So plain may be too narrow, never too wide.
"""

import re
from typing import Any

import yaml
from yaml.events import (
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

# What libyaml and PyYAML read alike: no tabs, no line ends but newlines, nothing invisible.
TEXT = re.compile("[\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")
# A text with each scalar taken out: lines of `key:`, `key: value`, `- item` or `- key: value`, blank ones, comments.
SCALAR = "\0"
LAYOUT = re.compile(r"(?: *(?:- \0(?::(?: \0)?)?|\0:(?: \0)?|#[^\n]*)?\n)*")
UNTIDY = (" \n", "\n\n\n\n")  # what yamllint's trailing-spaces and empty-lines refuse anywhere
BLOCK_STYLES = ("|", ">")
BLOCK_HEADER = re.compile(r"[|>][-+]?\n")
MAX_DEPTH = 6  # a knowledge leaf has 5 levels
WHOLE_NUMBER = "tag:yaml.org,2002:int"
RESOLVERS = yaml.SafeLoader.yaml_implicit_resolvers  # by the first character of an unquoted scalar


class _NotPlainError(Exception):
    """Left to the exact reader, whether it is right or wrong."""


def plain_value(text: str) -> dict[str, Any] | None:
    """What the text says, if it is plain; a value is text, a number of one digit, a list or a mapping."""
    if not _is_tidy(text):
        return None
    try:
        return _Reader(text).read()
    except (_NotPlainError, yaml.YAMLError):
        return None


def _is_tidy(text: str) -> bool:
    if not text.endswith("\n") or text.endswith("\n\n") or text.startswith(("\n", " ")):
        return False
    return not any(pattern in text for pattern in UNTIDY) and TEXT.fullmatch(text) is not None


class _Reader:
    """Builds the value, and notes how the text is laid out around its scalars."""

    def __init__(self, text: str) -> None:
        if not yaml.__with_libyaml__:
            raise _NotPlainError
        self._text = text
        self._next: Any = yaml.CBaseLoader(text).get_event
        self._between: list[str] = []  # the text around the scalars
        self._end = 0  # of the last scalar
        self._mapping_steps: set[int] = set()  # columns from a key to the mapping below it
        self._sequence_steps: set[int] = set()

    def read(self) -> dict[str, Any]:
        self._next()  # the beginning of the stream
        document = self._next()
        if not isinstance(document, DocumentStartEvent) or document.explicit:
            raise _NotPlainError
        start = self._next()
        if not isinstance(start, MappingStartEvent):
            raise _NotPlainError
        value = self._mapping(start, MAX_DEPTH)
        if self._next().explicit or not isinstance(self._next(), StreamEndEvent):
            raise _NotPlainError
        self._require_layout()
        return value

    def _require_layout(self) -> None:
        """Steps are all equal, and sequences all stepped in or none: yamllint's `consistent`."""
        self._between.append(self._text[self._end :])
        steps = self._mapping_steps | (self._sequence_steps - {0})
        mixed = 0 in self._sequence_steps and len(self._sequence_steps) > 1
        if len(steps) > 1 or mixed or not LAYOUT.fullmatch(SCALAR.join(self._between)):
            raise _NotPlainError

    def _mapping(self, start: Any, depth: int) -> dict[str, Any]:
        _require_block(start, depth)
        mapping: dict[str, Any] = {}
        while not isinstance(key := self._next(), MappingEndEvent):
            if not isinstance(key, ScalarEvent):
                raise _NotPlainError
            name = self._scalar(key)
            if not isinstance(name, str) or name in mapping:
                raise _NotPlainError
            mapping[name] = self._below(key, self._next(), depth - 1)
        return mapping

    def _below(self, key: Any, event: Any, depth: int) -> Any:
        """The value of `key`."""
        step = event.start_mark.column - key.start_mark.column
        if isinstance(event, MappingStartEvent):
            self._mapping_steps.add(step)
        elif isinstance(event, SequenceStartEvent):
            self._sequence_steps.add(step)
        return self._value(event, depth)

    def _sequence(self, start: Any, depth: int) -> list[Any]:
        _require_block(start, depth)
        items = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._value(event, depth - 1))
        return items

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if isinstance(event, MappingStartEvent):
            return self._mapping(event, depth)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(event, depth)
        raise _NotPlainError

    def _scalar(self, event: Any) -> str | int:
        if event.anchor or event.tag:
            raise _NotPlainError
        value: str = event.value
        start, end = event.start_mark.index, event.end_mark.index
        if event.style in BLOCK_STYLES:
            if not BLOCK_HEADER.match(self._text, start):
                raise _NotPlainError
            end -= self._text[end - 1] == "\n"  # where blank lines follow
        self._between.append(self._text[self._end : start])
        self._end = end
        return value if event.implicit[1] else _resolved(value)


def _require_block(start: Any, depth: int) -> None:
    if start.flow_style or start.anchor or start.tag or depth == 0:
        raise _NotPlainError


def _resolved(text: str) -> str | int:
    """An unquoted scalar: text unless YAML takes it for something else."""
    for tag, pattern in RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            if tag == WHOLE_NUMBER and len(text) == 1:
                return int(text)
            raise _NotPlainError
    return text
