"""Base and tuned answers side by side: graded, scored, and laid out as the records that a run keeps.

Pure. Numbers are rounded to six digits: more would be noise, and less alike from one processor to another.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from instructlab_pipeline.evaluation.grading import Evidence, Judgement, Preference, graded
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.metrics import Metric, Scale
from instructlab_pipeline.evaluation.statistics import Interval
from instructlab_pipeline.evaluation.verdict import (
    Grades,
    Score,
    Verdict,
    regressions,
    score,
    score_by_leaf,
)

DIGITS = 6
CSV_COLUMNS = (
    "leaf",  # empty: over all leaves
    "metric",
    "n",
    "ungraded",
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
    """What both models made of the items, by the metrics that were asked for."""

    evidence: Evidence
    metrics: Mapping[str, Metric]

    @property
    def items(self) -> Sequence[Item]:
        return self.evidence.items

    @cached_property
    def grades(self) -> dict[str, Grades]:
        return {name: graded(metric, self.evidence) for name, metric in self.metrics.items()}

    @cached_property
    def scores(self) -> dict[str, Score]:
        """By metric, where a single item has grades for both models."""
        scores = {name: score(grades) for name, grades in self.grades.items()}
        return {name: own for name, own in scores.items() if own is not None}

    @cached_property
    def leaf_scores(self) -> dict[str, dict[str, Score]]:
        """By metric, then by leaf."""
        leaves = {item.id: item.leaf for item in self.items}
        return {name: score_by_leaf(self.grades[name], leaves) for name in self.scores}

    @cached_property
    def regressions(self) -> dict[str, list[str]]:
        """By metric, the leaves where tuning did harm, where there are any."""
        return {name: lost for name, by_leaf in self.leaf_scores.items() if (lost := regressions(by_leaf))}


def answer_records(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """One line of `answers.jsonl` for each item; a grade of null is one that the judge did not give."""
    evidence = comparison.evidence
    grades = {name: _by_item(own) for name, own in comparison.grades.items()}
    for item in comparison.items:
        yield {
            "id": item.id,
            "leaf": item.leaf,
            "question": item.question,
            "context": item.context,
            **({"choices": list(item.choices), "key": item.key} if item.choices else {}),
            "reference": item.reference,
            "base": evidence.base.shown(item),
            "tuned": evidence.tuned.shown(item),
            "grades": {name: own[item.id] for name, own in grades.items() if item.id in own},
            **_judge_record(evidence, item),
        }


def metrics_record(comparison: Comparison) -> dict[str, Any]:
    """What `metrics.json` holds."""
    return {
        "n": len(comparison.items),
        "metrics": {
            name: {
                **score_record(item),
                "scale": item.scale.value,
                "regressions": comparison.regressions.get(name, []),
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
    effect = item.smallest_detectable_effect
    return {
        "n": item.n,
        "ungraded": item.ungraded,
        "base": _rounded(item.base),
        "tuned": _rounded(item.tuned),
        "interval95": _known(item, item.interval),
        "difference": {
            "value": _rounded(item.difference.value),
            "interval95": _known(item, item.difference.interval),
            "p_value": _rounded(item.difference.p_value),
        },
        "smallest_detectable_effect": None if effect is None else _rounded(effect),
    }


def verdict_record(comparison: Comparison, verdict: Verdict, threshold: float) -> dict[str, Any]:
    """The part of `verdict.json` that follows from the grades.

    A metric that only informs has null as its threshold, `passed` and `clear`.
    """
    return {
        "verdict": verdict.word,
        "clear": verdict.clear,
        "reasons": list(verdict.reasons),
        "n": len(comparison.items),
        "threshold": threshold,
        "metrics": {
            name: {**_measured(item), **_ruling_record(verdict, name, threshold)}
            for name, item in comparison.scores.items()
        },
        "regressions": comparison.regressions,
    }


def interval_record(interval: Interval) -> list[float]:
    return [_rounded(interval.low), _rounded(interval.high)]


def _known(item: Score, interval: Interval) -> Sequence[float | None]:
    """A grade of 0 to 1 has bounds; of a single perplexity nobody can say how far from it the next would be."""
    return [None, None] if item.scale is Scale.PERPLEXITY and item.n == 1 else interval_record(interval)


def _by_item(grades: Grades) -> dict[str, dict[str, float | None]]:
    """Base and tuned grade of each item; of a perplexity the item's own, and not its logarithm."""
    as_shown = math.exp if grades.scale is Scale.PERPLEXITY else float

    def shown(grade: float | None) -> float | None:
        return None if grade is None else _rounded(as_shown(grade))

    rows = zip(grades.items, grades.base, grades.tuned, strict=True)
    return {item: {"base": shown(base), "tuned": shown(tuned)} for item, base, tuned in rows}


def _judge_record(evidence: Evidence, item: Item) -> dict[str, Any]:
    """What the judge said, where it was asked of this item."""
    record: dict[str, Any] = {}
    if item.id in evidence.tuned.judgements:
        opinions = {"base": evidence.base.judgements[item.id], "tuned": evidence.tuned.judgements[item.id]}
        record = {side: _opinion_record(opinion) for side, opinion in opinions.items()}
    if item.id in evidence.preferences:
        record["preferred"] = _preference_record(evidence.preferences[item.id])
    return {"judge": record} if record else {}


def _opinion_record(opinion: Judgement | None) -> dict[str, Any] | None:
    if opinion is None:
        return None
    return {"correct": opinion.correct, "score": _rounded(opinion.score), "reason": opinion.reason}


def _preference_record(preference: Preference | None) -> dict[str, Any] | None:
    names = {0.0: "base", 0.5: "neither", 1.0: "tuned"}
    if preference is None:
        return None
    return {"answer": names[preference.tuned], "reasons": list(preference.reasons)}


def _ruling_record(verdict: Verdict, name: str, threshold: float) -> dict[str, Any]:
    ruling = verdict.rulings.get(name)
    if ruling is None:
        return {"threshold": None, "passed": None, "clear": None}
    return {"threshold": threshold, "passed": ruling.passed, "clear": ruling.clear}


def _measured(item: Score) -> dict[str, Any]:
    return {
        "n": item.n,
        "ungraded": item.ungraded,
        "base": _rounded(item.base),
        "tuned": _rounded(item.tuned),
        "interval": interval_record(item.interval),
        "difference": score_record(item)["difference"],
        "worse_than_base": item.is_significantly_worse,
    }


def _row(leaf: str, metric: str, item: Score) -> dict[str, Any]:
    record = score_record(item)
    difference = record["difference"]
    values = (
        leaf,
        metric,
        record["n"],
        record["ungraded"],
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
