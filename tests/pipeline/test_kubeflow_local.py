"""The compiled pipeline's own components, run by Kubeflow's local runner on the demo's inputs, from S3 to an image."""

import json
import os
import shutil
import signal
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from instructlab_pipeline.bucket_storage import BucketStorage
from instructlab_pipeline.cli.status import state_of
from instructlab_pipeline.kube.inputs import arguments
from instructlab_pipeline.kube.package import Package, pipeline
from instructlab_pipeline.params.layers import resolve
from servers.command import command, descendants
from servers.demo_world import PARAMETERS, demo_world
from servers.held import after_step, held
from servers.webhook import webhook

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:.*have no effect in the current local runner:UserWarning"),
]

IMAGE = "registry.example.com/python/instructlab-pipeline:1"  # the local runner wants a Python in its name
RUN = "s3://models/runs/first"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with demo_world(tmp_path_factory.mktemp("world")) as servers:
        yield servers


@pytest.fixture(scope="module")
def single(world):
    """The same run on one machine, in one process."""
    words = ("run", "--run-dir", "runs/single", "--params", PARAMETERS, "--json")
    done = command(*words, folder=world.folder, environment={**world.outside, **world.parameters})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """Where steps work, and where Kubeflow keeps what they hand over."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def hook():
    with webhook() as server:
        yield server


@pytest.fixture(scope="module")
def run_pipeline(world, hook, scratch):
    """Run the package on the demo's parameters, with its run in the bucket; what is changed are inputs."""
    from kfp import local

    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(scratch / "artifacts"))
    programs = {
        "XDG_CACHE_HOME": str(scratch),
        "REGISTRY_AUTH_FILE": world.outside["REGISTRY_AUTH_FILE"],
        "NOTIFY_WEBHOOK_URL": hook.url,  # as the secret gives it to the last step
    }

    def run(run_dir, *, compiled_for=None, **changed):
        given = {**world.parameters, "K8S_TRAINING_API": "none", **changed}
        files = [str(PARAMETERS)]
        resolved = resolve(files=files, environment={**given, **(compiled_for or {})})
        package = Package(resolved=resolved, image=IMAGE, retries=0, environment=programs)
        inputs = {**arguments(resolve(files=files, environment=given)), "run_dir": run_dir, "params_configmap": ""}
        return pipeline(package)(**inputs)

    return run


@pytest.fixture(autouse=True)
def in_reach(world, monkeypatch, tmp_path):
    """This process may open the bucket, as the pods may, with a cache of its own."""
    for name, value in world.outside.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "looking-on"))


@contextmanager
def killed_at(stage):
    """While the body runs, the command of the step is killed as the kernel kills, after its worker's first step."""
    ended, killed = threading.Event(), []

    def kill(hold):
        while not hold.is_reached and not ended.wait(0.05):
            pass
        for pid in descendants(os.getpid()):
            with suppress(OSError):  # it has ended
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"instructlab_pipeline" in words and stage.encode() in words:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    with held(after_step(1)) as hold:
        thread = threading.Thread(target=kill, args=[hold])
        thread.start()
        try:
            yield killed
        finally:
            ended.set()
            thread.join()


def states(run_dir):
    return {stage["stage"]: stage["state"] for stage in state_of(BucketStorage.open(run_dir))["stages"]}


def test_a_killed_step_resumes_and_ends_in_the_very_image_of_the_single_machine(run_pipeline, single, hook, scratch):
    with killed_at("train_phase_1") as killed, pytest.raises(RuntimeError, match="train-phase-1"):
        run_pipeline(RUN)
    assert killed
    assert states(RUN)["dataset"] == "finished"
    assert states(RUN)["train_phase_1"] == "stopped"
    shutil.rmtree(scratch / "instructlab-pipeline")  # the scratch volume went with its pod

    run_pipeline(RUN)
    told = list(BucketStorage.open(RUN).events())
    reused = [event["stage"] for event in told if event["name"] == "reused"]
    assert reused == ["model", "taxonomy", "sdg", "dataset"]
    published = json.loads(BucketStorage.open(RUN).remote.read("publish/published.json"))
    assert published["digest"] == single["image"]["digest"]
    assert_shown(scratch)
    assert [body["ok"] for body, _ in hook.messages] == [False, True]
    assert hook.url not in BucketStorage.open(RUN).remote.read("run.json").decode()


def assert_shown(folder):
    """What Kubeflow's interface shows: metrics beside the evaluation, the report at the end."""
    (executed,) = folder.rglob("eval-final/executor_output.json")
    (metrics,) = json.loads(executed.read_text())["artifacts"]["metrics"]["artifacts"]
    assert set(metrics["metadata"]) >= {"accuracy", "accuracy_base", "f1", "f1_base"}
    assert all("<html" in report.read_text() for report in folder.rglob("finish/report"))


def test_a_failing_gate_fails_the_pipeline_and_publishes_nothing(world, run_pipeline):
    image = f"{world.registry.host}/team/refused:1"
    with pytest.raises(RuntimeError, match="publish"):
        run_pipeline(RUN, EVAL_QUALITY_THRESHOLD="0.99", OUTPUT_OCI_MODEL_URI=image)
    notes = BucketStorage.open(RUN).remote
    assert json.loads(notes.read("refusals/publish"))["exit_code"] == 5
    assert notes.read("publish/manifest.json") is None
    assert not (world.registry.storage / "docker/registry/v2/repositories/team/refused/_manifests").exists()


def test_wrong_inputs_end_the_pipeline_before_anything_is_spent(run_pipeline, capfd):
    with pytest.raises(RuntimeError, match="prepare"):
        run_pipeline("s3://models/runs/wrong", K8S_STORAGE_SIZE="21Gi", compiled_for={"K8S_STORAGE_SIZE": "20Gi"})
    assert "21Gi is not what the package was compiled for" in capfd.readouterr().out
    assert BucketStorage.open("s3://models/runs/wrong").record() == {}
