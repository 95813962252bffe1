"""How fast a model is asked: ours, lm-eval's Hugging Face backend, and `generate` in a loop, on the same questions.

    python benchmarks/evaluation.py --quick
    python benchmarks/evaluation.py

Each in a process of its own, on the CPU, with as many threads, in turns. benchmarks/README.md tells what the lines
mean.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import evaluation_workload as workload
from peers import NotInstalledError, uv

HERE = Path(__file__).parent
ENVIRONMENTS = Path("runs/benchmarks/environments")
TORCH = "torch==2.13.0"
PEER = ("transformers==5.23.0", "accelerate==1.15.0", "lm-eval==0.4.13")
OURS, LOOP, LM_EVAL = "ours", "loop", "lm-eval"
SCRIPTS = {OURS: "evaluate_ours.py", LOOP: "evaluate_loop.py", LM_EVAL: "evaluate_lm_eval.py"}
_LAST_LINES = 12

Figures = dict[str, Any]


class ContenderError(Exception):
    """A contender ended with an error; its last words are the message."""


def main() -> None:
    options = _options()
    size = workload.QUICK if options.quick else workload.FULL
    rounds = options.rounds or (2 if options.quick else 5)
    pythons = {OURS: Path(sys.executable), LOOP: Path(sys.executable)}
    try:
        if not options.alone:
            pythons[LM_EVAL] = _environment(options.environments.absolute())
    except NotInstalledError as error:
        print(f"lm-eval is left out: {error}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = workload.prepare(size, folder)
        runs: dict[str, list[Figures]] = {name: [] for name in pythons}
        for turn in range(rounds):
            for contender, python in pythons.items():
                runs[contender].append(_run(contender, python, job, folder / f"{contender}-{turn}", options.threads))
    _tell(runs, size, rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 questions, two rounds")
    parser.add_argument("--rounds", type=int, help="runs of each contender, in turns (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="of each contender (default 1)")
    parser.add_argument("--alone", action="store_true", help="without lm-eval: nothing is installed")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="where lm-eval is installed")
    return parser.parse_args()


def _environment(environments: Path) -> Path:
    """The Python that has lm-eval, installed from the package index unless an earlier benchmark has done so."""
    environment = environments / "lm-eval"
    finished, python = environment / "installed", environment / "bin" / "python"
    if not finished.exists():
        uv("venv", "--quiet", "--clear", "--python", sys.executable, str(environment))
        for packages in ([TORCH], PEER):
            uv("pip", "install", "--quiet", "--python", str(python), *packages)
        finished.touch()
    return python


def _run(name: str, python: Path, job: Path, folder: Path, threads: int) -> Figures:
    folder.mkdir()
    own = folder / "job.json"
    own.write_text(json.dumps({**json.loads(job.read_text()), "folder": str(folder)}))
    alike = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [python, HERE / "contenders" / SCRIPTS[name], own],
        env={**os.environ, **alike, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode:
        raise ContenderError(f"{name} ended with {done.returncode}:\n" + "\n".join(lines[-_LAST_LINES:]))
    costs: Figures = json.loads(next(line for line in lines if line.startswith('{"wall_s"')))
    return {**costs, "answers": json.loads((folder / "answers.json").read_text())}


def _tell(runs: Mapping[str, Sequence[Figures]], size: workload.Size, rounds: int) -> None:
    medians = {
        name: {figure: median(run[figure] for run in own) for figure in ("cpu_s", "wall_s", "peak_mb")}
        for name, own in runs.items()
    }
    ours = runs[OURS][0]["answers"]
    print(f"\n{size}, {rounds} rounds, {os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}")
    print(f"{'':10}{'items/s':>10}{'per CPU s':>12}{'ratio':>8}{'wall_s':>10}{'peak_mb':>10}{'same answers':>14}")
    for name, row in medians.items():
        ratio = row["cpu_s"] / medians[OURS]["cpu_s"]
        same = sum(answer == ours[key] for key, answer in runs[name][0]["answers"].items()) / len(ours)
        row |= {"same_answers": round(same, 4), "ratio": round(ratio, 3)}
        print(
            f"{name:10}{len(ours) / row['wall_s']:10.1f}{len(ours) / row['cpu_s']:12.1f}{ratio:8.2f}"
            f"{row['wall_s']:10.2f}{row['peak_mb']:10.0f}{same:14.1%}"
        )
    ratios = {f"ratio_{name.replace('-', '_')}": medians[name]["ratio"] for name in medians if name != OURS}
    print(json.dumps({"benchmark": "evaluation", "ratio_lm_eval": None, **ratios, "medians": medians}))


if __name__ == "__main__":
    main()
