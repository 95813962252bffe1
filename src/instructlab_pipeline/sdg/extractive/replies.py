"""From a request's prompt to the reply that its schema asks for.

The last user message holds its data in tags, `<count>5</count>`; the schema's name says what is wanted.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

from instructlab_pipeline.sdg.extractive.choices import answers_to, items_of
from instructlab_pipeline.sdg.extractive.facts import facts_of
from instructlab_pipeline.sdg.extractive.skills import MOST, Example, Skill, skill_for
from instructlab_pipeline.sdg.extractive.verdicts import Case, verdict
from instructlab_pipeline.sdg.extractive.wordings import pairs

Item = TypeVar("Item")

_TAG = re.compile(
    r"<(domain|document|form|task|example|context|instruction|question|answer|choice|count|batch|before)>(.*?)</\1>",
    re.DOTALL,
)


class CannotReply(Exception):  # noqa: N818 - the server's answer 400, with this sentence
    """What the request lacks."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A prompt's tags, the text of each by its name, and its worked examples."""

    tags: Mapping[str, str]
    examples: Sequence[Example]
    choices: Sequence[str]
    schema: Mapping[str, Any]

    def text(self, tag: str) -> str:
        if tag not in self.tags:
            raise CannotReply(f"the prompt has no <{tag}>...</{tag}>")
        return self.tags[tag]

    def number(self, tag: str) -> int:
        text = self.text(tag)
        if not text.isdecimal():
            raise CannotReply(f"<{tag}> holds {text!r}, not a number")
        return int(text)

    def batch_of(self, every: Sequence[Item]) -> Sequence[Item]:
        """`count` items, after those that the batches before were asked for; none when the items are at their end."""
        count = self.number("count")
        before = self.number("before") if "before" in self.tags else self.number("batch") * count
        return every[before : before + count]

    @property
    def context(self) -> str | None:
        return self.tags.get("context")

    @property
    def skill(self) -> Skill | None:
        return skill_for(self.examples)


def reply(name: str, prompt: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The reply to `prompt` for the schema called `name`; equal requests get equal replies.

    Raises:
        CannotReply: no such schema is known, or the prompt lacks a tag that it needs.
    """
    if name not in WRITERS:
        raise CannotReply(f"the built-in teacher knows the schemas {', '.join(WRITERS)}, and not {name!r}")
    return WRITERS[name](read_prompt(prompt, schema))


def read_prompt(prompt: str, schema: Mapping[str, Any]) -> Request:
    found = [(tag, _plain(text.strip())) for tag, text in _TAG.findall(prompt)]
    return Request(
        tags=dict(reversed([(tag, text) for tag, text in found if tag != "example"])),
        examples=[_example(text) for tag, text in _TAG.findall(prompt) if tag == "example"],
        choices=[text for tag, text in found if tag == "choice"],
        schema=schema,
    )


def _example(text: str) -> Example:
    tags = {tag: _plain(inner) for tag, inner in _TAG.findall(text)}
    return Example(question=tags.get("question", "").strip(), context=tags.get("context"))


def _plain(text: str) -> str:
    """Data as it was: a tag in it comes as `&lt;document>`, so that it is not taken for one of the prompt's."""
    return text.replace("&lt;", "<")


def _pairs(request: Request) -> dict[str, Any]:
    document = request.text("document")
    seed = sha256(document.encode()).hexdigest()
    every = pairs(facts_of(document), form=request.text("form"), seed=seed)
    return {"pairs": [{"question": pair.question, "answer": pair.answer} for pair in request.batch_of(every)]}


def _items(request: Request) -> dict[str, Any]:
    document = request.text("document")
    every = items_of(facts_of(document), form=request.text("form"), seed=sha256(document.encode()).hexdigest())
    return {"items": [dict(item) for item in request.batch_of(every)]}


def _choice(request: Request) -> dict[str, Any]:
    answers = answers_to(request.text("question"), facts_of(request.text("document")))
    return {"chosen": next((choice for choice in request.choices if choice in answers), "none")}


def _instructions(request: Request) -> dict[str, Any]:
    every = request.skill.instructions(request.context, count=MOST) if request.skill else ()
    return {"instructions": list(request.batch_of(every))}


def _contexts(request: Request) -> dict[str, Any]:
    every = request.skill.contexts() if request.skill else ()
    return {"contexts": list(request.batch_of(every))}


def _answer(request: Request) -> dict[str, Any]:
    known = request.skill.answer(request.text("instruction"), request.context) if request.skill else None
    return {"answer": known or ""}


def _verdict(request: Request) -> dict[str, Any]:
    case = Case(
        question=request.text("question"),
        answer=request.tags.get("answer"),
        document=request.tags.get("document"),
        context=request.context,
    )
    return verdict(case, request.schema.get("properties", {}))


WRITERS: Mapping[str, Callable[[Request], dict[str, Any]]] = {
    "question_answer_pairs": _pairs,
    "multiple_choice_items": _items,
    "choice": _choice,
    "instructions": _instructions,
    "contexts": _contexts,
    "answer": _answer,
    "verdict": _verdict,
}
