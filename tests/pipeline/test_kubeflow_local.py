"""The compiled pipeline's own components, run by Kubeflow's local runner through S3 to a published image."""

import json
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from instructlab_pipeline.artifacts import WORK
from instructlab_pipeline.bucket_storage import BucketStorage
from instructlab_pipeline.cli.status import state_of
from instructlab_pipeline.kube.inputs import arguments
from instructlab_pipeline.kube.package import Package, pipeline
from instructlab_pipeline.params.layers import resolve
from servers.command import command, descendants
from servers.small_world import small_world

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*have no effect in the current local runner:UserWarning"),
]

IMAGE = "registry.example.com/python/instructlab-pipeline:1"  # the local runner wants a Python in its name


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with small_world(tmp_path_factory.mktemp("world")) as servers:
        yield servers


@pytest.fixture
def run_pipeline(world, monkeypatch, tmp_path):
    """Run the package on the small world's parameters, with its run in the bucket; what is changed are inputs."""
    from kfp import local

    outside = ("AWS_", "OPENAI_", "REGISTRY_AUTH")
    for name, value in world.environment.items():
        if name.startswith(outside):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "looking-on"))
    scratch = {
        "XDG_CACHE_HOME": str(tmp_path / "scratch"),
        "REGISTRY_AUTH_FILE": world.environment["REGISTRY_AUTH_FILE"],
    }
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "artifacts"))
    parameters = {name: value for name, value in world.environment.items() if not name.startswith(outside)}

    def run(run_dir, *, compiled_for=None, **changed):
        given = {**parameters, "K8S_TRAINING_API": "none", **changed}
        resolved = resolve(environment={**given, **(compiled_for or {})})
        package = Package(resolved=resolved, image=IMAGE, retries=0, environment=scratch)
        inputs = {**arguments(resolve(environment=given)), "run_dir": run_dir, "params_configmap": ""}
        return pipeline(package)(**inputs)

    return run


@contextmanager
def killed_at(stage, folder):
    """While the body runs, the command of the step is killed as the kernel kills, as soon as its workers work."""
    ended, killed = threading.Event(), []

    def kill():
        while not list(folder.rglob(str(Path(stage, WORK, "telemetry.jsonl")))) and not ended.wait(0.05):
            pass
        for pid in descendants(os.getpid()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"instructlab_pipeline" in words and stage.encode() in words:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


def states(run_dir):
    return {stage["stage"]: stage["state"] for stage in state_of(BucketStorage.open(run_dir))["stages"]}


@pytest.fixture(scope="module")
def single(world):
    """The same run on one machine, in one process."""
    done = command("run", "--run-dir", "runs/single", "--json", folder=world.folder, environment=world.environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_killed_step_resumes_and_ends_in_the_very_image_of_the_single_machine(run_pipeline, single, tmp_path):
    run_dir = "s3://models/runs/first"
    with killed_at("train_phase_1", tmp_path) as killed, pytest.raises(RuntimeError, match="train-phase-1"):
        run_pipeline(run_dir)
    assert killed
    assert states(run_dir)["dataset"] == "finished"
    assert states(run_dir)["train_phase_1"] == "stopped"

    run_pipeline(run_dir)
    told = list(BucketStorage.open(run_dir).events())
    reused = [event["stage"] for event in told if event["name"] == "reused"]
    assert reused == ["model", "taxonomy", "sdg", "dataset"]
    published = json.loads(BucketStorage.open(run_dir).remote.read("publish/published.json"))
    assert published["digest"] == single["image"]["digest"]
    assert_shown(tmp_path)


def assert_shown(folder):
    """What Kubeflow's interface shows: metrics beside the evaluation, the report at the end."""
    (executed,) = folder.rglob("eval-final/executor_output.json")
    (metrics,) = json.loads(executed.read_text())["artifacts"]["metrics"]["artifacts"]
    assert set(metrics["metadata"]) >= {"accuracy", "accuracy_base", "f1", "f1_base"}
    assert all("<html" in report.read_text() for report in folder.rglob("finish/report"))


def test_a_failing_gate_fails_the_pipeline_and_publishes_nothing(world, run_pipeline):
    image = f"{world.registry.host}/team/refused:1"
    with pytest.raises(RuntimeError, match="publish"):
        run_pipeline("s3://models/runs/first", EVAL_QUALITY_THRESHOLD="0.99", OUTPUT_OCI_MODEL_URI=image)
    notes = BucketStorage.open("s3://models/runs/first").remote
    assert json.loads(notes.read("refusals/publish"))["exit_code"] == 5
    assert notes.read("publish/manifest.json") is None
    assert not (world.registry.storage / "docker/registry/v2/repositories/team/refused/_manifests").exists()


def test_wrong_inputs_end_the_pipeline_before_anything_is_spent(run_pipeline, capfd):
    with pytest.raises(RuntimeError, match="prepare"):
        run_pipeline("s3://models/runs/wrong", K8S_STORAGE_SIZE="21Gi", compiled_for={"K8S_STORAGE_SIZE": "20Gi"})
    assert "21Gi is not what the package was compiled for" in capfd.readouterr().out
    assert BucketStorage.open("s3://models/runs/wrong").record() == {}
