"""What the built-in teacher can do besides reading documents: three small skills, each a set of rules.

A skill takes a task when it can answer one of the task's examples. The examples say which skill is meant and no more:
what they answer is not imitated. A task that no skill takes gets empty lists.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from instructlab_pipeline.sdg.extractive import notices, quarters, routing

MOST = 320  # instructions or contexts that a skill can think of


class Instructions(Protocol):
    def __call__(self, context: str | None, *, count: int) -> tuple[str, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Skill:
    """`answer` gives None for what the skill does not understand; `contexts` is empty for a freeform skill."""

    name: str
    contexts: Callable[[], tuple[str, ...]]
    instructions: Instructions
    answer: Callable[[str, str | None], str | None]


@dataclass(frozen=True, kw_only=True)
class Example:
    question: str
    context: str | None


SKILLS = (
    Skill(name="quarters", contexts=tuple, instructions=quarters.instructions, answer=quarters.answer),
    Skill(name="routing", contexts=tuple, instructions=routing.instructions, answer=routing.answer),
    Skill(
        name="notices",
        contexts=lambda: notices.contexts(count=MOST),
        instructions=notices.instructions,
        answer=notices.answer,
    ),
)


def skill_for(examples: Iterable[Example]) -> Skill | None:
    """The skill that understands one of the examples, or None."""
    asked = list(examples)
    for skill in SKILLS:
        if any(skill.answer(example.question, example.context) is not None for example in asked):
            return skill
    return None
