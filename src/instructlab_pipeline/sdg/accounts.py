"""What generation came to: samples, calls and tokens, for each leaf and in total."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from instructlab_pipeline.artifacts import Facts
from instructlab_pipeline.sdg.merge import Share


def facts_of(shares: Sequence[Share], models: Mapping[str, str]) -> Facts:
    """`models` by role. Calls and tokens of a leaf include those for its multiple-choice items."""
    leaves: dict[str, Counter[str]] = {}
    for share in shares:
        leaves.setdefault(share.leaf, Counter()).update(_counts(share))
    total: Counter[str] = Counter()
    for counts in leaves.values():
        total.update(counts)
    return {
        "samples": total["accepted"],
        "evaluation": total["evaluation"],
        "multiple_choice": total["multiple_choice"],
        "target": total["target"],
        "rejected": total["rejected"],
        "teacher": models["teacher"],
        "judge": models["judge"],
        "calls": {name: total[name] for name in ("made", "reused", "retries")},
        "tokens": {"in": total["tokens_in"], "out": total["tokens_out"]},
        "leaves": {path: dict(counts) for path, counts in leaves.items()},
    }


def _counts(share: Share) -> dict[str, int]:
    funnel = share.funnel()
    return {
        "accepted": funnel["accepted"],
        "target": funnel["target"],
        share.held_out_in: funnel["evaluation"],
        "rejected": sum(funnel["rejected"].values()),
        **asdict(share.part.tally),
    }
