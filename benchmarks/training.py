"""What a useful token costs: our training step, Hugging Face's Trainer and TRL on the same model, data and order.

    python benchmarks/training.py --quick
    python benchmarks/training.py

Everybody trains one epoch on the CPU, in a process of their own, with as many threads. benchmarks/README.md tells what
the lines mean.
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

import training_workload as workload
from peers import NotInstalledError, uv

HERE = Path(__file__).parent
ENVIRONMENTS = Path("runs/benchmarks/environments")
TORCH = "torch==2.13.0"
PEERS = ("transformers==5.23.0", "accelerate==1.15.0", "trl==1.16.0")
MANNERS = ("hf-padded", "hf-grouped", "trl-default", "trl-padding-free", "trl-bfd")
OURS = "ours"
_LAST_LINES = 12

Figures = dict[str, float]


class ContenderError(Exception):
    """A contender ended with an error; its last words are the message."""


def main() -> None:
    options = _options()
    size = workload.QUICK if options.quick else workload.FULL
    rounds = options.rounds or (2 if options.quick else 5)
    contenders = [OURS] if options.alone else [OURS, *options.peers]
    with tempfile.TemporaryDirectory() as folder:
        jobs = _jobs(Path(folder), size, contenders)
        pythons = {name: Path(sys.executable) for name in contenders}
        try:
            peer = pythons[OURS] if options.alone else _environment(options.environments.absolute())
            pythons |= dict.fromkeys(contenders[1:], peer)
        except NotInstalledError as error:
            print(f"the peers cannot be installed here and are left out: {error}")
            contenders = [OURS]
        results: dict[str, list[Figures]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name in contenders:
                results[name] += _attempt(name, pythons[name], jobs[name], options.threads)
    _tell(results, size, rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller model, fewer chats, two rounds")
    parser.add_argument("--rounds", type=int, help="runs of each contender, interleaved (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="of each contender (default 1)")
    parser.add_argument("--alone", action="store_true", help="ours alone, nothing is installed")
    parser.add_argument("--peers", nargs="+", choices=MANNERS, default=MANNERS, help="only these")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="where peers are installed")
    return parser.parse_args()


def _jobs(folder: Path, size: workload.Size, contenders: Sequence[str]) -> dict[str, Path]:
    """A file for each, with what it has to do."""
    job = workload.prepare(size, folder)
    jobs = {name: folder / f"{name}.json" for name in contenders}
    job.write(jobs[OURS])
    for name in contenders[1:]:
        asked = {
            "manner": name,
            "model": str(job.model),
            "rows": str(folder / "rows.jsonl"),
            "folder": str(folder / name),
            "batch": workload.BATCH,
            "accumulation": workload.ACCUMULATION,
            "longest": workload.LONGEST,
            "learning_rate": workload.LEARNING_RATE,
        }
        jobs[name].write_text(json.dumps(asked))
    return jobs


def _environment(environments: Path) -> Path:
    """The Python that has the peers, installed from the package index unless an earlier benchmark has done so."""
    environment = environments / "trainers"
    finished, python = environment / "installed", environment / "bin" / "python"
    if not finished.exists():
        uv("venv", "--quiet", "--clear", "--python", sys.executable, str(environment))
        for packages in ([TORCH], PEERS):
            uv("pip", "install", "--quiet", "--python", str(python), *packages)
        finished.touch()
    return python


def _attempt(name: str, python: Path, job: Path, threads: int) -> list[Figures]:
    """The figures of a run; none of a peer that fails, which is told and left out. Ours must not fail."""
    try:
        figures = _run(name, python, job, threads)
    except ContenderError as error:
        if name == OURS:
            raise
        print(error)
        return []
    print(f"{name}: {figures['cpu_s']:.2f} CPU seconds", flush=True)
    return [figures]


def _run(name: str, python: Path, job: Path, threads: int) -> Figures:
    script = HERE / "contenders" / ("train_ours.py" if name == OURS else "train_hf.py")
    alike = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [python, script, job],
        env={**os.environ, **alike, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode:
        raise ContenderError(f"{name} ended with {done.returncode}:\n" + "\n".join(lines[-_LAST_LINES:]))
    costs, learned = (json.loads(line) for line in lines if line.startswith(('{"wall_s"', '{"loss"')))
    return {**costs, **learned, **_utilization(costs, learned, threads)}


def _utilization(costs: Figures, learned: Figures, threads: int) -> Figures:
    """By CPU seconds, so that other programs on the machine do not count; `peak` is what all threads reach together."""
    if "flops" not in learned:
        return {}
    return {"mfu": round(learned["flops"] / costs["cpu_s"] / (learned["peak"] / threads), 4)}


def _tell(results: Mapping[str, Sequence[Figures]], size: workload.Size, rounds: int) -> None:
    medians = {
        name: {figure: median(run[figure] for run in runs) for figure in runs[0]}
        for name, runs in results.items()
        if runs
    }
    ours = medians[OURS]
    print(f"\n{size}, {rounds} rounds, {os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}")
    print(f"{'':18}{'cpu_s':>10}{'ratio':>8}{'wall_s':>10}{'peak_mb':>10}{'mean loss':>12}")
    for name, row in medians.items():
        ratio = row["cpu_s"] / ours["cpu_s"]
        print(
            f"{name:18}{row['cpu_s']:10.2f}{ratio:8.2f}{row['wall_s']:10.2f}{row['peak_mb']:10.0f}{row['loss']:12.5f}"
        )
    print(json.dumps({"benchmark": "training", **_ratios(medians), "mfu": ours["mfu"], "medians": medians}))


def _ratios(medians: Mapping[str, Figures]) -> dict[str, Any]:
    """How many times our CPU seconds the others need for the same useful tokens; None for who did not run."""
    ratios = {name: round(row["cpu_s"] / medians[OURS]["cpu_s"], 3) for name, row in medians.items() if name != OURS}
    return {
        "ratio_hf_padded": ratios.get("hf-padded"),
        "ratio_hf_grouped": ratios.get("hf-grouped"),
        "ratio_trl_best": min((ratio for name, ratio in ratios.items() if name.startswith("trl")), default=None),
        "ratios": ratios,
    }


if __name__ == "__main__":
    main()
