"""Base and tuned answers side by side: graded, scored, and laid out as the records that a run keeps.

Pure. Numbers are rounded to six digits: more would be noise, and less alike from one processor to another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.metrics import Metric
from instructlab_pipeline.evaluation.statistics import Interval
from instructlab_pipeline.evaluation.verdict import Grades, Score, Verdict, regressions, score, score_by_leaf

DIGITS = 6
CSV_COLUMNS = (
    "leaf",  # empty: over all leaves
    "metric",
    "n",
    "base",
    "tuned",
    "low95",
    "high95",
    "difference",
    "difference_low95",
    "difference_high95",
    "p_value",
    "smallest_detectable_effect",
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`base` and `tuned` are the answers in the items' order."""

    items: Sequence[Item]
    base: Sequence[str]
    tuned: Sequence[str]
    metrics: Mapping[str, Metric]

    @cached_property
    def grades(self) -> dict[str, Grades]:
        return {name: self._graded(metric) for name, metric in self.metrics.items()}

    @cached_property
    def scores(self) -> dict[str, Score]:
        return {name: score(grades) for name, grades in self.grades.items()}

    @cached_property
    def leaf_scores(self) -> dict[str, dict[str, Score]]:
        """By metric, then by leaf."""
        leaves = [item.leaf for item in self.items]
        return {name: score_by_leaf(grades, leaves) for name, grades in self.grades.items()}

    def _graded(self, metric: Metric) -> Grades:
        references = [item.reference for item in self.items]
        return Grades(
            base=[metric.grade(text, right) for text, right in zip(self.base, references, strict=True)],
            tuned=[metric.grade(text, right) for text, right in zip(self.tuned, references, strict=True)],
            is_share=metric.is_share,
        )


def answer_records(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """One line of `answers.jsonl` for each item."""
    for row, item in enumerate(comparison.items):
        yield {
            "id": item.id,
            "leaf": item.leaf,
            "question": item.question,
            "context": item.context,
            "reference": item.reference,
            "base": comparison.base[row],
            "tuned": comparison.tuned[row],
            "grades": {
                name: {"base": _rounded(grades.base[row]), "tuned": _rounded(grades.tuned[row])}
                for name, grades in comparison.grades.items()
            },
        }


def metrics_record(comparison: Comparison) -> dict[str, Any]:
    """What `metrics.json` holds."""
    return {
        "n": len(comparison.items),
        "metrics": {
            name: {
                **score_record(item),
                "regressions": regressions(comparison.leaf_scores[name]),
                "leaves": {leaf: score_record(own) for leaf, own in comparison.leaf_scores[name].items()},
            }
            for name, item in comparison.scores.items()
        },
    }


def metrics_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """The same as rows of `metrics.csv`: first each metric over all leaves, then by leaf."""
    for name, item in comparison.scores.items():
        yield _row("", name, item)
    for name, by_leaf in comparison.leaf_scores.items():
        for leaf, item in by_leaf.items():
            yield _row(leaf, name, item)


def score_record(item: Score) -> dict[str, Any]:
    return {
        "n": item.n,
        "base": _rounded(item.base),
        "tuned": _rounded(item.tuned),
        "interval95": interval_record(item.interval),
        "difference": {
            "value": _rounded(item.difference.value),
            "interval95": interval_record(item.difference.interval),
            "p_value": _rounded(item.difference.p_value),
        },
        "smallest_detectable_effect": _rounded(item.smallest_detectable_effect),
    }


def verdict_record(comparison: Comparison, verdict: Verdict, threshold: float) -> dict[str, Any]:
    """The part of `verdict.json` that follows from the grades."""
    return {
        "verdict": verdict.word,
        "clear": verdict.clear,
        "n": len(comparison.items),
        "threshold": threshold,
        "metrics": {
            name: {
                "base": _rounded(item.base),
                "tuned": _rounded(item.tuned),
                "interval": interval_record(item.interval),
                "threshold": threshold,
                "passed": verdict.rulings[name].passed,
                "clear": verdict.rulings[name].clear,
            }
            for name, item in comparison.scores.items()
        },
        "regressions": {
            name: lost for name, by_leaf in comparison.leaf_scores.items() if (lost := regressions(by_leaf))
        },
    }


def interval_record(interval: Interval) -> list[float]:
    return [_rounded(interval.low), _rounded(interval.high)]


def _row(leaf: str, metric: str, item: Score) -> dict[str, Any]:
    record = score_record(item)
    difference = record["difference"]
    values = (
        leaf,
        metric,
        record["n"],
        record["base"],
        record["tuned"],
        *record["interval95"],
        difference["value"],
        *difference["interval95"],
        difference["p_value"],
        record["smallest_detectable_effect"],
    )
    return dict(zip(CSV_COLUMNS, values, strict=True))


def _rounded(value: float) -> float:
    return round(value, DIGITS)
