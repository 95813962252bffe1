"""What each parameter takes and refuses, by the table in tests/golden/params/values.yaml."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.errors import ParameterError
from instructlab_pipeline.params.layers import resolve
from instructlab_pipeline.params.table import PARAMETERS

TABLE = yaml.safe_load((Path(__file__).parents[2] / "golden" / "params" / "values.yaml").read_text())
GOOD = [(name, text, value) for name, texts in TABLE["good"].items() for text, value in texts.items()]
BAD = [(name, text, reason) for name, texts in TABLE["bad"].items() for text, reason in texts.items()]
REQUIRED = [
    ("sdg_base_model", "s3://bucket/model"),
    ("sdg_repo_url", "https://example.com/taxonomy.git"),
    ("output_oci_model_uri", "quay.io/org/model:1"),
]


def on_command_line(name, text):
    required = [(other, value) for other, value in REQUIRED if other != name]
    return resolve(environment={}, overrides=[*required, (name, text)])


def typed(value):
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_good_value_is_read(name, text, value):
    resolved = on_command_line(name, text)
    assert not resolved.complaints
    assert resolved.values[name] == typed(value)
    assert type(resolved.values[name]) is type(typed(value))
    assert getattr(resolved.parameters, name) == typed(value)


@pytest.mark.parametrize(("name", "text", "reason"), BAD)
def test_a_bad_value_gets_one_line_that_says_why(name, text, reason):
    (complaint,) = on_command_line(name, text).complaints
    assert complaint.startswith(f"{name}: ")
    assert reason in complaint
    assert "(command line)" in complaint
    assert complaint.endswith(f"valid: {PARAMETERS[name].kind.valid}")
    assert "\n" not in complaint


def test_every_parameter_refuses_something():
    text_only = {
        "sdg_flows",
        "sdg_judge_model",
        "train_learning_rate_phase_2",
        "eval_judge_model",
        "eval_candidate_model",
    }
    assert {name for name, _, _ in BAD} | text_only == set(PARAMETERS)


def test_all_bad_values_at_once_get_a_line_each():
    environment = {name.upper(): next(iter(texts)) for name, texts in TABLE["bad"].items()}
    with pytest.raises(ParameterError) as raised:
        _ = resolve(environment=environment, files=["missing.env"], overrides=[("no_such_name", "1")]).parameters
    complaints = raised.value.complaints
    assert len(complaints) == len(environment) + 2
    assert all(sum(line.startswith(f"{name}: ") for line in complaints) == 1 for name in TABLE["bad"])
    assert raised.value.exit_code == 2
    assert raised.value.remedy


def test_every_bad_value_in_one_stack_of_files_gets_a_line(tmp_path):
    """Files may each give a parameter once, so the n-th file holds the n-th bad value of every parameter."""
    files = []
    for depth in range(max(map(len, TABLE["bad"].values()))):
        nth = {name: list(texts)[depth] for name, texts in TABLE["bad"].items() if depth < len(texts)}
        path = tmp_path / f"{depth}.yaml"
        path.write_text(yaml.safe_dump(nth, allow_unicode=True), encoding="utf-8")
        files.append(str(path))
    resolved = resolve(environment={}, files=files)
    assert len(resolved.complaints) == len(BAD)
    for name, texts in TABLE["bad"].items():
        assert sum(line.startswith(f"{name}: ") for line in resolved.complaints) == len(texts)


def test_passwords_and_tokens_are_not_repeated_in_complaints():
    for name, text in [
        ("sdg_repo_url", "https://user:hunter2@github.com/org/taxonomy"),
        ("sdg_repo_url", "https://hunter2@github.com/org/taxonomy"),
        ("sdg_repo_url", "https://user:pass/hunter2@github.com/org/taxonomy"),
        ("sdg_repo_url", "https://github.com/org/taxonomy?token=hunter2"),
        ("output_oci_model_uri", "user:hunter2@quay.io/org/model"),
        ("sdg_base_model", "s3://key:hunter2@bucket/prefix"),
        ("sdg_base_model", "https://bucket.s3.amazonaws.com/model?X-Amz-Signature=hunter2"),
        ("sdg_teacher_endpoint", "https://host/v1#hunter2"),
    ]:
        (complaint,) = on_command_line(name, text).complaints
        assert "hunter2" not in complaint


@given(name=st.sampled_from(sorted(PARAMETERS)), text=st.text())
def test_any_text_is_a_value_or_a_complaint_of_one_line(name, text):
    resolved = on_command_line(name, text)
    if resolved.complaints:
        assert len(resolved.complaints) == 1
        assert len(resolved.complaints[0].splitlines()) == 1
        resolved.complaints[0].encode("utf-8")
    else:
        assert resolved.parameters


@given(
    name=st.sampled_from(["k8s_node_selector", "k8s_tolerations", "k8s_worker_resources"]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["key", "operator", "effect", "cpu", "memory", "x"]), inner, max_size=4)
        ),
        max_leaves=8,
    ),
)
def test_any_json_is_a_value_or_a_complaint(name, value):
    assert len(on_command_line(name, json.dumps(value)).complaints) <= 1


def test_json_nested_without_end_is_a_complaint():
    (complaint,) = on_command_line("k8s_tolerations", "[" * 100_000).complaints
    assert "nested too deeply" in complaint
    assert len(complaint) < 500
