"""From grades to numbers, and from numbers to a verdict: what the gate says, and how sure it can be.

Pure functions. Every metric that was asked for must reach the threshold, overall; leaves inform.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from instructlab_pipeline.evaluation.statistics import (
    Difference,
    Interval,
    deviation,
    holm,
    mean,
    mean_interval,
    paired_difference,
    smallest_detectable_effect,
)

REGRESSION_LEVEL = 0.05  # adjusted p-value below which a leaf that lost is named


@dataclass(frozen=True, kw_only=True)
class Grades:
    """One metric's grades of the base and the tuned model on the same items, in the items' order."""

    base: Sequence[float]
    tuned: Sequence[float]
    is_share: bool


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric over some items: means of both models, the tuned model's 95% interval, and the paired difference."""

    n: int
    base: float
    tuned: float
    interval: Interval
    difference: Difference
    smallest_detectable_effect: float


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """One metric against the threshold; `clear` when its interval lies on one side of it."""

    passed: bool
    clear: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Passed when every metric did. A pass is clear when all are; a failure when one that failed is."""

    passed: bool
    clear: bool
    rulings: Mapping[str, Ruling]

    @property
    def word(self) -> str:
        return "pass" if self.passed else "fail"


def score(grades: Grades) -> Score:
    """Over at least one item."""
    gains = [tuned - base for base, tuned in zip(grades.base, grades.tuned, strict=True)]
    spread = deviation(gains) or 0.5  # no spread seen: the widest that there can be
    return Score(
        n=len(grades.tuned),
        base=mean(grades.base),
        tuned=mean(grades.tuned),
        interval=mean_interval(grades.tuned, is_share=grades.is_share),
        difference=paired_difference(grades.base, grades.tuned, is_share=grades.is_share),
        smallest_detectable_effect=smallest_detectable_effect(len(gains), deviation=spread),
    )


def score_by_leaf(grades: Grades, leaves: Sequence[str]) -> dict[str, Score]:
    """The score of each leaf's own items; `leaves` names each item's."""
    return {leaf: score(_of_leaf(grades, leaves, leaf)) for leaf in sorted(set(leaves))}


def decide(scores: Mapping[str, Score], threshold: float) -> Verdict:
    rulings = {
        name: Ruling(passed=item.tuned >= threshold, clear=not item.interval.straddles(threshold))
        for name, item in scores.items()
    }
    passed = all(ruling.passed for ruling in rulings.values())
    return Verdict(passed=passed, clear=_clear(passed=passed, rulings=rulings.values()), rulings=rulings)


def regressions(by_leaf: Mapping[str, Score]) -> list[str]:
    """The leaves where tuning did harm, significantly even though all leaves were looked at."""
    adjusted = holm({leaf: item.difference.p_value for leaf, item in by_leaf.items()})
    return [leaf for leaf, item in by_leaf.items() if item.difference.value < 0 and adjusted[leaf] < REGRESSION_LEVEL]


def _of_leaf(grades: Grades, leaves: Sequence[str], leaf: str) -> Grades:
    rows = [row for row, name in enumerate(leaves) if name == leaf]
    return Grades(
        base=[grades.base[row] for row in rows],
        tuned=[grades.tuned[row] for row in rows],
        is_share=grades.is_share,
    )


def _clear(*, passed: bool, rulings: Iterable[Ruling]) -> bool:
    if passed:
        return all(ruling.clear for ruling in rulings)
    return any(ruling.clear for ruling in rulings if not ruling.passed)
