"""From what two models made of the items to grades, metric by metric. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.metrics import Likelihood, Metric, Scale, Source, likeliest
from instructlab_pipeline.evaluation.verdict import Grades

MOST_NATS = 700.0  # a token; a perplexity of e to this is the last that is a number, and says all there is to say


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A judge's opinion of one answer; `score` is in 0..1."""

    correct: bool
    score: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Whose answer a judge prefers, asked in both orders; `tuned` is 1, 0, or 0.5 where it is neither's."""

    tuned: float
    reasons: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Responses:
    """What one model made of the items, by their ids. A judgement is None where the judge gave no usable one."""

    texts: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, Likelihood] = field(default_factory=dict)
    choices: Mapping[str, Sequence[Likelihood]] = field(default_factory=dict)
    judgements: Mapping[str, Judgement | None] = field(default_factory=dict)

    def shown(self, item: Item) -> str:
        """The answer in words; of a question with choices the one that the model holds to be the likeliest."""
        if item.choices:
            return item.choices[likeliest(item.choices, self.choices[item.id])]
        return self.texts[item.id]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Both models' responses to the same items, and which one the judge prefers where it was asked."""

    items: Sequence[Item]
    base: Responses
    tuned: Responses
    preferences: Mapping[str, Preference | None] = field(default_factory=dict)


def graded(metric: Metric, evidence: Evidence) -> Grades:
    """Each item that the metric speaks of: those with choices for one kind, the open ones for all others."""
    items = [item for item in evidence.items if bool(item.choices) == metric.wants_choices]
    return Grades(
        items=[item.id for item in items],
        base=[_grade(metric, item, evidence, tuned=False) for item in items],
        tuned=[_grade(metric, item, evidence, tuned=True) for item in items],
        scale=metric.scale,
        tokens=[evidence.base.references[item.id].tokens for item in items] if metric.scale is Scale.PERPLEXITY else (),
    )


def _grade(metric: Metric, item: Item, evidence: Evidence, *, tuned: bool) -> float | None:
    responses = evidence.tuned if tuned else evidence.base
    match metric.source:
        case Source.TEXT:
            assert metric.grade is not None
            return metric.grade(responses.texts[item.id], item.reference)
        case Source.JUDGE:
            return _opinion(metric, responses.judgements[item.id])
        case Source.PREFERENCE:
            preference = evidence.preferences[item.id]
            return None if preference is None else preference.tuned if tuned else 1 - preference.tuned
        case Source.CHOICES:
            return float(likeliest(item.choices, responses.choices[item.id]) == item.key)
        case Source.REFERENCE:
            likelihood = responses.references[item.id]
            return min(-likelihood.nats / likelihood.tokens, MOST_NATS)


def _opinion(metric: Metric, judgement: Judgement | None) -> float | None:
    if judgement is None:
        return None
    return float(judgement.correct) if metric.scale is Scale.SHARE else judgement.score
