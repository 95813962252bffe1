"""lm-evaluation-harness' Hugging Face backend on the questions of a job: `evaluate_lm_eval.py JOB.json`."""

import json
from pathlib import Path

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from measure import job, measured


def main() -> None:
    asked = job()
    backend = HFLM(
        pretrained=asked["model"], batch_size=asked["batch"], device="cpu", dtype="float32", add_bos_token=False
    )
    settings = {"until": ["<|end|>"], "max_gen_toks": asked["max_new_tokens"], "do_sample": False}
    requests = [
        Instance(
            request_type="generate_until",
            doc={},
            arguments=(backend.apply_chat_template(messages), dict(settings)),
            idx=number,
        )
        for number, messages in enumerate(asked["questions"].values())
    ]
    answers: list[str] = []

    def work() -> int:
        answers.extend(backend.generate_until(requests, disable_tqdm=True))
        return len(answers)

    measured(work)
    texts = {key: answer.strip() for key, answer in zip(asked["questions"], answers, strict=True)}
    (Path(asked["folder"]) / "answers.json").write_text(json.dumps(texts))


if __name__ == "__main__":
    main()
