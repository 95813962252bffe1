"""Runs a training job in processes of its own and passes on what they tell."""

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import UsageError, WorkerError
from instructlab_pipeline.events import Events
from instructlab_pipeline.processes import run_worker
from instructlab_pipeline.training.failure import OutOfMemory, full_disk, read_failure
from instructlab_pipeline.training.hardware import gpu_memory, host_memory, processors
from instructlab_pipeline.training.job import TrainingJob
from instructlab_pipeline.training.machines import Machines
from instructlab_pipeline.training.memory import Demand, Limits, choose, sentence
from instructlab_pipeline.training.shape import read_shape
from instructlab_pipeline.training.telemetry import Follower
from instructlab_pipeline.training.trackers import Trackers

SAVING_S = 27.0  # for the step under way and a checkpoint; Kubernetes kills a pod 30 s after it asked
_FEWER = "lower train_num_workers, or leave GPUs out with CUDA_VISIBLE_DEVICES="
AGENT = "instructlab_pipeline.training.agent"
REMEDY = (
    "raise train_memory_per_worker, raise train_num_workers (they share the states), keep the optimizer's moments in 8 "
    "bits (train_moments_8bit), train adapters instead of all weights (train_lora_rank), lower train_sequence_length, "
    "or choose a smaller sdg_base_model"
)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """`workers` processes in all, unless several machines train; each on up to `cpus` processors, in `memory` bytes.

    compile: `true`, `false`, or `auto`, which is on GPUs only: on a CPU it takes a minute that few phases earn back.
    """

    workers: int
    cpus: int
    memory: int | None = None
    compile: str = "false"


def fit(job: TrainingJob, processes: Processes, events: Events) -> TrainingJob:
    """The job with micro-batches that memory has room for; tells the plan.

    Raises:
        SourceError: the model's files do not say how large it is.
        UsageError: even the smallest micro-batches do not fit train_memory_per_worker, or GPUs are fewer than workers.
    """
    gpus = gpu_memory()
    machines = here(processes, gpus=len(gpus))
    if gpus and machines.workers > len(gpus):
        raise UsageError(
            f"{machines.workers} workers need as many GPUs, and this machine has {len(gpus)}", remedy=_FEWER
        )
    limits = Limits(allowed=processes.memory, host=host_memory() // machines.workers, gpu=min(gpus) if gpus else None)
    demand = Demand(
        workers=machines.workers_in_all,
        tokens=job.micro_batch_tokens,
        longest=job.max_sample_tokens,
        cuda=bool(gpus),
        lora_rank=job.lora_rank,
        moments_8bit=job.moments_8bit,
    )
    plan = choose(read_shape(job.model), demand, limits)
    told = f"{job.name}: {sentence(plan, limits)}"
    if not plan.is_allowed(limits):
        raise UsageError(told, remedy=REMEDY)
    if not plan.fits(limits):
        events.point("notice", message=f"{told}, which may not be enough")
    else:
        events.point("memory_plan" if plan.demand == demand else "notice", message=told)
    wanted = processes.compile == "true" or (processes.compile == "auto" and bool(gpus))
    return replace(
        job,
        micro_batch_tokens=plan.demand.tokens,
        recompute=plan.demand.recompute,
        offload=plan.demand.offload,
        compile=wanted and not plan.demand.recompute,  # what is recomputed runs as it is written
    )


def here(processes: Processes, *, gpus: int) -> Machines:
    """This machine's share of the processes."""
    return Machines.read(os.environ, workers=processes.workers, gpus=gpus)


def train(job: TrainingJob, processes: Processes, events: Events) -> dict[str, Any]:
    """Train to the end; says what it came to.

    Where memory runs out, micro-batches are halved and training goes on: what is learned stays the same. Of several
    machines, each comes to the same facts, and the first one has the model; there, what starts them starts them again.

    Raises:
        SourceError: the model or the data cannot be trained on.
        WorkerError: a worker failed; the message says why.
    """
    machines = here(processes, gpus=len(gpu_memory()))
    while True:
        try:
            return _attempt(job, processes, machines, events)
        except OutOfMemory as error:
            smaller = max(job.micro_batch_tokens // 2, job.max_sample_tokens)
            if smaller == job.micro_batch_tokens or machines.count > 1:
                raise
            events.point("notice", message=f"{error.message}; going on with micro-batches of {smaller} tokens")
            job = replace(job, micro_batch_tokens=smaller)


def _attempt(job: TrainingJob, processes: Processes, machines: Machines, events: Events) -> dict[str, Any]:
    for path in (job.failure, job.result):
        path.unlink(missing_ok=True)
    job_file = job.work / "job.json"
    job.write(job_file)
    trackers = Trackers(job, events, speaks=machines.leads)
    follower = Follower(job.telemetry, job.name, events, trackers)
    try:
        run_worker(
            [sys.executable, "-m", AGENT, str(job_file), *machines.torchrun()],
            log=job.log,
            environment=worker_environment(processes, machines, num_cpus=processors()),
            on_tick=follower.follow,
            doing=f"{job.name} on {machines.workers_in_all} workers",
            grace_s=SAVING_S,
        )
    except (WorkerError, OSError) as error:
        raise read_failure(job.failure) or full_disk(job.work) or error from error
    finally:
        trackers.close()
    return dict(json.loads(job.result.read_bytes()))


def worker_environment(processes: Processes, machines: Machines, *, num_cpus: int) -> dict[str, str]:
    """Threads that share the processors and wait without spinning, no network, the same sums each time."""
    threads = max(1, min(processes.cpus, num_cpus // machines.workers))
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONUNBUFFERED": "1",
    }
    if machines.count == 1 and Path("/sys/class/net/lo").exists():
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    return environment
