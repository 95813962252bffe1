"""What it costs that a training can be killed at any moment, and how soon it goes on: one worker, in its own processes.

    python benchmarks/training_recovery.py --quick     # 2 million weights, a save every 10 s
    python benchmarks/training_recovery.py             # 10 million weights, a save a minute, as in every phase

stall_share: of the training's time, the part that steps waited for recovery checkpoints; the bound is 0.01.
first_step_s: of a worker, from the end of its imports to the end of its first step, tokens being cached; the bound is
10 s.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import training_workload as workload

from instructlab_pipeline.events import Events
from instructlab_pipeline.training.launch import Processes, train

STALL_BOUND, FIRST_STEP_BOUND_S = 0.01, 10.0
ALONE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
FIRST_STEP = Path(__file__).parent / "contenders" / "first_step.py"


def main() -> None:
    options = _options()
    size, interval_s = (workload.QUICK, 10.0) if options.quick else (workload.FULL, 60.0)
    with tempfile.TemporaryDirectory() as folder:
        job = workload.prepare(size, Path(folder))
        job = replace(job, epochs=options.epochs, recovery_interval_s=interval_s)
        first_step_s = _first_step_s(job)
        training_s = _training_s(job)
        lines = [json.loads(line) for line in job.telemetry.read_text().splitlines()]
    saves = [line for line in lines if line["kind"] == "saved"]
    figures = {
        "training_s": round(training_s, 1),
        "saves": len(saves),
        "stall_share": round(sum(save["stall_s"] for save in saves) / training_s, 5),
        "first_step_s": round(first_step_s, 2),
    }
    _tell(figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--epochs", type=int, default=12)
    return parser.parse_args()


def _first_step_s(job: Any) -> float:
    """Leaves the telemetry of a single step behind, which is removed."""
    job.write(job.work / "first.json")
    argv = [sys.executable, FIRST_STEP, job.work / "first.json"]
    done = subprocess.run(argv, env={**os.environ, **ALONE}, stdout=subprocess.PIPE, text=True, check=True)
    job.telemetry.unlink()
    return float(json.loads(done.stdout.splitlines()[-1])["first_step_s"])


def _training_s(job: Any) -> float:
    """Seconds from the first step's end to the last one's."""
    steps: list[float] = []

    def listen(event: Mapping[str, Any]) -> None:
        if event["event"] == "progress" and event["unit"] == "steps":
            steps.append(time.monotonic())

    train(job, Processes(workers=1, cpus=1), Events(listeners=[listen]))
    return steps[-1] - steps[0]


def _tell(figures: Mapping[str, float]) -> None:
    print(figures)
    ratios = {
        "ratio_stall": round(figures["stall_share"] / STALL_BOUND, 3),
        "ratio_first_step": round(figures["first_step_s"] / FIRST_STEP_BOUND_S, 3),
    }
    print(json.dumps({"benchmark": "training_recovery", **ratios, **figures}))


if __name__ == "__main__":
    main()
