"""A row on its way from a planned call to a sample. Pure: a reply in, the rows that follow from it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple

from instructlab_pipeline.likeness import bare
from instructlab_pipeline.sdg.calls import REFUSED, Call
from instructlab_pipeline.sdg.filters import flaw
from instructlab_pipeline.sdg.flows import BEST_SCORE, WORST_SCORE, Flow, Step
from instructlab_pipeline.sdg.leaves import Chunk, Leaf
from instructlab_pipeline.sdg.replies import BadReply

EVALUATION, TRAINING = "evaluation", "training"
LAST_TRY = 3  # with another seed; those before ask for the same once more, so that what was broken on its way heals
NOTHING_YET: Mapping[str, Any] = MappingProxyType({})
ACCIDENTS = {"empty", "not_json", "truncated"}  # reasons that may be the endpoint's; others are the model's


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One planned call: what is asked for, in which batch, with which seed example shown first.

    `stream`: evaluation or training. `chunk` is None for skills, `form` is empty for them. `count`: of items. `before`:
    how many items the batches before this one were asked for.
    """

    stream: str
    chunk: Chunk | None
    form: str
    batch: int
    seed_example: int
    count: int
    before: int


class Row(NamedTuple):
    """`place` orders rows whatever the order of replies: round, planned call, then an index for each fan-out."""

    place: tuple[int, ...]
    ask: Ask
    step: int = 0
    tries: int = 0
    fields: Mapping[str, str] = NOTHING_YET
    scores: Mapping[str, float] = NOTHING_YET
    calls: tuple[str, ...] = ()

    @property
    def quality(self) -> float:
        return min(self.scores.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """A row that ended; `reason` is a word to count by, `detail` a sentence to read."""

    row: Row
    reason: str
    detail: str


def messages(flow: Flow, leaf: Leaf, row: Row) -> list[dict[str, str]]:
    """The chat for the row's next step."""
    ask, step = row.ask, flow.steps[row.step]
    return step.messages(
        count=ask.count if row.step == 0 else step.count,
        task=leaf.task_description,
        domain=leaf.domain,
        outline=leaf.document_outline,
        document=ask.chunk.text if ask.chunk else "",
        form=ask.form,
        batch=ask.batch,
        before=ask.before,
        examples=_examples(leaf, ask.seed_example, flow.worked_examples),
        choices=choices_of(flow, row),
        **row.fields,
    )


def choices_of(flow: Flow, row: Row) -> list[str]:
    """The choices of a multiple-choice item, in an order that does not tell which is right; none before they exist."""
    choices = [row.fields[name] for name in flow.choices if name in row.fields]
    return sorted(choices, key=lambda choice: sha256(f"{row.fields['question']}\0{choice}".encode()).digest())


def call_of(flow: Flow, leaf: Leaf, row: Row, *, models: Mapping[str, str], random_seed: int) -> Call:
    """The call for the row's next step. `models` by role."""
    step = flow.steps[row.step]
    return Call(
        model=models[step.by],
        messages=messages(flow, leaf, row),
        form=step.form,
        random_seed=random_seed,
        variant=int(row.tries == LAST_TRY),
        tries=row.tries,
    )


def next_try(row: Row, bad: BadReply, *, finish: str) -> Row | None:
    """The row after a reply without use, if there is a point in asking again. What hit the limit will do so again."""
    if row.tries == LAST_TRY or finish == REFUSED:
        return None
    may_heal = bad.reason in ACCIDENTS and finish != "length"
    return row._replace(tries=row.tries + 1 if may_heal else LAST_TRY)


def advance(
    flow: Flow, leaf: Leaf, row: Row, reply: Mapping[str, Any], *, key: str, threshold: float
) -> list[Row | Rejected]:
    """What follows from a parsed reply: the row at its next step, or one row for each item, or its rejection."""
    step = flow.steps[row.step]
    moved = row._replace(step=row.step + 1, tries=0, calls=(*row.calls, key))
    if step.each:
        items = (item if isinstance(item, dict) else {str(step.item): item} for item in reply[step.each])
        rows = [_with(moved, _plain(step, item), leaf, index) for index, item in enumerate(items)]
        return [_with_choices(flow, row) for row in rows] if flow.choices else rows
    if step.same and (found := _other_than_known(row, step, reply)):
        return [Rejected(row=moved, reason="not_confirmed", detail=found)]
    if step.criteria:
        return [_judged(moved, step.criteria, reply, threshold)]
    return [_with(moved, _plain(step, reply), leaf)]


def _examples(leaf: Leaf, first: int, count: int) -> Sequence[Mapping[str, Any]]:
    """`count` seed examples from `first` on, around the end."""
    examples = leaf.seed_examples
    return [examples[(first + offset) % len(examples)] for offset in range(min(count, len(examples)))]


def _plain(step: Step, added: Mapping[str, Any]) -> dict[str, str]:
    return {name: step.plain(str(value)) for name, value in added.items()}


def _with(row: Row, added: Mapping[str, str], leaf: Leaf, index: int | None = None) -> Row | Rejected:
    place = row.place if index is None else (*row.place, index)
    grown = row._replace(place=place, fields={**row.fields, **added})
    found = flaw(added, leaf.manners, about_document=row.ask.chunk is not None)
    return Rejected(row=grown, reason=found[0], detail=found[1]) if found else grown


def _with_choices(flow: Flow, row: Row | Rejected) -> Row | Rejected:
    """Choices must be different ones; only a multiple-choice flow has any."""
    if isinstance(row, Rejected):
        return row
    choices = choices_of(flow, row)
    if len({bare(choice) for choice in choices}) == len(choices):
        return row
    return Rejected(row=row, reason="choices_alike", detail=f"two choices say the same: {'; '.join(choices)}")


def _other_than_known(row: Row, step: Step, reply: Mapping[str, Any]) -> str | None:
    """How the reply contradicts what it had to find out by itself."""
    for said, known in step.same.items():
        if bare(str(reply[said])) != bare(row.fields[known]):
            return f"{step.name} says {str(reply[said])!r}, where the {known} is {row.fields[known]!r}"
    return None


def _judged(row: Row, criteria: Mapping[str, str], verdict: Mapping[str, Any], threshold: float) -> Row | Rejected:
    """Scores as 0..1; where two verdicts share a criterion, the smaller one counts."""
    scores = {name: (verdict[name] - WORST_SCORE) / (BEST_SCORE - WORST_SCORE) for name in criteria}
    known = {name: min(score, row.scores.get(name, 1.0)) for name, score in scores.items()}
    judged = row._replace(scores={**row.scores, **known})
    worst = min(scores, key=lambda name: scores[name])
    if scores[worst] >= threshold:
        return judged
    detail = f"{worst} {scores[worst]:g} is below {threshold:g}: {verdict.get('reason', '')}".removesuffix(": ")
    return Rejected(row=judged, reason="low_quality", detail=detail)
