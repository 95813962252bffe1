"""The held-out questions, and which of them are asked."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from instructlab_pipeline.conversation import Messages, question_messages
from instructlab_pipeline.errors import SourceError


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question with the answer that is expected; `context` only where the question speaks of a given text.

    A multiple-choice question has `choices`, of which the one at `key` is right and is the reference.
    """

    id: str
    leaf: str
    question: str
    context: str | None
    reference: str
    choices: tuple[str, ...] = ()
    key: int | None = None

    @property
    def messages(self) -> Messages:
        return question_messages(self.question, context=self.context)


def item_of(record: Mapping[str, Any]) -> Item:
    """What else a record says (lineage) is no concern of a grade."""
    return Item(
        id=record["id"],
        leaf=record["leaf"],
        question=record["question"],
        context=record.get("context"),
        reference=record["reference"],
        choices=tuple(record.get("choices", ())),
        key=record.get("key"),
    )


def require_items(items: list[Item]) -> list[Item]:
    """The items of a generated evaluation set.

    Raises:
        SourceError: there is not a single one.
    """
    if not items:
        raise SourceError(
            "the evaluation set is empty: no model can be judged by it",
            remedy="raise sdg_scale_factor or lower sdg_quality_threshold, so that questions are left to hold out",
        )
    return items


def choose(items: Iterable[Item], count: int) -> list[Item]:
    """At most `count` items, spread evenly over the leaves, sorted by leaf and id.

    Which ones depends on nothing but their ids, and a smaller choice is part of a larger one, so that answers are
    reused when `count` changes.
    """
    by_leaf: dict[str, list[Item]] = {}
    for item in sorted(items, key=_shuffled):
        by_leaf.setdefault(item.leaf, []).append(item)
    rounds = zip_longest(*(by_leaf[leaf] for leaf in sorted(by_leaf)))
    dealt = [item for one_each in rounds for item in one_each if item is not None]
    return sorted(dealt[:count], key=lambda item: (item.leaf, item.id))


def _shuffled(item: Item) -> tuple[str, str]:
    return hashlib.sha256(item.id.encode()).hexdigest(), item.id
