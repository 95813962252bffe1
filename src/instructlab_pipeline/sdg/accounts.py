"""What generation came to: samples, calls and tokens, for each leaf and in total."""

from collections.abc import Mapping, Sequence
from typing import Any

from instructlab_pipeline.artifacts import Facts
from instructlab_pipeline.sdg.leaf_run import Tally
from instructlab_pipeline.sdg.merge import Share


def facts_of(shares: Sequence[Share], models: Mapping[str, str]) -> Facts:
    """`models` by role."""
    leaves = {share.name: _leaf(share) for share in shares}
    return {
        "samples": _sum(leaves, "accepted"),
        "evaluation": _sum(leaves, "evaluation"),
        "target": _sum(leaves, "target"),
        "rejected": _sum(leaves, "rejected"),
        "teacher": models["teacher"],
        "judge": models["judge"],
        "calls": {name: _sum(leaves, name) for name in ("made", "reused", "retries")},
        "tokens": {"in": _sum(leaves, "tokens_in"), "out": _sum(leaves, "tokens_out")},
        "leaves": leaves,
    }


def _leaf(share: Share) -> dict[str, int]:
    funnel, tally = share.funnel(), share.part.tally
    counts = {name: funnel[name] for name in ("accepted", "target", "evaluation")}
    return counts | {
        "rejected": sum(funnel["rejected"].values()),
        **{name: getattr(tally, name) for name in Tally.__dataclass_fields__},
    }


def _sum(leaves: Mapping[str, Mapping[str, Any]], name: str) -> int:
    return sum(leaf[name] for leaf in leaves.values())
