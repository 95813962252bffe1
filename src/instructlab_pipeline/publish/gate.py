"""The gate: no image without a verdict of "pass" on these very files, by the rule of now, and one history. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from instructlab_pipeline.artifacts import Artifact, digest_of
from instructlab_pipeline.errors import GateError

RULE = {"eval_quality_threshold": "threshold", "eval_require_clear": "require_clear"}  # parameter, name in a verdict
JUDGE_AGAIN = "run the stage eval_final again"


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
            remedy=f"{JUDGE_AGAIN}, on the model that training ended with",
        )


def require_rule(verdict: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Refuse a verdict that was given by another rule than the parameters state now.

    Raises:
        GateError: it is such a verdict.
    """
    for parameter, name in RULE.items():
        if verdict.get(name) != parameters[parameter]:
            raise GateError(
                f"the final evaluation was held to {parameter}={_word(verdict.get(name))}, "
                f"and now it is {_word(parameters[parameter])}. Nothing was published",
                remedy=f"{JUDGE_AGAIN}, or set {parameter} back",
            )
    for metric in parameters["eval_metrics"]:
        if metric not in verdict["metrics"]:
            raise GateError(
                f"the final evaluation did not measure {metric}, which eval_metrics names now. Nothing was published",
                remedy=f"{JUDGE_AGAIN}, or set eval_metrics back",
            )


def require_one_history(artifacts: Sequence[Artifact]) -> None:
    """Refuse artifacts that were not made from each other: the proof would name what the model does not come from.

    Raises:
        GateError: a stage was run again, and one that needs it was not.
    """
    digests = {artifact.kind: artifact.digest for artifact in artifacts}
    for artifact in artifacts:
        for name, digest in artifact.inputs.items():
            if digests.get(name, digest) != digest:
                raise GateError(
                    f"stage {artifact.kind} was made from another {name} than the one that lies in the run now. "
                    "Nothing was published",
                    remedy="call `instructlab-pipeline run`, which makes anew what is out of date",
                )


def _failures(verdict: Mapping[str, Any]) -> str:
    failed = [
        f"{name} is {metric['tuned']:.3f} (95% interval {metric['interval'][0]:.3f} to {metric['interval'][1]:.3f}), "
        f"eval_quality_threshold is {metric['threshold']}"
        for name, metric in verdict.get("metrics", {}).items()
        if metric["passed"] is False  # None: it informs only
    ]
    return "; ".join(failed or verdict.get("reasons", ())) or "it has no verdict"


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
