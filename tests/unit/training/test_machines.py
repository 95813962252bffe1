"""How workers are spread over machines, as the environment of each tells it."""

import pytest

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.training.launch import Processes, worker_environment
from instructlab_pipeline.training.machines import Machines

TRAIN_JOB = {
    "PET_NNODES": "4",
    "PET_NODE_RANK": "3",
    "PET_NPROC_PER_NODE": "1",
    "PET_MASTER_ADDR": "tune-node-0-0.tune",
    "PET_MASTER_PORT": "29400",
}
PYTORCH_JOB = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "tune-master-0", "MASTER_PORT": "23456"}


def read(environment, workers=4, gpus=0):
    return Machines.read(environment, workers=workers, gpus=gpus)


def test_a_machine_of_its_own_runs_all_workers_and_meets_them_on_the_loopback_device():
    alone = read({}, workers=2)
    assert (alone.count, alone.leads, alone.workers_in_all) == (1, True, 2)
    assert alone.torchrun() == ["--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2"]
    assert read(TRAIN_JOB | {"PET_NNODES": "1"}).torchrun()[0] == "--standalone"


def test_a_pod_of_a_train_job_runs_its_share():
    pod = read(TRAIN_JOB)
    assert (pod.count, pod.leads, pod.workers_in_all) == (4, False, 4)
    assert pod.torchrun() == [
        "--nnodes=4",
        "--node-rank=3",
        "--nproc-per-node=1",
        "--master-addr=tune-node-0-0.tune",
        "--master-port=29400",
    ]


def test_a_pod_of_a_pytorch_job_runs_its_share():
    pod = read(PYTORCH_JOB)
    assert (pod.count, pod.rank, pod.workers) == (2, 1, 2)
    assert "--master-addr=tune-master-0" in pod.torchrun()
    assert read(PYTORCH_JOB | {"RANK": "0"}).leads


def test_a_pod_may_have_a_worker_for_each_of_its_gpus():
    assert read(TRAIN_JOB | {"PET_NPROC_PER_NODE": "8"}).workers_in_all == 32
    assert read(TRAIN_JOB | {"PET_NPROC_PER_NODE": "auto"}, gpus=2).workers_in_all == 8
    assert read(TRAIN_JOB | {"PET_NPROC_PER_NODE": "auto"}).workers_in_all == 4


def test_machines_that_do_not_know_where_to_meet_say_what_is_missing():
    with pytest.raises(UsageError, match="MASTER_ADDR"):
        read({"PET_NNODES": "2", "PET_NODE_RANK": "0"})
    with pytest.raises(UsageError, match="PET_NNODES is 'many'"):
        read({"PET_NNODES": "many"})


def test_workers_share_the_processors_and_keep_to_their_limit():
    def threads(workers, cpus, num_cpus):
        processes = Processes(workers=workers, cpus=cpus)
        return worker_environment(processes, read({}, workers=workers), num_cpus=num_cpus)["OMP_NUM_THREADS"]

    assert threads(2, 4, 16) == "4"
    assert threads(4, 8, 16) == "4"
    assert threads(4, 4, 2) == "1"


def test_only_workers_of_one_machine_keep_to_the_loopback_device():
    processes = Processes(workers=4, cpus=1)
    assert "GLOO_SOCKET_IFNAME" in worker_environment(processes, read({}), num_cpus=4)
    assert "GLOO_SOCKET_IFNAME" not in worker_environment(processes, read(TRAIN_JOB), num_cpus=4)
