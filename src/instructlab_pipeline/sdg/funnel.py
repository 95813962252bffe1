"""Where every candidate went: counts per leaf that add up."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from instructlab_pipeline.sdg.leaf_run import LeafRun
from instructlab_pipeline.sdg.rows import Rejected


def funnel_of(run: LeafRun) -> dict[str, Any]:
    """Candidates = accepted + evaluation + all that was rejected."""
    rejected = Counter(rejected.reason for rejected in run.rejected)
    accepted, evaluation = len(run.selection.training), len(run.selection.evaluation)
    return {
        "target": run.quota.training,
        "accepted": accepted,
        "shortfall": run.quota.training - accepted,
        "candidates": accepted + evaluation + rejected.total(),
        "rejected": dict(sorted(rejected.items())),
        "evaluation": evaluation,
        "evaluation_target": run.quota.evaluation,
    }


def main_reasons(rejected: Iterable[Rejected], most: int = 3) -> str:
    counts = Counter(item.reason for item in rejected).most_common(most)
    return ", ".join(f"{count} {reason}" for reason, count in counts) or "the teacher wrote nothing"
