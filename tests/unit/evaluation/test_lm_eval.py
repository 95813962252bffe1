"""Tasks of lm-evaluation-harness; the one test that needs it runs where the extra is installed."""

import importlib.util
import json

import pytest

from instructlab_pipeline.artifacts import seal
from instructlab_pipeline.errors import SourceError, UsageError
from instructlab_pipeline.evaluation.candidate import base_candidate, tuned_candidate
from instructlab_pipeline.evaluation.lm_eval import measured, require_task_files, require_tasks, task_results
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context
from servers.tiny_model import write_tiny_model

INSTALLED = importlib.util.find_spec("lm_eval") is not None
RECORDED = {  # by lm-eval 0.4.13
    "results": {
        "capitals": {
            "name": "capitals",
            "alias": "capitals",
            "sample_len": 2,
            "acc,none": 0.5,
            "acc_stderr,none": 0.5,
            "exact_match,strict-match": 0.25,
            "exact_match_stderr,strict-match": "N/A",
        }
    },
    "higher_is_better": {"capitals": {"acc": True}},
}


def test_metrics_are_read_with_their_errors_and_filters():
    assert measured(RECORDED) == {
        "capitals": {
            "acc": {"value": 0.5, "stderr": 0.5},
            "exact_match (strict-match)": {"value": 0.25, "stderr": None},
        }
    }


@pytest.mark.skipif(INSTALLED, reason="lm-eval is installed here")
def test_tasks_are_refused_before_anything_is_spent_where_lm_eval_is_not_installed():
    require_tasks(())
    with pytest.raises(UsageError, match="not installed") as caught:
        require_tasks(("task.yaml",))
    assert "pip install 'instructlab-pipeline[lm-eval]'" in caught.value.remedy


@pytest.mark.skipif(not INSTALLED, reason="needs the extra lm-eval")
def test_a_task_of_ones_own_is_run_on_both_models_and_kept(tmp_path):
    questions = [{"question": "Which?", "choices": ["red", "blue"], "key": 1}] * 2
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in questions))
    task = {
        "task": "capitals",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "questions.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{key}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (tmp_path / "task.yaml").write_text(json.dumps(task))
    write_tiny_model(tmp_path / "model" / "files")
    write_tiny_model(tmp_path / "train_phase_2" / "model", seed=3)
    base, tuned = (
        seal(tmp_path / name, kind=name, key="k", inputs={}, facts={}) for name in ("model", "train_phase_2")
    )
    context = Context(folder=tmp_path / "stage", cache=tmp_path / "cache", events=Events())
    asked = base_candidate(base), tuned_candidate(tuned), (str(tmp_path / "task.yaml"),), 4, context
    found = task_results(*asked)
    assert found["capitals"]["acc"].keys() == {"base", "tuned", "stderr"}
    (context.work / "lm-eval-of-model.log").unlink()
    assert task_results(*asked) == found
    assert not (context.work / "lm-eval-of-model.log").exists()


def test_a_task_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises((SourceError, UsageError), match="eval_lm_eval_tasks"):
        require_tasks((str(tmp_path / "absent.yaml"),))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("task: [x\nfoo: }", "is not YAML: .*line 2, column 4"),
        ("- task: a", "defines no task"),
        ("", "defines no task"),
        ("metric_list: []", "defines no task"),
        ("task: a\ndataset_kwargs: {data_files: {test: [/absent.jsonl]}}", "its data is not there: /absent.jsonl"),
    ],
)
def test_a_task_file_that_can_only_fail_is_named_before_anything_is_spent(tmp_path, text, fault):
    path = tmp_path / "task.yaml"
    path.write_text(text)
    with pytest.raises(SourceError, match=rf"task\.yaml: {fault}"):
        require_task_files((str(path),))


def test_task_files_may_name_functions_and_data_that_is_found_by_a_pattern(tmp_path):
    path = tmp_path / "task.yaml"
    path.write_text("task: a\ndoc_to_text: !function utils.text\ndataset_kwargs: {data_files: 'data/*.jsonl'}\n")
    require_task_files((str(path),))
