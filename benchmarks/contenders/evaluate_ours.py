"""Our evaluation's worker on the questions of a job: `evaluate_ours.py JOB.json`."""

import json
from pathlib import Path

from measure import job, measured

from instructlab_pipeline.evaluation import worker
from instructlab_pipeline.evaluation.journal import Journal


def main() -> None:
    asked = job()
    folder = Path(asked["folder"])
    tokenizer, model = worker.load(Path(asked["model"]))
    tasks = [{"key": key, "messages": messages, "continuation": None} for key, messages in asked["questions"].items()]
    spec = {
        "tasks": tasks,
        "journal": str(folder / "journal.jsonl"),
        "max_new_tokens": asked["max_new_tokens"],
        "batch_size": asked["batch"],
    }

    def work() -> int:
        worker.answer(tokenizer, model, spec)
        return len(tasks)

    measured(work)
    (folder / "answers.json").write_text(json.dumps(Journal(folder / "journal.jsonl").replies()))


if __name__ == "__main__":
    main()
