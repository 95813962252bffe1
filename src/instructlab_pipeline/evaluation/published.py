"""Is the tuned model worse than the one that is published under the same name? Pure.

The published version answered other questions, so its mean and this one's are two samples: the difference is held
against the widths of both 95% intervals. It informs; the threshold decides.
"""

import math
from collections.abc import Mapping
from typing import Any

from instructlab_pipeline.evaluation.metrics import Scale
from instructlab_pipeline.evaluation.statistics import Z_95, Interval, holm
from instructlab_pipeline.evaluation.verdict import REGRESSION_LEVEL, Score


def compared_to_published(published: Mapping[str, Any], scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """By metric that both know: the published value, the difference, its p-value among all of them, and `worse`.

    published: {"metrics": {NAME: {"tuned": value, "interval": [low, high]}}}, as `publish` writes it.
    """
    known = {name: each for name, each in published.get("metrics", {}).items() if name in scores}
    adjusted = holm({name: _p_value(each, scores[name]) for name, each in known.items()})
    return {
        name: {
            "published": each["tuned"],
            "tuned": round(scores[name].tuned, 6),
            "difference": round(scores[name].tuned - each["tuned"], 6),
            "p_value": round(adjusted[name], 6),
            "worse": adjusted[name] < REGRESSION_LEVEL and _is_behind(scores[name], each["tuned"]),
        }
        for name, each in known.items()
    }


def _p_value(published: Mapping[str, Any], score: Score) -> float:
    """Two-sided, by the normal distribution."""
    error = math.hypot(_standard_error(Interval(*published["interval"])), _standard_error(score.interval))
    distance = abs(score.tuned - published["tuned"])
    if not error:
        return float(distance == 0)
    return math.erfc(distance / error / math.sqrt(2))


def _standard_error(interval: Interval) -> float:
    return (interval.high - interval.low) / (2 * Z_95)


def _is_behind(score: Score, published: float) -> bool:
    return score.tuned > published if score.scale is Scale.PERPLEXITY else score.tuned < published
