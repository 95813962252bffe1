"""A child's whole work: load a dataset as its card tells, train on it with TRL, and write what was seen as JSON.

python train_with_trl.py DATASET MODEL OUT
"""

import json
import sys

import torch
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer


def main():
    dataset_folder, model_folder, out = sys.argv[1:]
    seen = {}
    for phase in ("phase_1", "phase_2"):
        rows = load_dataset(dataset_folder, phase, split="train")  # the configurations that the card names
        torch.manual_seed(0)
        settings = SFTConfig(
            output_dir=out,
            max_steps=8,
            per_device_train_batch_size=4,
            learning_rate=1e-2,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
        )
        trainer = SFTTrainer(model=model_folder, args=settings, train_dataset=rows)
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        seen[phase] = {"rows": len(rows), "columns": rows.column_names, "first": losses[0], "last": losses[-1]}
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
