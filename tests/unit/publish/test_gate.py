from pathlib import Path

import pytest

from instructlab_pipeline.artifacts import Artifact, digest_of
from instructlab_pipeline.errors import GateError
from instructlab_pipeline.publish.gate import require_one_history, require_pass, require_rule

FILES = {"config.json": "1" * 64, "model.safetensors": "2" * 64}
RULE = {"eval_quality_threshold": 0.8, "eval_require_clear": False, "eval_metrics": ("accuracy",)}


def verdict(word: str | None = "pass", **changes) -> dict:
    metric = {"base": 0.1, "tuned": 0.85, "interval": [0.767, 0.907], "threshold": 0.8, "passed": word == "pass"}
    record = {
        "verdict": word,
        "threshold": 0.8,
        "require_clear": False,
        "metrics": {"accuracy": metric},
        "model": {"digest": digest_of(FILES)},
    }
    return record | changes


def artifact(kind: str, digest: str, **inputs: str) -> Artifact:
    return Artifact(path=Path(kind), kind=kind, key="k", digest=digest, inputs=inputs, files=(), facts={})


def test_the_gate_opens_for_the_very_files_that_passed():
    require_pass(verdict(), FILES)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (verdict("fail"), r"accuracy is 0\.850 \(95% interval 0\.767 to 0\.907\), eval_quality_threshold is 0\.8"),
        (verdict(None, metrics={}), "no verdict"),
        ({}, "no verdict"),
        (verdict(model={"digest": "0" * 64}), "another model"),
    ],
)
def test_the_gate_stays_shut_and_says_why(record, reason):
    with pytest.raises(GateError, match=reason) as caught:
        require_pass(record, FILES)
    assert caught.value.exit_code == 5


def test_one_changed_byte_shuts_the_gate():
    with pytest.raises(GateError, match="another model"):
        require_pass(verdict(), FILES | {"config.json": "3" * 64})


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ({"eval_quality_threshold": 0.9}, r"held to eval_quality_threshold=0\.8, and now it is 0\.9"),
        ({"eval_quality_threshold": 0.5}, r"held to eval_quality_threshold=0\.8, and now it is 0\.5"),
        ({"eval_require_clear": True}, "held to eval_require_clear=false, and now it is true"),
        ({"eval_metrics": ("accuracy", "f1")}, "did not measure f1"),
    ],
)
def test_a_verdict_by_another_rule_than_that_of_now_opens_no_gate(now, reason):
    require_rule(verdict(), RULE)
    with pytest.raises(GateError, match=reason) as caught:
        require_rule(verdict(), RULE | now)
    assert "run the stage eval_final again" in caught.value.remedy


def test_stages_that_were_not_made_from_each_other_open_no_gate():
    """`stage taxonomy` alone, at a later commit, leaves a dataset and a model of the earlier one behind."""
    history = [artifact("taxonomy", "a"), artifact("sdg", "b", taxonomy="a"), artifact("dataset", "c", sdg="b")]
    require_one_history(history)
    with pytest.raises(GateError, match="stage sdg was made from another taxonomy than the one that lies in the run"):
        require_one_history([artifact("taxonomy", "later"), *history[1:]])
