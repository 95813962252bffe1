"""Hugging Face's Trainer and TRL's SFTTrainer on the rows of a job: `train_hf.py JOB.json`, a folder and a manner.

They get the tokens as they are, so that nobody tokenizes, and the same optimizer; what else they do is their default,
but for the arithmetic, which is float32 for everybody.
"""

import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from measure import job, measured
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments
from trl import SFTConfig, SFTTrainer

NOT_COUNTED = -100
TRL = {
    "trl-default": {},
    "trl-padding-free": {"padding_free": True, "max_length": None, "gradient_checkpointing": False},
    "trl-bfd": {"packing": True, "packing_strategy": "bfd", "gradient_checkpointing": False},
}


def main() -> None:
    asked = job()
    torch.manual_seed(0)
    rows = [json.loads(line) for line in Path(asked["rows"]).read_text().splitlines()]
    model = AutoModelForCausalLM.from_pretrained(asked["model"], dtype=torch.float32, attn_implementation="sdpa")
    tokenizer = AutoTokenizer.from_pretrained(asked["model"])
    make = _trl if asked["manner"] in TRL else _trainer
    trainer = make(asked, rows, model, tokenizer)

    def work() -> int:
        trainer.train()
        return len(rows)

    measured(work)
    print(json.dumps({"loss": trainer.state.log_history[-1]["train_loss"]}))


def _common(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "output_dir": asked["folder"],
        "num_train_epochs": 1,
        "per_device_train_batch_size": asked["batch"],
        "gradient_accumulation_steps": asked["accumulation"],
        "learning_rate": asked["learning_rate"],
        "lr_scheduler_type": "constant",
        "optim": "adamw_torch_fused",
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "train_sampling_strategy": "sequential",
    }


def _trainer(asked: dict[str, Any], rows: list[dict[str, Any]], model: Any, tokenizer: Any) -> Trainer:
    grouped = {"train_sampling_strategy": "group_by_length"} if asked["manner"] == "hf-grouped" else {}
    labelled = [{"input_ids": row["input_ids"], "labels": _labels(row)} for row in rows]
    return Trainer(
        model=model,
        args=TrainingArguments(**_common(asked) | grouped),
        train_dataset=Dataset.from_list(labelled),
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
    )


def _labels(row: dict[str, Any]) -> list[int]:
    pairs = zip(row["input_ids"], row["completion_mask"], strict=True)
    return [token if counted else NOT_COUNTED for token, counted in pairs]


def _trl(asked: dict[str, Any], rows: list[dict[str, Any]], model: Any, tokenizer: Any) -> Trainer:
    return SFTTrainer(
        model=model,
        args=SFTConfig(**_common(asked) | {"max_length": asked["longest"]} | TRL[asked["manner"]]),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


if __name__ == "__main__":
    main()
