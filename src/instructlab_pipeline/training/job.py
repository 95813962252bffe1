"""What the pipeline hands its training workers: one JSON file, no flags."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from instructlab_pipeline.artifacts import write_atomically

Schedule = Literal["constant", "cosine"]  # of the learning rate, after its warm-up


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One phase, from a model and a file of samples to a model.

    model: Hugging Face folder to start from. data: JSON lines of {messages, id, unmask}. output: gets `model/`.
    work: recovery checkpoints, telemetry, epochs; survives crashes. tokens: the tokenized data, shared by runs.
    fingerprint: digest of all that decides the weights but the number of workers; recovery checkpoints carry it.
    recovery_share: of the time, that saving may take at most; slower saves are made less often.
    keep_every_epochs: 0 keeps none. recompute: see recompute.py; it changes no gradient.
    offload: states stay in the host's memory and come to the GPU layer by layer.
    compile: the layers, by torch.compile. lora_rank: 0 trains all weights.
    moments_8bit: see moments.py.
    validation_share: of the samples, held out to measure each epoch by.
    """

    name: str
    model: Path
    data: Path
    output: Path
    work: Path
    tokens: Path
    fingerprint: str
    epochs: int
    learning_rate: float
    schedule: Schedule
    warmup_ratio: float
    samples_per_step: int
    micro_batch_tokens: int
    max_sample_tokens: int
    seed: int
    keep_every_epochs: int = 0
    recompute: bool = False
    offload: bool = False
    compile: bool = False
    lora_rank: int = 0
    moments_8bit: bool = False
    validation_share: float = 0.0
    tensorboard: bool = False
    recovery_interval_s: float = 60.0
    recovery_share: float = 0.01

    def write(self, path: Path) -> None:
        write_atomically(path, json.dumps(asdict(self), default=str, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        record = json.loads(path.read_bytes())
        paths: dict[str, Any] = {f.name: Path(record[f.name]) for f in fields(cls) if f.type is Path}
        return cls(**(record | paths))

    @property
    def recovery(self) -> Path:
        return self.work / "recovery"

    @property
    def epochs_folder(self) -> Path:
        """Where a user's checkpoints wait: the stage's own folder would be cleared after a crash."""
        return self.work / "epochs"

    def epoch_folder(self, epoch: int) -> Path:
        return self.epochs_folder / f"epoch-{epoch}"

    @property
    def telemetry(self) -> Path:
        return self.work / "telemetry.jsonl"

    @property
    def log(self) -> Path:
        return self.work / "worker.log"

    @property
    def failure(self) -> Path:
        return self.work / "failure.json"

    @property
    def result(self) -> Path:
        return self.work / "result.json"
