"""TensorBoard and MLflow are told of each step, and nobody's training ends for them."""

import pytest

from instructlab_pipeline.events import Events
from instructlab_pipeline.training.trackers import Trackers
from servers.training_inputs import sealed_model, training_job


@pytest.fixture
def seen():
    return []


@pytest.fixture
def job_of(tmp_path):
    def job(**changes):
        made = training_job(tmp_path, sealed_model(tmp_path / "model"), tmp_path / "data.jsonl", **changes)
        made.work.mkdir()
        return made

    return job


def test_nobody_is_told_unless_asked_for(job_of, seen):
    job = job_of()
    trackers = Trackers(job, Events(listeners=[seen.append]))
    trackers.log({"loss": 1.0}, 1)
    trackers.close()
    assert list(job.work.iterdir()) == []
    assert seen == []


def test_tensorboard_gets_the_numbers_of_each_step(job_of, seen):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    job = job_of(tensorboard=True)
    trackers = Trackers(job, Events(listeners=[seen.append]))
    trackers.log({"loss": 1.5, "mfu": None, "tokens": 12}, 7)
    trackers.close()
    written = EventAccumulator(str(job.work / "tensorboard"))
    written.Reload()
    tags = written.Tags()["tensors"]
    assert sorted(tags) == ["loss", "tokens"]
    assert [event.step for event in written.Tensors("loss")] == [7]
    assert seen == []


@pytest.mark.filterwarnings("ignore")  # what mlflow's own store imports warns
def test_mlflow_gets_one_run_for_a_phase_that_was_begun_twice(job_of, seen, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlflow").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    job = job_of()
    for step in (1, 2):
        trackers = Trackers(job, Events(listeners=[seen.append]))
        trackers.log({"loss": 1.0 / step}, step)
        trackers.close()
    assert seen == []
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("instructlab-pipeline").experiment_id])
    assert run.data.params["learning_rate"] == str(job.learning_rate)
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [(1, 1.0), (2, 0.5)]


@pytest.mark.filterwarnings("ignore")
def test_a_tracker_that_fails_is_given_up_with_a_notice(job_of, seen, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    trackers = Trackers(job_of(), Events(listeners=[seen.append]))
    trackers.log({"loss": 1.0}, 1)
    trackers.close()
    (notice,) = seen
    assert "MLflow is told nothing more" in notice["message"]
