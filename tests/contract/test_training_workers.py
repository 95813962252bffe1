"""Training in real worker processes: any number of them learns the same, and none of their deaths loses anything."""

import json
import os
import random
import re
import resource
import shutil
import signal
import string
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from instructlab_pipeline.artifacts import file_digest, write_jsonl
from instructlab_pipeline.errors import SourceError, WorkerError
from instructlab_pipeline.events import Events, read_events
from instructlab_pipeline.training.checkpoint import newest
from instructlab_pipeline.training.launch import Processes, train
from instructlab_pipeline.training.plan import Plan
from instructlab_pipeline.training.spike import IN_A_ROW
from servers.held import after_step, held
from servers.loopback import free_port
from servers.training_inputs import chats, sealed_model, training_job

pytestmark = pytest.mark.slow

TWO = Processes(workers=2, cpus=1)
PATIENCE_S = 120.0  # with a busy machine


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_jsonl(folder / "phase_2.jsonl", chats(33, unmask=False))
    return sealed_model(folder / "model"), folder / "phase_2.jsonl"


@pytest.fixture(scope="module")
def straight(material, tmp_path_factory):
    """An undisturbed run of two workers."""
    return run(training_job(tmp_path_factory.mktemp("straight"), *material))


PIPELINE = """
import resource, sys
from pathlib import Path
from instructlab_pipeline.events import Events
from instructlab_pipeline.training.job import TrainingJob
from instructlab_pipeline.training.checkpoint import newest
from instructlab_pipeline.training.launch import Processes, train
from instructlab_pipeline.training.plan import Plan
from instructlab_pipeline.training.spike import IN_A_ROW

job, workers, memory = TrainingJob.read(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
if memory:
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
train(job, Processes(workers=workers, cpus=1), Events(path=job.work / "events.jsonl"))
"""


def pipeline_of_its_own(job, *, workers, memory=0):
    """A process that trains as the pipeline would, with so many bytes of memory for each of its processes."""
    job.work.mkdir(parents=True, exist_ok=True)
    handed = job.work / "handed.json"
    job.write(handed)
    return subprocess.Popen([sys.executable, "-c", PIPELINE, handed, str(workers), str(memory)])


def run(job, processes=TWO, listener=lambda event: None):
    result = train(job, processes, Events(listeners=[listener]))
    return job, result


def losses(job):
    lines = [json.loads(line) for line in job.telemetry.read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "step"]


def weights(job):
    return file_digest(job.output / "model" / "model.safetensors")


def run_until(step, act, job):
    """Run and act once when `step` is done; till then no worker goes further."""
    with held(after_step(step)) as hold:

        def listener(event):
            if event["event"] == "progress" and event["unit"] == "steps" and event["done"] == step:
                hold.reached()
                act()
                hold.let_go()

        return run(job, listener=listener)


def run_again(job, act):
    """Go on from a checkpoint and act before the first step, after which the next checkpoint is due."""
    with held(after_step(1)) as hold, ThreadPoolExecutor(1) as pool:
        acted = pool.submit(lambda: (hold.reached(), act(), hold.let_go()))
        try:
            return run(job)
        finally:
            acted.result()


def kill(job, rank):
    wait_for_checkpoint(job)
    os.kill(workers_of(job)[rank], signal.SIGKILL)


def wait_for_checkpoint(job):
    """It is written beside the steps, and may take longer than some of them."""
    deadline = time.monotonic() + PATIENCE_S
    while newest(job.recovery, job.fingerprint) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers_of(job):
    """Process ids of the job's workers, by rank."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            argv = (folder / "cmdline").read_text().split("\0")
            if str(job.work / "job.json") in argv and "instructlab_pipeline.training.worker" in argv:
                rank = re.search(r"\0RANK=(\d+)", (folder / "environ").read_text())
                found[int(rank[1])] = int(folder.name)
        except (OSError, ValueError):  # no process, or one that has just ended
            continue
    return found


def wait_until_gone(job):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and workers_of(job):
        time.sleep(0.05)
    assert workers_of(job) == {}


def test_a_toy_run_keeps_its_losses(straight):
    """If the change is meant: write what `losses` gives."""
    golden = json.loads((Path(__file__).parents[1] / "golden" / "training" / "losses.json").read_text())
    assert losses(straight[0]) == pytest.approx(golden, rel=1e-4)


def test_one_worker_with_other_packs_learns_what_two_learn(straight, material, tmp_path):
    two, two_result = straight
    one, one_result = run(training_job(tmp_path, *material, micro_batch_tokens=64), Processes(workers=1, cpus=1))
    assert len(losses(one)) == two_result["steps"] == 20
    assert losses(one) == pytest.approx(losses(two), rel=1e-5)
    assert one_result["epoch_losses"] == pytest.approx(two_result["epoch_losses"], rel=1e-5)
    assert one_result["epoch_losses"][-1] < one_result["epoch_losses"][0]


def test_workers_that_recompute_their_layers_end_with_the_same_weights(straight, material, tmp_path):
    job, _ = run(training_job(tmp_path, *material, recompute=True))
    assert weights(job) == weights(straight[0])


def test_a_killed_worker_is_named_and_the_next_run_ends_with_the_same_weights(straight, material, tmp_path):
    job = training_job(tmp_path, *material, recovery_interval_s=0.0, recovery_share=1e9)
    with pytest.raises(WorkerError, match="worker 1 was killed"):
        run_until(7, lambda: kill(job, 1), job)
    assert workers_of(job) == {}
    reached = len(losses(job))
    job, _ = run(job)
    assert len(losses(job)) < reached + 20
    assert weights(job) == weights(straight[0])


@pytest.mark.parametrize("moments_8bit", [False, True])
def test_adapters_resume_to_the_bit_too(material, tmp_path, moments_8bit):
    from torch.distributed.checkpoint import FileSystemReader

    adapters = {"lora_rank": 4, "learning_rate": 3e-2, "moments_8bit": moments_8bit}
    straight, _ = run(training_job(tmp_path / "straight", *material, **adapters))
    job = training_job(tmp_path / "job", *material, **adapters, recovery_interval_s=0.0, recovery_share=1e9)
    with pytest.raises(WorkerError, match="worker 0 was killed"):
        run_until(7, lambda: kill(job, 0), job)
    job, result = run(job)
    assert weights(job) == weights(straight)
    assert result["epoch_losses"][-1] < result["epoch_losses"][0]
    saved = FileSystemReader(newest(job.recovery, job.fingerprint)).read_metadata().state_dict_metadata
    assert any("lora_A" in name for name in saved)
    assert not any("embed_tokens" in name or "base_layer" in name for name in saved)


def test_moments_of_8_bits_learn_as_much_and_resume_to_the_bit_on_any_number_of_workers(straight, material, tmp_path):
    narrow, result = run(training_job(tmp_path / "narrow", *material, moments_8bit=True))
    assert result["epoch_losses"] == pytest.approx(straight[1]["epoch_losses"], rel=0.02)
    job = training_job(tmp_path / "job", *material, moments_8bit=True, recovery_interval_s=0.0, recovery_share=1e9)
    with pytest.raises(WorkerError, match="worker 0 was killed"):
        run_until(7, lambda: kill(job, 0), job)
    twin = training_job(tmp_path / "twin", *material, moments_8bit=True)
    shutil.copytree(job.output, twin.output)
    job, _ = run(job)
    assert weights(job) == weights(narrow)
    twin, _ = run(twin, Processes(workers=1, cpus=1))
    assert losses(twin)[-1] == pytest.approx(losses(narrow)[-1], rel=1e-5)


def test_saves_keep_to_their_share_of_the_time(straight, material, tmp_path):
    job, _ = run(training_job(tmp_path, *material, recovery_interval_s=0.0, recovery_share=1e-9))
    told = [json.loads(line) for line in job.telemetry.read_text().splitlines()]
    assert sum(line["kind"] == "saved" for line in told) == 1
    assert weights(job) == weights(straight[0])


def test_an_interruption_saves_and_any_number_of_workers_can_go_on(straight, material, tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    job = training_job(tmp_path / "job", *material)
    with pytest.raises(KeyboardInterrupt):
        run_until(5, interrupt, job)
    assert newest(job.recovery, job.fingerprint) is not None
    assert workers_of(job) == {}
    twin = training_job(tmp_path / "twin", *material)
    shutil.copytree(job.output, twin.output)
    run(job)
    assert weights(job) == weights(straight[0])
    _, result = run(twin, Processes(workers=1, cpus=1))
    assert len(losses(twin)) == 20
    assert result["epoch_losses"] == pytest.approx(straight[1]["epoch_losses"], rel=1e-5)


def test_no_worker_outlives_a_pipeline_that_was_killed(material, tmp_path):
    job = training_job(tmp_path, *material, epochs=2000)
    pipeline = pipeline_of_its_own(job, workers=2)
    while not (job.telemetry.exists() and losses(job)):
        assert pipeline.poll() is None
        time.sleep(0.1)
    assert len(workers_of(job)) == 2
    pipeline.kill()
    pipeline.wait()
    wait_until_gone(job)


@pytest.fixture
def on_two_machines(monkeypatch):
    """Starts a worker on each of two, whose environment is that of a TrainJob's pods."""

    def start(jobs):
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
        for name, value in {"NNODES": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}.items():
            monkeypatch.setenv(f"PET_{name}", value)
        machines = []
        for rank, job in enumerate(jobs):
            monkeypatch.setenv("PET_NODE_RANK", str(rank))
            machines.append(pipeline_of_its_own(job, workers=2))
        return machines

    return start


def test_two_machines_that_share_no_disk_learn_what_one_does_also_after_a_failure(
    straight, material, tmp_path, on_two_machines
):
    often = {"recovery_interval_s": 0.0, "recovery_share": 1e9}
    jobs = [training_job(tmp_path / f"machine-{rank}", *material, **often) for rank in (0, 1)]
    with held(after_step(5)) as hold:
        machines = on_two_machines(jobs)
        hold.reached()
        wait_for_checkpoint(jobs[0])
        os.kill(workers_of(jobs[1])[1], signal.SIGKILL)
        hold.let_go()
        assert [machine.wait() != 0 for machine in machines] == [True, True]
    shutil.rmtree(jobs[1].output)  # its scratch went with the pod
    assert [machine.wait() for machine in on_two_machines(jobs)] == [0, 0]
    told = [json.loads(line) for line in jobs[0].telemetry.read_text().splitlines()]
    assert any("goes on after step" in line.get("message", "") for line in told)
    assert weights(jobs[0]) == weights(straight[0])
    assert not (jobs[1].output / "model").exists()
    assert [json.loads(job.result.read_text())["epoch_losses"] for job in jobs] == [straight[1]["epoch_losses"]] * 2


def test_where_memory_runs_out_smaller_micro_batches_learn_the_same(tmp_path):
    write_jsonl(tmp_path / "phase_2.jsonl", chats(800, unmask=False))
    model = sealed_model(tmp_path / "model", hidden=256)
    one_step = {"epochs": 1, "samples_per_step": 800, "micro_batch_tokens": 32768}
    job = training_job(tmp_path / "job", model, tmp_path / "phase_2.jsonl", **one_step)
    assert pipeline_of_its_own(job, workers=1, memory=1 << 30).wait() == 0
    notices = [event["message"] for event in read_events(job.work / "events.jsonl") if event["name"] == "notice"]
    assert "going on with micro-batches of 16384 tokens" in notices[0]
    roomy = training_job(tmp_path / "roomy", model, tmp_path / "phase_2.jsonl", **one_step)
    run(roomy, Processes(workers=1, cpus=1))
    assert losses(job) == pytest.approx(losses(roomy), rel=1e-5)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_samples(material, tmp_path):
    with pytest.raises(WorkerError, match=r"the gradient norm nan; .* lines \d+, \d+") as caught:
        run(training_job(tmp_path, *material, learning_rate=1e30, warmup_ratio=0.0), Processes(workers=1, cpus=1))
    assert "train_learning_rate" in caught.value.remedy


def test_samples_that_make_the_loss_leap_stop_the_run_and_are_named(material, tmp_path):
    """Eight steps in a row with a sample of noise each: the first seven may be chance."""
    model, _ = material
    data = tmp_path / "phase_2.jsonl"
    easy, draw = chats(1, unmask=False)[0], random.Random(5)
    plan = Plan(num_samples=300, samples_per_step=2, epochs=1, seed=42)
    odd = [int(plan.samples(step)[0]) for step in range(120, 120 + IN_A_ROW)]
    noise = {line: "".join(draw.choices(string.printable[:94], k=40)) for line in odd}
    answers = {line: [easy["messages"][0], {"role": "assistant", "content": text}] for line, text in noise.items()}
    write_jsonl(data, [easy | {"messages": answers.get(line, easy["messages"])} for line in range(300)])
    job = training_job(tmp_path, model, data, samples_per_step=2, epochs=1, learning_rate=1e-2)
    last = 120 + IN_A_ROW
    told = rf"in step {last} the loss, about .* has risen to .* lines .*\b{odd[-1] + 1}\b"
    with pytest.raises(WorkerError, match=told):
        run(job, Processes(workers=1, cpus=1))
    assert len(losses(job)) == last - 1


def test_each_step_tells_where_its_time_went(straight):
    job, _ = straight
    told = [json.loads(line) for line in job.telemetry.read_text().splitlines()]
    steps = [line for line in told if line["kind"] == "step"]
    parts = [[step[name] for name in ("data_s", "forward_backward_s", "wait_s", "optimizer_s")] for step in steps]
    assert all(part > 0 for part in parts[0])
    assert all(sum(its) <= step["seconds"] + 0.001 for step, its in zip(steps, parts, strict=True))
    assert 0.5 * sum(step["seconds"] for step in steps) < sum(map(sum, parts))
    step = steps[0]
    assert 0 <= step["idle_share"] < 1
    assert 0 < step["mfu"] < 1
    assert step["memory_bytes"] > 1 << 26


def test_a_disk_that_fills_up_during_a_save_is_named_and_leaves_the_checkpoint_before_intact(
    straight, material, tmp_path
):
    job = training_job(tmp_path, *material, recovery_interval_s=0.0, recovery_share=1e9)

    def fill_disk():
        for worker in workers_of(job).values():
            resource.prlimit(worker, resource.RLIMIT_FSIZE, (60_000, 60_000))

    with pytest.raises(WorkerError):
        run_until(7, lambda: kill(job, 1), job)
    with pytest.raises(WorkerError, match=r"saving a checkpoint in .*: .*File too large") as caught:
        run_again(job, fill_disk)
    assert "make room" in caught.value.remedy
    kept = newest(job.recovery, job.fingerprint)
    assert kept is not None
    resumed, _ = run(job)
    told = [json.loads(line) for line in resumed.telemetry.read_text().splitlines()]
    assert f"goes on after step {int(kept.name[5:])}" in [t for t in told if t["kind"] == "notice"][-1]["message"]
    assert weights(resumed) == weights(straight[0])


@pytest.fixture
def small_disk(tmp_path):
    """9 MB, with events, logs and checkpoints on it."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", place], check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_too_full_for_any_last_word_is_named_all_the_same(material, small_disk, tmp_path):
    _, data = material
    model = sealed_model(tmp_path / "wide", hidden=128)
    job = training_job(small_disk / "job", model, data, recovery_interval_s=0.0, recovery_share=1e9)
    job.work.mkdir(parents=True)
    events = Events(path=job.work / "events.jsonl")
    with pytest.raises(WorkerError, match=r"disk.* is full|No space left") as caught, events.span("train_phase_2"):
        train(job, Processes(workers=1, cpus=1), events)
    assert "make room" in caught.value.remedy
    assert newest(job.recovery, job.fingerprint) is not None


def test_a_sample_that_the_template_refuses_is_named(material, tmp_path):
    model, _ = material
    write_jsonl(tmp_path / "phase_2.jsonl", [*chats(3, unmask=False), {"messages": None}])
    with pytest.raises(SourceError, match=r"phase_2\.jsonl, line 4"):
        run(training_job(tmp_path, model, tmp_path / "phase_2.jsonl"))
