"""Chats to token ids, and which of the tokens are learned from.

The model's own chat template draws the line. Where it marks the assistant's words with `{% generation %}`, these are
learned. Where it does not, they are what each assistant turn adds to the prompt before it. A sample with `unmask` is
learned whole, but for the system turn, be it the sample's or one that the template puts in.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructlab_pipeline.errors import SourceError

Record = dict[str, Any]
Span = tuple[int, int]  # characters of the rendered chat, the end excluded
Chat = tuple[str, list[Span]]
Encoded = tuple[NDArray[np.uint32], NDArray[np.bool_]]  # token ids, supervised

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_PLACEHOLDER = "\N{WHITE SQUARE}first turn\N{WHITE SQUARE}"
REMEDY = (
    "mend the record, or mark the assistant's words in the model's chat_template.jinja "
    "with {% generation %} ... {% endgeneration %}"
)


class Encoder:
    """Encodes records by a Hugging Face tokenizer and its chat template."""

    def __init__(self, tokenizer: Any) -> None:
        if not tokenizer.chat_template:
            raise SourceError(
                f"{tokenizer.name_or_path} has no chat template", remedy="add a chat_template.jinja to the base model"
            )
        self._tokenizer = tokenizer
        self._template = tokenizer.get_chat_template()
        self._marks_generation = bool(_GENERATION.search(self._template))
        self._system_end = lru_cache(maxsize=1024)(self._find_system_end)

    def encode(self, chats: Sequence[Chat]) -> list[Encoded]:
        """Each chat's token ids, and the supervised ones among them."""
        batch = self._tokenizer([text for text, _ in chats], add_special_tokens=False, return_offsets_mapping=True)
        return [
            (np.asarray(ids, np.uint32), supervised_tokens(offsets, spans))
            for ids, offsets, (_, spans) in zip(batch["input_ids"], batch["offset_mapping"], chats, strict=True)
        ]

    def render(self, record: Record) -> Chat:
        """The record as one text, and its spans to learn from.

        Raises:
            ValueError: it is no chat, or the template cannot tell whose words are whose.
        """
        _require_chat(record)
        messages = record["messages"]
        if record.get("unmask"):
            text = self._text(messages)
            return text, [(self._unmasked_from(messages, text), len(text))]
        if self._marks_generation:
            return self._text_and_generation(messages)
        return self._text(messages), self._added_by_assistant(messages)

    def _text(self, messages: Sequence[Record], *, prompt: bool = False) -> str:
        return str(self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt))

    def _text_and_generation(self, messages: Sequence[Record]) -> Chat:
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, spans = render_jinja_template(
            conversations=[list(messages)],
            chat_template=self._template,
            return_assistant_tokens_mask=True,
            **self._tokenizer.special_tokens_map,
        )
        return texts[0], spans[0]

    def _added_by_assistant(self, messages: Sequence[Record]) -> list[Span]:
        whole = self._text(messages)
        spans = []
        for turn, message in enumerate(messages):
            if message["role"] == "assistant":
                before, after = self._text(messages[:turn], prompt=True), self._text(messages[: turn + 1])
                if not (whole.startswith(after.rstrip()) and after.startswith(before)):
                    raise ValueError("the chat template writes a turn differently once another follows")
                spans.append((len(before), len(after.rstrip())))
        return spans

    def _unmasked_from(self, messages: Sequence[Record], text: str) -> int:
        first = next((turn for turn, message in enumerate(messages) if message["role"] != "system"), len(messages))
        system = tuple(str(message["content"]) for message in messages[:first])
        if first == len(messages):
            return len(text)
        prefix = self._system_end(system, messages[first]["role"])
        if not text.startswith(prefix):
            raise ValueError("the chat template writes the system turn in more than one way")
        return len(prefix)

    def _find_system_end(self, system: tuple[str, ...], role: str) -> str:
        """Everything that comes before the words of the first turn, whatever these are."""
        turns = [{"role": "system", "content": content} for content in system]
        text = self._text([*turns, {"role": role, "content": _PLACEHOLDER}])
        return text[: text.index(_PLACEHOLDER)]


def _require_chat(record: Any) -> None:
    messages = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(messages, list) or not messages:
        raise ValueError("the record has no `messages`, a list of turns")
    if not all(isinstance(message, dict) and {"role", "content"} <= message.keys() for message in messages):
        raise ValueError("each of the `messages` needs a `role` and a `content`")


def supervised_tokens(offsets: Sequence[Span], spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Tokens that touch a span, the first token excepted.

    offsets: each token's characters, in order; special tokens included. spans: ordered, apart from each other.
    """
    edges = np.asarray(offsets, np.int64).reshape(-1, 2)
    supervised = np.zeros(len(edges), np.bool_)
    for start, end in spans:
        supervised |= (edges[:, 0] < end) & (edges[:, 1] > start)
    supervised[:1] = False
    return supervised
