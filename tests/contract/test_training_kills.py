"""kill -9 at any moment, of anybody: run again, a training ends with bitwise the same weights.

Each test kills one job again and again, at moments that are drawn, before it lets it end. INSTRUCTLAB_PIPELINE_KILLS
says how often (4), INSTRUCTLAB_PIPELINE_KILL_SEED which moments and victims are drawn (1).
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from instructlab_pipeline.artifacts import file_digest, write_jsonl
from instructlab_pipeline.events import Events
from instructlab_pipeline.training.launch import Processes, train
from servers.held import WRITING_A_MODEL, after_step, held
from servers.training_inputs import chats, sealed_model, training_job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("INSTRUCTLAB_PIPELINE_KILLS", "4"))
SEED = int(os.environ.get("INSTRUCTLAB_PIPELINE_KILL_SEED", "1"))
STEPS_AN_EPOCH, MOST_STEPS = 5, 15  # in one attempt
PIPELINE = """
import sys
from pathlib import Path
from instructlab_pipeline.events import Events
from instructlab_pipeline.training.job import TrainingJob
from instructlab_pipeline.training.launch import Processes, train

train(TrainingJob.read(Path(sys.argv[1])), Processes(workers=int(sys.argv[2]), cpus=1), Events())
"""


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_jsonl(folder / "phase_2.jsonl", chats(33, unmask=False))
    return sealed_model(folder / "model"), folder / "phase_2.jsonl"


def weights(job):
    return file_digest(job.output / "model" / "model.safetensors")


def processes_of(job):
    """Process ids of the job's workers."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            argv = (folder / "cmdline").read_text().split("\0")
        except OSError:  # no process, or one that has just ended
            continue
        if str(job.work / "job.json") in argv and "instructlab_pipeline.training.worker" in argv:
            found.append(int(folder.name))
    return found


def steps_of(job):
    return len(re.findall('"kind": "step"', job.telemetry.read_text())) if job.telemetry.exists() else 0


def is_reached(job, moment, begun_after):
    """begun_after: the newest checkpoint, and the number of steps told, that have to be exceeded."""
    checkpoint, steps = begun_after
    if moment != "start" and checkpoint is not None and newest_of(job) <= checkpoint:
        return False
    match moment:
        case "start":
            return bool(processes_of(job))
        case "step":
            return steps_of(job) > steps
        case "save":
            return any(job.recovery.glob(".step-*")) or steps_of(job) > steps + 10  # some are over in a moment
        case "export":
            return any(job.output.glob(".model.draft*"))


def newest_of(job):
    return max((path.name for path in job.recovery.glob("step-*")), default="")


def kill(victims):
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue


def attempt(job, workers, moment, pick):
    """Run until the moment comes, and kill one worker, all of them, or the pipeline, which cannot end before."""
    saved_first = moment in {"step", "save"} and pick.random() < 0.7
    begun_after = newest_of(job) if saved_first else None, steps_of(job) + pick.randrange(3)
    with held(WRITING_A_MODEL if moment == "export" else after_step(steps_of(job) + MOST_STEPS)):
        pipeline = subprocess.Popen([sys.executable, "-c", PIPELINE, job.work / "handed.json", str(workers)])
        while not is_reached(job, moment, begun_after):
            assert pipeline.poll() is None
            time.sleep(0.002)
        time.sleep(pick.random() * 0.02)
        alive = processes_of(job)
        kill(pick.choice([alive[:1], alive, [pipeline.pid]]))
        assert pipeline.wait() != 0
    while processes_of(job):  # the kernel ends them with their parents
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
def test_whoever_is_killed_whenever_the_weights_are_the_same_in_the_end(workers, material, tmp_path):
    pick = random.Random(f"{SEED} {workers}")
    length = {"epochs": KILLS * MOST_STEPS // STEPS_AN_EPOCH + 1}  # so that no moment comes after the end
    straight = training_job(tmp_path / "straight", *material, **length)
    train(straight, Processes(workers=workers, cpus=1), Events())
    job = training_job(tmp_path / "job", *material, **length, recovery_interval_s=0.0, recovery_share=1e9)
    job.work.mkdir(parents=True)
    job.write(job.work / "handed.json")
    moments = ["save", "step", "start", "export", *pick.choices(["start", "step", "save", "export"], k=KILLS)][:KILLS]
    for moment in sorted(moments, key="export".__eq__):
        attempt(job, workers, moment, pick)
    train(job, Processes(workers=workers, cpus=1), Events())
    assert weights(job) == weights(straight)
