"""From grades to numbers, and from numbers to a verdict: what the gate says, and how sure it can be.

Pure functions. Every metric that was asked for and lies in 0..1 must reach the threshold, overall; leaves inform.

A grade is None where the judge's replies were of no use. Such items are in no mean, but they are counted, and an
interval reaches as far as it would if all of them were worth 0, or 1: what is not known makes a verdict less clear.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from instructlab_pipeline.evaluation.metrics import Scale, perplexity
from instructlab_pipeline.evaluation.statistics import (
    Difference,
    Interval,
    deviation,
    holm,
    mean,
    mean_interval,
    paired_difference,
    perplexity_difference,
    perplexity_interval,
    smallest_detectable_effect,
)

REGRESSION_LEVEL = 0.05  # adjusted p-value below which a leaf that lost is named


@dataclass(frozen=True, kw_only=True)
class Grades:
    """One metric's grades of the base and the tuned model on the same items.

    `items` are the ids that it grades, in order. `tokens` are those of each reference, for a perplexity alone.
    """

    items: Sequence[str]
    base: Sequence[float | None]
    tuned: Sequence[float | None]
    scale: Scale
    tokens: Sequence[float] = ()

    @property
    def ungraded(self) -> int:
        """Items of which at least one answer has no grade."""
        return sum(None in pair for pair in zip(self.base, self.tuned, strict=True))

    def of(self, rows: Sequence[int]) -> "Grades":
        return Grades(
            items=[self.items[row] for row in rows],
            base=[self.base[row] for row in rows],
            tuned=[self.tuned[row] for row in rows],
            scale=self.scale,
            tokens=[self.tokens[row] for row in rows] if self.tokens else (),
        )


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric over `n` items: both models, the tuned one's 95% interval, and the paired difference.

    Of the `n`, `ungraded` have no grade for at least one of the models.
    """

    n: int
    ungraded: int
    base: float
    tuned: float
    interval: Interval
    difference: Difference
    smallest_detectable_effect: float | None
    scale: Scale

    @property
    def is_significantly_worse(self) -> bool:
        """Whether the tuned model is behind by more than chance explains, as if this were the only score looked at."""
        return self.is_worse and self.difference.p_value < REGRESSION_LEVEL

    @property
    def is_worse(self) -> bool:
        """Whether the tuned model is behind the base model, be it by chance."""
        return self.difference.value > 0 if self.scale is Scale.PERPLEXITY else self.difference.value < 0


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """One metric against the threshold; `clear` when its interval lies on one side of it."""

    passed: bool
    clear: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Passed when every ruling is a pass, and where that was required a clear one.

    A pass is clear when all rulings are; a failure when one that failed is. `reasons` say why it is no pass.
    """

    passed: bool
    clear: bool
    rulings: Mapping[str, Ruling]
    reasons: Sequence[str]

    @property
    def word(self) -> str:
        return "pass" if self.passed else "fail"


def score(grades: Grades) -> Score | None:
    """None where no item has grades for both models."""
    both = [row for row, pair in enumerate(zip(grades.base, grades.tuned, strict=True)) if None not in pair]
    if not both:
        return None
    base, tuned = ([value for value in side if value is not None] for side in (grades.base, grades.tuned))
    paired = grades.of(both)
    if grades.scale is Scale.PERPLEXITY:
        return _perplexity_score(paired)
    pairs = _numbers(paired.base), _numbers(paired.tuned)
    gains = [after - before for before, after in zip(*pairs, strict=True)]
    return Score(
        n=len(grades.tuned),
        ungraded=grades.ungraded,
        base=mean(base),
        tuned=mean(tuned),
        interval=_interval(grades.tuned, is_share=grades.scale is Scale.SHARE),
        difference=paired_difference(*pairs, is_share=grades.scale is Scale.SHARE),
        # No spread seen: the widest that gains of -1 to 1 can have.
        smallest_detectable_effect=smallest_detectable_effect(len(gains), deviation=deviation(gains) or 1.0),
        scale=grades.scale,
    )


def score_by_leaf(grades: Grades, leaves: Mapping[str, str]) -> dict[str, Score]:
    """The score of each leaf's own items, where it has graded ones; `leaves` by item."""
    rows: dict[str, list[int]] = {}
    for row, item in enumerate(grades.items):
        rows.setdefault(leaves[item], []).append(row)
    scores = {leaf: score(grades.of(rows[leaf])) for leaf in sorted(rows)}
    return {leaf: own for leaf, own in scores.items() if own is not None}


def decide(scores: Mapping[str, Score], threshold: float, *, require_clear: bool = False) -> Verdict:
    rulings = {
        name: Ruling(passed=item.tuned >= threshold, clear=not item.interval.straddles(threshold))
        for name, item in scores.items()
        if item.scale is not Scale.PERPLEXITY
    }
    reached = all(ruling.passed for ruling in rulings.values())
    clear = _clear(passed=reached, rulings=rulings.values())
    passed = reached and (clear or not require_clear)
    reasons = [] if passed else _reasons(scores, rulings, threshold, reached=reached)
    return Verdict(passed=passed, clear=clear, rulings=rulings, reasons=reasons)


def regressions(by_leaf: Mapping[str, Score]) -> list[str]:
    """The leaves where tuning did harm, significantly even though all leaves were looked at."""
    adjusted = holm({leaf: item.difference.p_value for leaf, item in by_leaf.items()})
    return [leaf for leaf, item in by_leaf.items() if item.is_worse and adjusted[leaf] < REGRESSION_LEVEL]


def _numbers(grades: Sequence[float | None]) -> list[float]:
    return [grade for grade in grades if grade is not None]


def _interval(grades: Sequence[float | None], *, is_share: bool) -> Interval:
    """Where grades are missing, from the low end if they were all 0 to the high end if they were all 1."""
    if None not in grades:
        return mean_interval(_numbers(grades), is_share=is_share)
    low, high = (
        mean_interval([stand_in if grade is None else grade for grade in grades], is_share=is_share)
        for stand_in in (0.0, 1.0)
    )
    return Interval(low.low, high.high)


def _perplexity_score(grades: Grades) -> Score:
    base, tuned = _numbers(grades.base), _numbers(grades.tuned)
    return Score(
        n=len(tuned),
        ungraded=0,
        base=perplexity(base, grades.tokens),
        tuned=perplexity(tuned, grades.tokens),
        interval=perplexity_interval(tuned, grades.tokens),
        difference=perplexity_difference(base, tuned, grades.tokens),
        smallest_detectable_effect=None,
        scale=grades.scale,
    )


def _clear(*, passed: bool, rulings: Iterable[Ruling]) -> bool:
    if passed:
        return all(ruling.clear for ruling in rulings)
    return any(ruling.clear for ruling in rulings if not ruling.passed)


def _reasons(
    scores: Mapping[str, Score], rulings: Mapping[str, Ruling], threshold: float, *, reached: bool
) -> list[str]:
    """A sentence for each metric that stands in the way."""
    guilty = [name for name, ruling in rulings.items() if (not ruling.clear if reached else not ruling.passed)]
    words = "reaches {}, but eval_require_clear asks for more certainty" if reached else "is below {}"
    return [
        f"{name} {scores[name].tuned:.3f} (95% interval {scores[name].interval.low:.3f} to "
        f"{scores[name].interval.high:.3f}) {words.format(threshold)}"
        for name in guilty
    ]
