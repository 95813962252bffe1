"""The sdg stage where everything goes wrong at once, and where it is killed again and again."""

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

from servers.command import PROGRAM
from servers.sdg_children import Children
from servers.sdg_inputs import leaf, outputs, records, run_sdg, sdg_inputs, seal_taxonomy, three_chunks
from servers.teacher_server import TeacherServer

KINDS = ("freeform", "grounded", "knowledge")
TRANSPORT = {"500": 0.05, "disconnect": 0.02, "straggler": 0.01}
CONTENT = {"garbage": 0.05, "truncated": 0.02, "empty": 0.01}
BROKEN = {"empty", "not_json", "truncated", "not_as_asked"}
IN_FLIGHT = 8
KILLS = 50


@pytest.fixture
def taxonomy(tmp_path):
    """Nine leaves of all kinds."""
    leaves = [leaf(f"{kind}/number_{number}", kind) for kind in KINDS for number in range(3)]
    chunks = [chunk for one in leaves if one["kind"] == "knowledge" for chunk in three_chunks(one["path"])]
    return seal_taxonomy(tmp_path / "taxonomy", leaves=leaves, chunks=chunks)


@pytest.fixture
def clean(tmp_path, taxonomy):
    """What an undisturbed run gives."""
    with TeacherServer() as teacher:
        run_sdg(tmp_path / "clean", sdg_inputs(taxonomy, teacher.url))
    return outputs(tmp_path / "clean")


def by_leaf(samples):
    found = {}
    for line in samples.splitlines():
        found.setdefault(json.loads(line)["leaf"], []).append(line)
    return found


def test_kill_9_at_50_moments_of_one_job_costs_at_most_the_calls_in_flight(tmp_path, taxonomy, clean):
    moments = random.Random(1)
    with TeacherServer(latency_s=(0.0, 0.01)) as teacher, Children(tmp_path, taxonomy, teacher.url) as children:
        for _ in range(KILLS):
            goal = len(teacher.requests) + moments.randrange(2, 16)
            teacher.holds_after = goal
            child = children.start()
            _wait_for(lambda goal=goal: len(teacher.requests) >= goal)
            os.kill(child, signal.SIGKILL)
            assert children.ended() == -signal.SIGKILL
        teacher.holds_after = None
        children.start()
        assert children.ended() == 0
        assert teacher.repeated() <= KILLS * IN_FLIGHT
    assert outputs(tmp_path) == clean


def test_everything_at_once_loses_nothing_to_the_transport_and_next_to_nothing_to_garbage(tmp_path, taxonomy, clean):
    with TeacherServer(latency_s=(0.0, 0.02), faults={**TRANSPORT, **CONTENT}, room=12) as teacher:
        threading.Thread(target=_outage, args=(teacher,), daemon=True).start()
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url, sdg_num_workers=2, sdg_batch_size=8))
    assert facts["samples"] == facts["target"]
    rejected = records(tmp_path, "rejected")
    assert not [record for record in rejected if record["reason"] == "refused_by_endpoint"]
    assert sum(record["reason"] in BROKEN for record in rejected) <= 0.01 * (len(rejected) + facts["samples"])
    after, before = by_leaf(outputs(tmp_path)["samples.jsonl"]), by_leaf(clean["samples.jsonl"])
    assert sum(after[path] != samples for path, samples in before.items()) <= 2


def test_the_account_of_a_run_that_was_killed_is_that_of_one_that_was_not(tmp_path, taxonomy):
    with TeacherServer() as teacher:
        straight = run_sdg(tmp_path / "straight", sdg_inputs(taxonomy, teacher.url))
    with (
        TeacherServer(latency_s=(0.0, 0.02), faults={"503": 0.1}) as teacher,
        Children(tmp_path, taxonomy, teacher.url) as children,
    ):
        teacher.holds_after = 100
        child = children.start()
        _wait_for(lambda: sum(teacher.answered.values()) >= 60)
        os.kill(child, signal.SIGKILL)
        assert children.ended() == -signal.SIGKILL
        teacher.holds_after = None
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
        paid = sum(teacher.answered.values()) - teacher.repeated()
    assert facts["calls"]["made"] + facts["calls"]["reused"] == straight["calls"]["made"] == paid
    assert facts["calls"]["reused"] > 0
    assert facts["calls"]["retries"] > 0
    for count in ("tokens", "rejected", "samples", "evaluation"):
        assert facts[count] == straight[count]


def test_a_full_disk_stops_the_stage_clearly_and_it_goes_on_when_there_is_room(tmp_path, taxonomy, clean):
    with TeacherServer() as teacher:
        environment = {
            **os.environ,
            "SDG_BASE_MODEL": "s3://bucket/model",
            "SDG_REPO_URL": "https://example.org/taxonomy.git",
            "OUTPUT_OCI_MODEL_URI": "quay.io/team/model:1",
            "SDG_TEACHER_ENDPOINT": teacher.url,
            "SDG_SCALE_FACTOR": "4",
            "EVAL_NUM_SAMPLES": "6",
            "SDG_BATCH_SIZE": "4",
            "SDG_NUM_WORKERS": "2",
        }
        shutil.copytree(taxonomy.path, tmp_path / "runs" / "first" / "taxonomy")
        work = [*PROGRAM, "stage", "sdg", "--run-dir", str(tmp_path / "runs" / "first")]
        no_file_above_40_kb = ["bash", "-c", 'ulimit -f 40; exec "$@"', "-"]
        full = subprocess.run(
            [*no_file_above_40_kb, *work], env=environment, capture_output=True, text=True, check=False
        )
        assert full.returncode == 4, full.stderr
        assert "cannot write the journal of teacher calls" in full.stderr
        assert "make room" in full.stderr.split("what to do:")[1]
        done = subprocess.run(work, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert teacher.repeated() <= IN_FLIGHT
    assert outputs(tmp_path / "runs" / "first") == clean


def _outage(teacher):
    _wait_for(lambda: len(teacher.requests) > 60)
    faults, teacher.faults = teacher.faults, {"503": 1.0}
    time.sleep(1.0)
    teacher.faults = faults


def _wait_for(condition, *, at_most_s=120):
    deadline = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
