"""Worker processes that never outlive the run: their output goes to a file, and the kernel ends them with it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from instructlab_pipeline.errors import WorkerError

POLL_S = 0.05
GRACE_S = 5.0  # between asking a worker to leave and making it
LAST_LINES = 15
PARENT = "INSTRUCTLAB_PIPELINE_PARENT"  # the process number of whoever started a worker
_LAST_WORDS_LAST = {"PYTHONUNBUFFERED": "1"}
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run_worker(
    argv: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    on_tick: Callable[[], None] = lambda: None,
    doing: str,
    grace_s: float = GRACE_S,
) -> None:
    """Run `argv` to its end, calling `on_tick` while it runs; its output goes to `log`.

    The worker leads a session of its own, so that Ctrl-C reaches the pipeline alone, which then asks the worker to
    leave, and after `grace_s` makes it.

    Raises:
        WorkerError: the worker failed; the message ends with the last lines of its log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        worker = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_LAST_WORDS_LAST, PARENT: str(os.getpid()), **(environment or {})},
            start_new_session=True,
        )
    try:
        while worker.poll() is None:
            on_tick()
            time.sleep(POLL_S)
        on_tick()
    finally:
        _end(worker, grace_s)
    if worker.returncode != 0:
        raise WorkerError(
            f"{doing} failed ({_ending(worker.returncode)}). Its last lines, from {log}:\n{last_lines(log)}",
            remedy="mend what the lines name, then run the same command again: it goes on where it stopped",
        )


def die_with_parent() -> None:
    """Called first thing by a worker: the kernel kills it when its parent is gone, even by kill -9.

    A parent that went away before the kernel was told is known by its number, which a worker passes on to its own.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        os._exit(1)
    os.environ[PARENT] = str(os.getpid())


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])


def _end(worker: subprocess.Popen[bytes], grace_s: float) -> None:
    """Leave no process of the worker's session behind."""
    if worker.poll() is None:
        _signal(worker, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(grace_s)
    _signal(worker, signal.SIGKILL)
    worker.wait()


def _signal(worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, number)


def _ending(returncode: int) -> str:
    if returncode < 0:
        name = signal.Signals(-returncode).name
        return f"killed by {name}{', as where memory runs out' if name == 'SIGKILL' else ''}"
    return f"exit code {returncode}"
