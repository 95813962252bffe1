"""When recovery checkpoints are made, and gone on from: by time, in the background, for a hundredth of it at most.

Steps go on while a checkpoint is written: only the copy that is written from is waited for. The messages that this
takes go through a process group of their own, so that they never meet those of the steps.

Each worker writes its own part. Where machines share no disk, the first worker collects and writes all of them, so that
whatever keeps up a copy of its folder has a whole checkpoint.
"""

import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from instructlab_pipeline.training import checkpoint
from instructlab_pipeline.training.checkpoint import Progress
from instructlab_pipeline.training.job import TrainingJob
from instructlab_pipeline.training.telemetry import Telemetry
from instructlab_pipeline.training.world import World

LONGEST_PAUSE_S = 1800.0  # however slow a save is: no crash costs more than this
_MARK = ".shared"


class Recovery:
    """One worker's part; all workers call `resume`, `save` and `finish` together."""

    def __init__(self, job: TrainingJob, world: World, telemetry: Telemetry) -> None:
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

        self._job = job
        self._world = world
        self._telemetry = telemetry
        self._copies = DefaultStager(StagingOptions(world.is_cuda, False, False, False))  # pinned for GPUs
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[float] | None = None
        self._pause = job.recovery_interval_s
        self._saved_at = time.monotonic()
        self._stall_s = 0.0
        self._alone = not self._share_a_disk()

    @property
    def is_due(self) -> bool:
        """As the first worker's clock has it."""
        return self._world.leads and self._writing is None and time.monotonic() - self._saved_at >= self._pause

    def resume(self, student: Any, optimizer: Any) -> Progress:
        """Take the newest whole checkpoint of this run, if there is one; says how far that had come.

        Raises:
            WorkerError: it cannot be read.
        """
        if self._world.leads:
            checkpoint.sweep(self._job.recovery)
        path = self._newest()
        if path is None:
            if self._world.local_rank == 0:
                shutil.rmtree(self._job.epochs_folder, ignore_errors=True)
            return Progress()
        state = _state(student, optimizer, whole=self._alone)
        progress = Progress()
        if self._world.leads or not self._alone:
            progress = checkpoint.load(path, state, self._world, alone=self._alone)
        _set_state(student, optimizer, state, whole=self._alone)
        progress = self._world.told(progress) if self._alone else progress
        self._telemetry.tell("notice", message=f"{self._job.name} goes on after step {progress.step}")
        return progress

    def save(self, progress: Progress, student: Any, optimizer: Any) -> None:
        """Begin a checkpoint of how things stand now.

        Raises:
            WorkerError: the one before could not be written.
        """
        started = time.monotonic()
        self.finish()
        state = _state(student, optimizer, whole=self._alone)
        if self._alone and not self._world.leads:
            return
        copy: Any = _settled(state) if self._alone else self._copies.stage(state)
        manifest = checkpoint.manifest_of(progress, fingerprint=self._job.fingerprint, world=self._world)
        self._writing = self._thread.submit(self._write, progress.step, copy, manifest)
        self._stall_s = time.monotonic() - started

    def check(self) -> None:
        """Between steps: see whether a checkpoint has been finished.

        Raises:
            WorkerError: it could not be written.
        """
        if self._writing is not None and self._writing.done():
            self.finish()

    def finish(self) -> None:
        """Wait for a checkpoint that is being written.

        Raises:
            WorkerError: it could not be written; the one before is intact.
        """
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        started = time.monotonic()
        seconds = writing.result()
        stall = self._stall_s + time.monotonic() - started
        self._saved_at, self._pause = time.monotonic(), self._pause_after(stall, seconds)
        self._telemetry.tell("saved", seconds=round(seconds, 4), stall_s=round(stall, 4))

    def _write(self, step: int, copy: dict[str, Any], manifest: dict[str, Any]) -> float:
        """In the background; says how many seconds it took."""
        started = time.monotonic()
        checkpoint.write(self._job.recovery, step, copy, manifest, None if self._alone else self._world)
        return time.monotonic() - started

    def _pause_after(self, stall: float, seconds: float) -> float:
        """Until the next save: stalls keep to their share of the time, and writing to half of it."""
        wanted = max(self._job.recovery_interval_s, stall / self._job.recovery_share, seconds)
        return min(wanted, max(self._job.recovery_interval_s, LONGEST_PAUSE_S))

    def _newest(self) -> Any:
        """As the first worker sees it, so that all go on from the same one."""
        path = checkpoint.newest(self._job.recovery, self._job.fingerprint) if self._world.leads else None
        (step,) = self._world.sum([float(checkpoint.step_of(path) if path else 0)])
        return checkpoint.folder_of(self._job.recovery, int(step)) if step else None

    def _share_a_disk(self) -> bool:
        """Whether all workers see what the first one writes; those of one machine always do."""
        mark = self._job.recovery / _MARK
        if self._world.leads:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        self._world.wait()
        (seen,) = self._world.least([int(mark.exists())])
        if self._world.leads:
            mark.unlink()
        return bool(seen)


def _state(student: Any, optimizer: Any, *, whole: bool) -> dict[str, Any]:
    """Of what learns: weights that stay as they are come from the model's files. `whole`: all of it, on one worker."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    options = StateDictOptions(ignore_frozen_params=True, full_state_dict=whole, cpu_offload=whole)
    model, moments = get_state_dict(student, optimizer, options=options)
    return {"model": model, "optimizer": moments}


def _settled(state: dict[str, Any]) -> dict[str, Any]:
    """What was put together from parts is a copy already; the optimizer's counters, changed in place, are not."""
    from torch import Tensor
    from torch.utils._pytree import tree_map_only

    settled: dict[str, Any] = tree_map_only(Tensor, lambda tensor: tensor if tensor.dim() else tensor.clone(), state)
    return settled


def _set_state(student: Any, optimizer: Any, state: dict[str, Any], *, whole: bool) -> None:
    """`whole`: the first worker has all of it, and hands it out."""
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(strict=False, full_state_dict=whole, broadcast_from_rank0=whole)
    # one by one: set_state_dict leaves out the model of a worker that has nothing to hand out
    state_dict.set_model_state_dict(student, state["model"], options=options)
    state_dict.set_optimizer_state_dict(student, optimizer, state["optimizer"], options=options)
