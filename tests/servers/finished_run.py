"""What the stages before publishing leave behind, made in a moment: sealed artifacts around a model of a few files."""

import json
import random
from dataclasses import replace
from pathlib import Path

from instructlab_pipeline.artifacts import Artifact, digest_of, seal
from instructlab_pipeline.publish.inputs import PublishInputs
from servers.tiny_model import write_tiny_model

LARGE = 17 << 20  # more than fits a shared layer
RULE = {"eval_quality_threshold": 0.8, "eval_require_clear": False, "eval_metrics": ("accuracy",)}
METRIC = {"base": 0.1, "tuned": 0.9, "interval": [0.8448, 0.9374], "threshold": 0.8, "passed": True, "clear": True}


def finished_run(folder: Path, *, uri: str, shards: int = 2, shard_bytes: int = LARGE) -> PublishInputs:
    """A tiny model that loads, with `shards` files of random bytes in a subfolder beside it; judged "pass"."""
    trained = folder / "train_phase_2" / "model"
    write_tiny_model(trained)
    (trained / "shards").mkdir()
    for number in range(shards):
        write_shard(trained / "shards" / f"part-{number}.bin", seed=number, size=shard_bytes)
    write_json(
        folder / "model" / "model.json",
        {"uri": "s3://bucket/base", "architecture": "LlamaForCausalLM", "num_parameters": 12345},
    )
    write_json(folder / "taxonomy" / "taxonomy.json", {"url": "https://example.org/t.git", "commit": "c0ffee"})
    write_json(folder / "sdg" / "evaluation.jsonl", {"id": "1"})
    write_json(folder / "dataset" / "dataset.json", {})
    write_json(folder / "train_phase_1" / "training.json", {"skipped": "no knowledge leaves"})
    train_phase_2 = sealed(folder / "train_phase_2")
    return PublishInputs(
        model=sealed(folder / "model"),
        taxonomy=sealed(folder / "taxonomy"),
        sdg=sealed(folder / "sdg"),
        dataset=sealed(folder / "dataset"),
        train_phase_1=sealed(folder / "train_phase_1"),
        train_phase_2=train_phase_2,
        eval_final=judged(folder / "eval_final", train_phase_2),
        output_oci_model_uri=uri,
        output_model_name="river-model",
        output_model_version="0.1.0",
        output_registry_insecure=True,
        output_overwrite_version=False,
        output_modelcar_base_image=None,
        output_signing_key=None,
        output_model_registry_url=None,
        parameters={"sdg_base_model": "s3://bucket/base", "train_seed": 42, "output_oci_model_uri": uri, **RULE},
    )


def judged(folder: Path, trained: Artifact, *, verdict: str = "pass") -> Artifact:
    files = {file.path.removeprefix("model/"): file.sha256 for file in trained.files if file.path.startswith("model/")}
    record = {
        "verdict": verdict,
        "clear": True,
        "n": 100,
        "threshold": 0.8,
        "require_clear": False,
        "metrics": {"accuracy": {**METRIC, "passed": verdict == "pass"}},
        "model": {"stage": trained.kind, "digest": digest_of(files), "files": files},
    }
    write_json(folder / "verdict.json", record)
    return sealed(folder)


def with_one_shard_changed(inputs: PublishInputs, folder: Path) -> PublishInputs:
    """The next version: the same run, but for one shard, judged anew."""
    source, trained = inputs.train_phase_2 / "model", folder / "train_phase_2" / "model"
    for file in source.rglob("*"):
        if file.is_file():
            target = trained / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    write_shard(trained / "shards" / "part-0.bin", seed=99, size=(source / "shards" / "part-0.bin").stat().st_size)
    train_phase_2 = sealed(folder / "train_phase_2")
    return replace(inputs, train_phase_2=train_phase_2, eval_final=judged(folder / "eval_final", train_phase_2))


def write_shard(path: Path, *, seed: int, size: int) -> None:
    path.write_bytes(random.Random(seed).randbytes(size))


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def sealed(folder: Path) -> Artifact:
    return seal(folder, kind=folder.name, key="k", inputs={}, facts={})
