"""A training step whose job really runs: two pods, as processes without a common disk, through a run in a bucket."""

import json
import os
import subprocess
import sys

import pytest

from instructlab_pipeline.bucket_storage import BucketStorage
from instructlab_pipeline.kube.training_job import TRAIN_JOB
from servers.command import command
from servers.kube_api import KubeApi
from servers.loopback import free_port
from servers.small_world import small_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RUN = "s3://models/runs/pods"
# One thread a worker: sums come out the same however many processors a pod sees.
TRAINED = {"TRAIN_NUM_WORKERS": "2", "TRAIN_CPU_LIMIT": "1", "TRAIN_GPUS_PER_WORKER": "0"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with small_world(tmp_path_factory.mktemp("world")) as servers:
        yield servers


class Kubelet:
    """Runs a TrainJob's pods as the operator would have them run, each with scratch space of its own."""

    def __init__(self, folder, environment):
        self.folder, self.environment, self.pods = folder, environment, {}

    def __call__(self, server, job):
        server.acts.append(self)
        trainer = job["spec"]["trainer"]
        if not self.pods:
            self.pods = self._started(trainer, free_port())
        codes = [pod.poll() for pod in self.pods.values()]
        if None not in codes:
            for name in self.pods:
                server.logs[name] = (self.folder / f"{name}.log").read_text().splitlines()
                labels = {TRAIN_JOB.pod_label: job["metadata"]["name"]}
                server.put("pods", name, metadata={"labels": labels}, status={"phase": "Succeeded"})
            kind = "Failed" if any(codes) else TRAIN_JOB.succeeded
            job["status"] = {"conditions": [{"type": kind, "status": "True", "reason": "JobsEnded"}]}

    def _started(self, trainer, port):
        program, *words = trainer["command"]
        assert program == "instructlab-pipeline"
        started = {}
        for rank in range(trainer["numNodes"]):
            name = f"node-0-{rank}"
            told = {"NNODES": trainer["numNodes"], "NODE_RANK": rank, "NPROC_PER_NODE": trainer["numProcPerNode"]}
            told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            own = {"XDG_CACHE_HOME": str(self.folder / name), "GLOO_SOCKET_IFNAME": "lo"}
            own |= {f"PET_{key}": str(value) for key, value in told.items()}
            with (self.folder / f"{name}.log").open("wb") as log:
                argv = [sys.executable, "-m", "instructlab_pipeline", *words]
                everything = {**os.environ, **self.environment, **own}
                started[name] = subprocess.Popen(argv, env=everything, stdout=log, stderr=subprocess.STDOUT)
        return started


def test_two_pods_train_one_model_and_seal_it_in_the_bucket(world, tmp_path, monkeypatch):
    given = {**world.environment, **TRAINED, "XDG_CACHE_HOME": f"{tmp_path}/me"}
    done = command("run", "--run-dir", RUN, "--until", "dataset", folder=tmp_path, environment=given)
    assert done.returncode == 0, done.stderr
    pods = {name: value for name, value in world.environment.items() if name.startswith("AWS_")}
    with KubeApi() as server:
        server.acts = [Kubelet(tmp_path, pods)]
        cluster = {
            **pods,
            "KUBECONFIG": server.kubeconfig(tmp_path),
            "INSTRUCTLAB_PIPELINE_IMAGE": "registry.example.com/ours:1",
            "XDG_CACHE_HOME": f"{tmp_path}/step",
        }
        words = ("stage", "train_phase_1", "--run-dir", RUN, "--as-job", "--json")
        step = command(*words, folder=tmp_path, environment=cluster)
        assert step.returncode == 0, step.stderr
        assert json.loads(step.stdout)["status"] == "made"
        assert "[node-0-0] train_phase_1: started" in step.stderr
        again = command(*words, folder=tmp_path, environment=cluster)
        assert json.loads(again.stdout)["status"] == "reused"
        assert len(server.made("POST", "trainjobs")) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/me")
    for name, value in pods.items():
        monkeypatch.setenv(name, value)
    sealed = BucketStorage.open(RUN).sealed("train_phase_1")
    single = model_of_one_machine(world, tmp_path)
    assert sealed.digest == single["digest"]


def model_of_one_machine(world, folder):
    """What the same stage makes there with two workers."""
    words = ("run", "--run-dir", "runs/single", "--until", "train_phase_1", "--json")
    done = command(*words, folder=folder, environment={**world.environment, **TRAINED})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["stages"][-1]
