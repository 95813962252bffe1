"""How long a worker takes to its first step on the job that is named on the command line, once all is imported."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import transformers.models.llama.modeling_llama  # noqa: F401 - what the worker will ask for

import instructlab_pipeline.training.trainer  # noqa: F401
from instructlab_pipeline.training import worker
from instructlab_pipeline.training.job import TrainingJob


def main() -> None:
    threading.Thread(target=_watch, args=(TrainingJob.read(Path(sys.argv[1])).telemetry, time.perf_counter())).start()
    worker.main()


def _watch(telemetry: Path, started: float) -> None:
    while not telemetry.exists() or b'"kind": "step"' not in telemetry.read_bytes():
        time.sleep(0.01)
    print(json.dumps({"first_step_s": time.perf_counter() - started}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
