"""Useful tokens a second and MFU of our training step on a GPU: Llamas of 1B and 8B with random weights, in bfloat16.

    python benchmarks/training_gpu.py --quick     # 1B, sequences of 2048
    python benchmarks/training_gpu.py             # 1B and 8B, sequences of 2048, 4096 and 8192

The peak is that of the device's data sheet (training/speed.py). Without a GPU it says so and measures nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
ALONE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
WARM_UP, STEPS = 3, 8  # the first steps compile
STEP_TOKENS = 65_536
SIZES = {  # as Llama 3.2 1B and Llama 3.1 8B
    "1B": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "tie_word_embeddings": True},
    "8B": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "tie_word_embeddings": False},
}
HEADS = {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256, "max_position_embeddings": 8192}


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1B at 2048 only")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no GPU here: nothing was run")
        print(json.dumps({"benchmark": "training_gpu", "ran": False}))
        return
    results = list(_results(quick=options.quick))
    best = max(result["mfu"] or 0.0 for result in results)
    print(json.dumps({"benchmark": "training_gpu", "ran": True, "mfu": best, "results": results}))


def _results(*, quick: bool) -> Iterator[dict[str, Any]]:
    for name in ("1B",) if quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            _write_model(Path(folder) / "model", SIZES[name])
            for sequence in (2048,) if quick else (2048, 4096, 8192):
                result = {"model": name, "sequence": sequence, **_measured(Path(folder), sequence)}
                print(result, flush=True)
                yield result


def _write_model(folder: Path, size: dict[str, Any]) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    with torch.device("cuda"):
        model = LlamaForCausalLM(LlamaConfig(**HEADS, **size)).to(torch.bfloat16)
    model.save_pretrained(folder)


def _measured(folder: Path, sequence: int) -> dict[str, Any]:
    """Medians of the steps after the warm-up, of a process of their own."""
    from instructlab_pipeline.events import Events
    from instructlab_pipeline.training.launch import Processes, fit

    processes = Processes(workers=1, cpus=os.cpu_count() or 1, compile="auto")
    job = fit(_job(folder, sequence), processes, Events())
    job.telemetry.unlink(missing_ok=True)
    job.write(folder / "job.json")
    script = [sys.executable, HERE / "contenders" / "train_gpu.py", folder / "job.json"]
    subprocess.run(script, env={**os.environ, **ALONE}, check=True)
    told = [json.loads(line) for line in job.telemetry.read_text().splitlines()]
    steps = [line for line in told if line["kind"] == "step"][WARM_UP:]
    figures = {name: median(step[name] or 0.0 for step in steps) for name in ("tokens_per_second", "mfu")}
    memory_gb = round(max(step["memory_bytes"] for step in steps) / 1e9, 1)
    return {**figures, "memory_gb": memory_gb, "recompute": job.recompute, "compiled": job.compile}


def _job(folder: Path, sequence: int) -> Any:
    from instructlab_pipeline.training.job import TrainingJob

    return TrainingJob(
        name="training",
        model=folder / "model",
        data=folder / "none.jsonl",
        output=folder,
        work=folder,
        tokens=folder / "tokens",
        fingerprint="benchmark",
        epochs=STEPS,
        learning_rate=1e-5,
        schedule="constant",
        warmup_ratio=0.0,
        samples_per_step=STEP_TOKENS // sequence,
        micro_batch_tokens=2 * 8192,
        max_sample_tokens=sequence,
        seed=42,
        recovery_interval_s=1e9,
    )


if __name__ == "__main__":
    main()
