"""No question of the evaluation set may be trained on: checked once more over all leaves, before anything is trained.

Questions are compared without case, punctuation, articles and blanks, as the evaluation's metrics compare texts. A
held-out question that has a context is the same one only with the same context.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.likeness import bare

GROUNDED = "grounded"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Evaluation items by what identifies them."""

    alone: Mapping[str, str]
    with_context: Mapping[tuple[str, str], str]

    def twin_of(self, sample: Mapping[str, Any]) -> str | None:
        """The id of the evaluation item that this sample would give away."""
        question = bare(sample["question"])
        if sample["kind"] == GROUNDED:
            pair = (bare(sample["context"]), question)
            return self.with_context.get(pair) or self.alone.get(question)
        return self.alone.get(question)


def held_out(items: Iterable[Mapping[str, Any]]) -> HeldOut:
    alone, with_context = {}, {}
    for item in items:
        question = bare(item["question"])
        if item["context"] is None:
            alone[question] = item["id"]
        else:
            with_context[bare(item["context"]), question] = item["id"]
    return HeldOut(alone=alone, with_context=with_context)
