"""What a training phase takes, made in a moment: a tiny base model and a dataset, sealed as their stages seal them."""

import random
from pathlib import Path

from instructlab_pipeline.artifacts import Artifact, seal, write_jsonl
from instructlab_pipeline.training.job import TrainingJob
from instructlab_pipeline.training.tokens import tokens_key
from servers.tiny_model import write_tiny_model

WORDS = (
    "river",
    "moon",
    "keeper",
    "mill",
    "lantern",
    "valley",
    "stone",
    "bright",
    "seven",
    "quiet",
    "harbour",
    "letter",
    "blue",
    "old",
    "walks",
    "sings",
    "under",
)


def chats(count: int, *, unmask: bool, seed: int = 0) -> list[dict[str, object]]:
    pick = random.Random(seed)
    return [
        {
            "messages": [
                {"role": "user", "content": " ".join(pick.choices(WORDS, k=pick.randint(4, 12))) + "?"},
                {"role": "assistant", "content": " ".join(pick.choices(WORDS, k=pick.randint(2, 6))) + "."},
            ],
            "metadata": "{}",
            "id": f"chat-{number}",
            "unmask": unmask,
        }
        for number in range(count)
    ]


def sealed_model(folder: Path, *, hidden: int = 32) -> Artifact:
    write_tiny_model(folder / "files", hidden=hidden, corpus=[" ".join(WORDS)] * 20)
    return seal(folder, kind="model", key="model", inputs={}, facts={})


def sealed_dataset(folder: Path, *, phase_1: int, phase_2: int) -> Artifact:
    write_jsonl(folder / "phase_1.jsonl", chats(phase_1, unmask=True))
    write_jsonl(folder / "phase_2.jsonl", chats(phase_2, unmask=False, seed=1))
    return seal(folder, kind="dataset", key="dataset", inputs={}, facts={})


def training_job(folder: Path, model: Artifact, data: Path, **changes: object) -> TrainingJob:
    """A job of 4 epochs; 33 samples make 5 steps of one, the last with a single sample. It writes below `folder`."""
    settings: dict[str, object] = {
        "name": "train_phase_2",
        "model": model / "files",
        "data": data,
        "output": folder,
        "work": folder / "work",
        "tokens": folder / "tokens" / tokens_key("data", model / "files", max_sample_tokens=64),
        "fingerprint": "a run",
        "epochs": 4,
        "learning_rate": 3e-3,
        "schedule": "cosine",
        "warmup_ratio": 0.1,
        "samples_per_step": 8,
        "micro_batch_tokens": 128,
        "max_sample_tokens": 64,
        "seed": 42,
    }
    return TrainingJob(**(settings | changes))
