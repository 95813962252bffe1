"""`generate` for one question after the other, as everybody writes it first: `evaluate_loop.py JOB.json`."""

import json
from pathlib import Path

import torch
from measure import job, measured
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    asked = job()
    tokenizer = AutoTokenizer.from_pretrained(asked["model"])
    model = AutoModelForCausalLM.from_pretrained(asked["model"], dtype=torch.float32).eval()
    answers = {}

    def work() -> int:
        for key, messages in asked["questions"].items():
            inputs = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            whole = model.generate(**inputs, max_new_tokens=asked["max_new_tokens"], do_sample=False)
            answer = whole[0, inputs["input_ids"].shape[1] :]
            answers[key] = tokenizer.decode(answer, skip_special_tokens=True).strip()
        return len(answers)

    measured(work)
    (Path(asked["folder"]) / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
