"""Starts and watches the workers of one machine: `python -m instructlab_pipeline.training.agent JOB.json OPTION...`.

It is torchrun, whose options say how many workers this machine has and where it meets others. It ends with the
pipeline, ends its workers with itself, and says which worker died of what.
"""

import signal
import sys
from pathlib import Path

from instructlab_pipeline.errors import WorkerError
from instructlab_pipeline.processes import die_with_parent, last_lines
from instructlab_pipeline.training.failure import explained, record_failure
from instructlab_pipeline.training.job import TrainingJob

_SEARCHED_LINES = 300  # of the log, for what made a worker abort
WORKER = "instructlab_pipeline.training.worker"


def main() -> None:
    die_with_parent()
    job_file, *options = sys.argv[1:]

    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.main([*options, "--module", WORKER, job_file])
    except ChildFailedError as error:
        job = TrainingJob.read(Path(job_file))
        for rank, failure in error.failures.items():
            if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
                job.failure.unlink(missing_ok=True)  # the others could only tell that it was gone
                aborted = failure.exitcode == -signal.SIGABRT  # as NCCL's watchdog does, with its reason in the log
                reason = explained(last_lines(job.log, _SEARCHED_LINES)) if aborted else None
                record_failure(job.failure, reason or _killed(rank, signal.Signals(-failure.exitcode)))
        sys.exit(WorkerError.exit_code)


def _killed(rank: int, number: signal.Signals) -> WorkerError:
    if number == signal.SIGKILL:
        return WorkerError(
            f"worker {rank} was killed from outside (SIGKILL), as the kernel does when memory runs out",
            remedy="free memory, lower train_batch_size or raise train_num_workers; then run the same command again",
        )
    return WorkerError(
        f"worker {rank} crashed ({number.name})", remedy="run the same command again; if it recurs, report it"
    )


if __name__ == "__main__":
    main()
