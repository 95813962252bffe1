"""Which checkpoint a run goes on from, what is handed to workers, and what they hand back."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.errors import Interrupted, SourceError, WorkerError
from instructlab_pipeline.events import Events, append_line
from instructlab_pipeline.training.checkpoint import newest
from instructlab_pipeline.training.export import shards
from instructlab_pipeline.training.failure import explained, read_failure, record_failure
from instructlab_pipeline.training.job import TrainingJob
from instructlab_pipeline.training.telemetry import Follower, Telemetry
from instructlab_pipeline.training.trackers import Trackers


def write_checkpoint(recovery, step, *, fingerprint="run"):
    folder = recovery / f"step-{step:08d}"
    folder.mkdir(parents=True)
    (folder / "part").write_bytes(b"weights")
    (folder / "manifest.json").write_text(json.dumps({"fingerprint": fingerprint, "files": {"part": 7}}))
    return folder


def test_the_newest_whole_checkpoint_of_this_run_is_used(tmp_path):
    older, wanted = write_checkpoint(tmp_path, 90), write_checkpoint(tmp_path, 100)
    assert newest(tmp_path, "run") == wanted
    write_checkpoint(tmp_path, 110, fingerprint="another run")
    assert newest(tmp_path, "run") == wanted
    (wanted / "part").write_bytes(b"torn")
    assert newest(tmp_path, "run") == older
    (older / "manifest.json").unlink()
    assert newest(tmp_path, "run") is None


def test_a_job_comes_back_from_its_file(tmp_path):
    job = a_job(tmp_path)
    job.write(tmp_path / "job.json")
    assert TrainingJob.read(tmp_path / "job.json") == job


def a_job(tmp_path):
    return TrainingJob(
        name="train_phase_1",
        model=Path("/model"),
        data=Path("/data.jsonl"),
        output=tmp_path,
        work=tmp_path / "work",
        tokens=tmp_path / "tokens",
        fingerprint="f",
        epochs=7,
        learning_rate=2e-5,
        schedule="constant",
        warmup_ratio=0.05,
        samples_per_step=64,
        micro_batch_tokens=16384,
        max_sample_tokens=2048,
        seed=42,
    )


@given(st.lists(st.integers(1, 120), min_size=1, max_size=20))
def test_shards_hold_every_weight_once_up_to_their_limit(sizes):
    named = {f"weight.{i:02d}": size for i, size in enumerate(sizes)}
    plan = shards(named, 100)
    assert [name for names in plan.values() for name in names] == list(named)
    assert all(len(names) == 1 or sum(named[name] for name in names) <= 100 for names in plan.values())


def test_shards_are_named_as_transformers_expects():
    assert list(shards({"a": 1, "b": 2}, 100)) == ["model.safetensors"]
    assert list(shards({"a": 60, "b": 60}, 100)) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


def test_the_first_failure_is_the_one_that_is_told(tmp_path):
    path = tmp_path / "failure.json"
    assert read_failure(path) is None
    record_failure(path, SourceError("no model", remedy="get one"))
    record_failure(path, WorkerError("a peer is gone", remedy="look at it"))
    failure = read_failure(path)
    assert isinstance(failure, SourceError)
    assert (failure.message, failure.remedy) == ("no model", "get one")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("x\n[rank1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=9)\ny", "NCCL timeout"),
        ("[pair.cc:553] Connection closed by peer [127.0.0.1]:5043. This is typically", "another worker has ended"),
        ("RuntimeError: NCCL error in: ncclAllReduce", "GPUs cannot talk"),
    ],
)
def test_what_libraries_say_of_lost_peers_is_put_in_words(told, expected):
    failure = explained(told)
    assert expected in failure.message
    assert "run the same command again" in failure.remedy
    assert explained("nothing known") is None


def test_a_worker_that_was_asked_to_stop_is_a_worker_error(tmp_path):
    record_failure(tmp_path / "failure.json", Interrupted("asked to stop"))
    assert isinstance(read_failure(tmp_path / "failure.json"), WorkerError)


@pytest.fixture
def seen():
    return []


def test_steps_become_progress_and_a_metric_and_torn_lines_wait(tmp_path, seen):
    path = tmp_path / "telemetry.jsonl"
    append_line(path, {"kind": "notice", "message": "of an earlier attempt"})
    events = Events(listeners=[seen.append])
    follower = Follower(path, "train_phase_1", events, Trackers(a_job(tmp_path), events))
    Telemetry(path, speaks=False).tell("notice", message="not the first worker")
    Telemetry(path, speaks=True).tell("step", step=3, steps=9, loss=1.5, learning_rate=0.1)
    with path.open("a") as file:
        file.write('{"kind": "notice", ')
    follower.follow()
    assert [(event["event"], event["name"]) for event in seen] == [("progress", "train_phase_1"), ("metric", "loss")]
    assert (seen[0]["done"], seen[0]["total"], seen[1]["value"], seen[1]["step"]) == (3, 9, 1.5, 3)
    with path.open("a") as file:
        file.write('"message": "whole now"}\n')
    follower.follow()
    assert seen[-1]["message"] == "whole now"
    follower.follow()
    assert len(seen) == 3
