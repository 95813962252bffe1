"""The process that asks a model, by a spec file from `answers.py`; with several GPUs one process on each.

A reply is a text, or of a task with a continuation {"nats": its log-likelihood, "tokens": how many they were}. It goes
to the journal as soon as it is finished, in one line with those that ended at the same moment.

The same batches give the same replies. In another batch the same sums are rounded differently in their last bit, which
can only change an answer where two tokens were equally likely to begin with.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import PipelineError, WorkerError
from instructlab_pipeline.evaluation.decoding import Prompt, greedy_answers, in_batches, log_likelihoods
from instructlab_pipeline.evaluation.journal import Journal
from instructlab_pipeline.processes import die_with_parent


def main() -> None:
    """`SPEC` starts a worker for each GPU and is the first of them; `SPEC NUMBER COUNT` is one of the others."""
    die_with_parent()
    try:
        _work(*sys.argv[1:])
    except PipelineError as error:
        sys.exit(f"{error.message}; {error.remedy}")


def _work(path: str, *place: str) -> None:
    spec = json.loads(Path(path).read_text(encoding="utf-8"))
    if place:
        perform(spec, int(place[0]), int(place[1]))
        return
    count = spec.get("workers") or _gpus()
    others = [_start(path, number, count) for number in range(1, count)]
    perform(spec, 0, count)
    sys.exit(max((abs(other.wait()) for other in others), default=0))


def perform(spec: Mapping[str, Any], number: int, count: int) -> None:
    """Every `count`-th task, from `number` on."""
    tokenizer, model = load(Path(spec["model"]))
    answer(tokenizer, model, {**spec, "tasks": spec["tasks"][number::count]})


def answer(tokenizer: Any, model: Any, spec: Mapping[str, Any]) -> None:
    """Every task of `spec`, into its journal."""
    prompts = [_prompt(tokenizer, task) for task in spec["tasks"]]
    require_positions(model.config, prompts, spec["max_new_tokens"])
    journal = Journal(Path(spec["journal"]))
    ends = end_tokens(model, tokenizer)

    def answered(batch: Sequence[Prompt]) -> Iterator[dict[str, str]]:
        for finished in greedy_answers(model, ends, [prompt.ids for prompt in batch], spec["max_new_tokens"]):
            texts = tokenizer.batch_decode(list(finished.values()), skip_special_tokens=True)
            yield {batch[row].key: text.strip() for row, text in zip(finished, texts, strict=True)}

    def weighed(batch: Sequence[Prompt]) -> Iterator[dict[str, Any]]:
        nats = log_likelihoods(model, batch)
        if any(map(math.isnan, nats)):
            raise WorkerError(
                "the model's likelihoods are no numbers", remedy="its training diverged: lower train_learning_rate"
            )
        yield {
            prompt.key: {"nats": value, "tokens": len(prompt.continuation)}
            for value, prompt in zip(nats, batch, strict=True)
        }

    open_ones = [prompt for prompt in prompts if not prompt.continuation]
    given = [prompt for prompt in prompts if prompt.continuation]
    for replies in chain(
        in_batches(answered, open_ones, spec["batch_size"]), in_batches(weighed, given, spec["batch_size"])
    ):
        journal.add(replies)


def load(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model from local files alone: float32 on CPU, bfloat16 on a GPU. Code in the folder never runs."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.use_deterministic_algorithms(True, warn_only=True)
    on_gpu = torch.cuda.is_available()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16 if on_gpu else torch.float32)
    return tokenizer, model.to("cuda" if on_gpu else "cpu").eval()


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """What ends an answer: the model's own end tokens, and the tokenizer's."""
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return sorted({token for token in [*listed, tokenizer.eos_token_id] if token is not None})


def _prompt(tokenizer: Any, task: Mapping[str, Any]) -> Prompt:
    """The chat template's rendering as ids. A continuation's tokens are those that it has behind the question."""
    text = tokenizer.apply_chat_template(task["messages"], tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if task["continuation"] is None:
        return Prompt(key=task["key"], ids=ids)
    whole = tokenizer(text + task["continuation"], add_special_tokens=False)["input_ids"]
    start = min(len(ids), len(whole) - 1)  # where the answer's beginning melts into the question's end
    return Prompt(key=task["key"], ids=whole[:start], continuation=whole[start:])


def require_positions(config: Any, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
    """Rotary positions go on for ever; a table of them ends, on a GPU with an error that nobody understands."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or getattr(config, "rope_parameters", None) is not None:
        return
    longest = max((len(prompt.ids) + (len(prompt.continuation) or max_new_tokens) for prompt in prompts), default=0)
    if longest > limit:
        raise WorkerError(
            f"the longest question takes {longest} tokens with its answer, and the model has {limit} positions",
            remedy="leave out questions so long, or train a model that reads more",
        )


def _gpus() -> int:
    import torch

    count: int = torch.cuda.device_count()
    return max(1, count)


def _start(path: str, number: int, count: int) -> subprocess.Popen[bytes]:
    """A worker with the GPU of its number; it is in this one's session, and ends with it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    device = visible.split(",")[number] if visible else str(number)
    argv = [sys.executable, "-m", "instructlab_pipeline.evaluation.worker", path, str(number), str(count)]
    return subprocess.Popen(argv, env={**os.environ, "CUDA_VISIBLE_DEVICES": device})


if __name__ == "__main__":
    main()
