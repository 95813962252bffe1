"""The gate: no image without a verdict of "pass" on these very files. Pure."""

from collections.abc import Mapping
from typing import Any

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.errors import GateError


def require_pass(verdict: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Let a model through whose `files` (sha256 by path) the final evaluation has judged and passed.

    Raises:
        GateError: the verdict is another one, or was on other files.
    """
    if verdict.get("verdict") != "pass":
        raise GateError(
            f"the final evaluation did not pass the model: {_failures(verdict)}. Nothing was published",
            remedy="look at the answers of stage eval_final, improve the taxonomy or the training, and run again",
        )
    if verdict["model"]["digest"] != digest_of(dict(files)):
        raise GateError(
            "the final evaluation passed another model than the one to be published. Nothing was published",
            remedy="run the stage eval_final again, on the model that training ended with",
        )


def _failures(verdict: Mapping[str, Any]) -> str:
    failed = [
        f"{name} is {metric['tuned']:.3f} (95% interval {metric['interval'][0]:.3f} to {metric['interval'][1]:.3f}), "
        f"eval_quality_threshold is {metric['threshold']}"
        for name, metric in verdict.get("metrics", {}).items()
        if metric["passed"] is False  # None: it informs only
    ]
    return "; ".join(failed or verdict.get("reasons", ())) or "it has no verdict"
