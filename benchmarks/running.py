"""Processes that a benchmark starts: the simulated endpoint, and the contenders on it."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workload
from simulator.hardware import Hardware

HERE = Path(__file__).parent
MODEL = "simulated"
SEED = 42
CACHE_BLOCKS = Hardware.cache_blocks
EVALUATION = 30  # held-out items of ours, one for each leaf; peers make none
PASS_RATE = 0.8
_SETTLE_S = 60.0  # for the endpoint to answer its last requests
_LAST_LINES = 12


class ContenderError(Exception):
    """A contender ended with an error; its last words are the message."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """`samples_per_example`: what each of the 150 seed examples is to lead to.

    `cache_blocks`: of the endpoint. `options`: further ones for the simulator.
    `seed`: another one gives other requests and so other replies, of other lengths.
    """

    samples_per_example: int
    in_flight: int
    slots: int
    speed: float
    cache_blocks: int = CACHE_BLOCKS
    seed: int = SEED
    options: Sequence[str] = ()

    @property
    def target(self) -> int:
        return self.samples_per_example * workload.NUM_SEED_EXAMPLES * (workload.NUM_SKILLS + workload.NUM_KNOWLEDGE)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """`python`: the interpreter that has it. `script`: in `contenders/`; it gets the job, and `arguments`."""

    name: str
    version: str
    python: Path
    script: str
    arguments: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Result:
    """`figures`: what a table shows of a run. `statistics`: all that the endpoint told. `folder`: where it worked."""

    figures: Mapping[str, float]
    statistics: Mapping[str, Any]
    folder: Path


def run(contender: Contender, load: Load, folder: Path) -> Result:
    """One run from nothing, on an endpoint of its own, in `folder`, which is made.

    Raises:
        ContenderError: it did not end well.
    """
    folder.mkdir(parents=True)
    with _endpoint(load) as url:
        costs = _costs(contender, _job(load, url, folder))
        statistics = _settled(url)
    return Result(figures=_figures(statistics, costs), statistics=statistics, folder=folder / "work")


@contextmanager
def _endpoint(load: Load) -> Iterator[str]:
    settings = {
        "slots": load.slots,
        "speed": load.speed,
        "cache-blocks": load.cache_blocks,
        "pass-rate": PASS_RATE,
        "model": MODEL,
    }
    argv = [
        sys.executable,
        "-m",
        "simulator",
        *(f"--{name}={value}" for name, value in settings.items()),
        *load.options,
    ]
    process = subprocess.Popen(argv, cwd=HERE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def _job(load: Load, url: str, folder: Path) -> Path:
    job = {
        "endpoint": url,
        "model": MODEL,
        "in_flight": load.in_flight,
        "seed": load.seed,
        "samples_per_example": load.samples_per_example,
        "evaluation": EVALUATION,
        "pass_rate": PASS_RATE,
        "folder": str(folder / "work"),
        "taxonomy": str(workload.seal_taxonomy(folder / "taxonomy").path),
        "leaves": workload.leaves(),
        "chunks": workload.chunks(),
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def _costs(contender: Contender, job: Path) -> dict[str, float]:
    own = {"HOME": str(job.parent), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    argv = [contender.python, HERE / "contenders" / contender.script, job, *contender.arguments]
    with tempfile.TemporaryFile("w+") as output:
        status = subprocess.call(argv, env={**os.environ, **own}, stdout=output, stderr=subprocess.STDOUT)
        output.seek(0)
        lines = output.read().splitlines()
    if status:
        raise ContenderError(f"{contender.name} ended with {status}:\n" + "\n".join(lines[-_LAST_LINES:]))
    costs: dict[str, float] = json.loads(next(line for line in reversed(lines) if line.startswith('{"wall_s"')))
    return costs


def _settled(url: str) -> dict[str, Any]:
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(url.removesuffix("/v1") + "/statistics") as response:
            statistics: dict[str, Any] = json.load(response)
        if not statistics["active"]:
            return statistics
        time.sleep(0.1)
    raise ContenderError("requests are still under way although whoever sent them has ended")


def _figures(statistics: Mapping[str, Any], costs: Mapping[str, float]) -> dict[str, float]:
    """`wall_s` is the endpoint's: from the first request to the last reply, without anybody's start-up."""
    requests = statistics["counts"]["requests"]
    return {
        "efficiency": statistics["efficiency"],
        "wall_s": statistics["window_s"],
        "ideal_s": statistics["ideal_s"],
        "cached": statistics["cached"],
        "requests": requests,
        "samples": costs["samples"],
        "s_per_sample": round(statistics["window_s"] / max(costs["samples"], 1), 4),
        "cpu_ms_per_request": round(1000 * costs["cpu_s"] / requests, 3),
        "peak_mb": round(costs["peak_mb"], 1),
    }
