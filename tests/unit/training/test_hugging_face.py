"""The same samples, the same settings: our steps and those of Hugging Face's Trainer."""

import json

import numpy as np
import pytest
import torch

from instructlab_pipeline.artifacts import write_jsonl
from instructlab_pipeline.training.masks import Encoder
from instructlab_pipeline.training.meter import Meter
from instructlab_pipeline.training.model import load_student
from instructlab_pipeline.training.plan import Plan
from instructlab_pipeline.training.shape import read_shape
from instructlab_pipeline.training.telemetry import Telemetry
from instructlab_pipeline.training.tokens import open_tokens, write_tokens
from instructlab_pipeline.training.trainer import Trainer
from instructlab_pipeline.training.world import World
from servers.training_inputs import chats, sealed_model, training_job

NOT_COUNTED = -100
SAMPLES, PER_STEP = 16, 8


@pytest.fixture
def job(tmp_path):
    from transformers import AutoTokenizer

    model, data = sealed_model(tmp_path / "model"), tmp_path / "data.jsonl"
    write_jsonl(data, chats(SAMPLES, unmask=False))
    settings = {"epochs": 1, "samples_per_step": PER_STEP, "schedule": "constant", "warmup_ratio": 0.0}
    job = training_job(tmp_path / "job", model, data, **settings, recovery_interval_s=1e9)
    encoder = Encoder(AutoTokenizer.from_pretrained(job.model))
    write_tokens(data, encoder, job.tokens, max_sample_tokens=64, progress=lambda _: None)
    return job


def ours(job, tokens):
    world = World(rank=0, size=1, local_rank=0, device=torch.device("cpu"))
    trainer = Trainer(
        job=job,
        tokens=tokens,
        student=load_student(job.model),
        world=world,
        telemetry=Telemetry(job.telemetry, speaks=True),
        meter=Meter(read_shape(job.model), world, budget=job.micro_batch_tokens),
    )
    trainer.train()
    lines = [json.loads(line) for line in job.telemetry.read_text().splitlines()]
    return trainer.student.lm, [line["loss"] for line in lines if line["kind"] == "step"]


def padded(rows):
    """As data collators do it."""
    longest = max(len(ids) for ids, _ in rows)

    def filled(values, filler):
        return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in values])

    return {
        "input_ids": filled([ids.tolist() for ids, _ in rows], 0),
        "attention_mask": filled([[1] * len(ids) for ids, _ in rows], 0),
        "labels": filled(
            [np.where(counted, ids.astype(np.int64), NOT_COUNTED).tolist() for ids, counted in rows], NOT_COUNTED
        ),
    }


def theirs(job, rows, folder):
    from transformers import AutoModelForCausalLM, TrainingArguments
    from transformers import Trainer as HuggingFaceTrainer

    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=1,
        per_device_train_batch_size=PER_STEP // 2,
        gradient_accumulation_steps=2,
        learning_rate=job.learning_rate,
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=1,
        use_cpu=True,
    )
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    trainer = HuggingFaceTrainer(model=model, args=arguments, train_dataset=rows, data_collator=padded)
    trainer.train()
    return model, [line["loss"] for line in trainer.state.log_history if "loss" in line]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs warns of what it is about to change
def test_two_steps_end_where_those_of_hugging_face_end(job, tmp_path):
    tokens = open_tokens(job.tokens)
    plan = Plan(num_samples=SAMPLES, samples_per_step=PER_STEP, epochs=1, seed=job.seed)
    rows = [tokens.sample(int(i)) for step in range(2) for i in plan.samples(step)]
    model, losses = ours(job, tokens)
    other, other_losses = theirs(job, rows, tmp_path / "theirs")
    assert losses == pytest.approx(other_losses, rel=1e-5)
    for weight, expected in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=0, atol=2e-5)
