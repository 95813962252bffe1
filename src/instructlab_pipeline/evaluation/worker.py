"""The process that generates answers, by a spec file from `answers.py`: batched greedy decoding with a KV cache.

Prompts are sorted by length, the longest first, so that a batch carries little padding and memory runs out at once or
not at all; where it does, the batch is halved. Each finished batch goes to the journal in one line.

The same batches give the same answers. In another batch the same sums are rounded differently in their last bit, which
can only change an answer where two tokens were equally likely to begin with.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructlab_pipeline.evaluation.journal import Journal
from instructlab_pipeline.processes import die_with_parent


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A question as token ids, ready for the answer's first token."""

    key: str
    ids: Sequence[int]


def main() -> None:
    die_with_parent()
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tokenizer, model = load(Path(spec["model"]))
    journal = Journal(Path(spec["journal"]))
    for batch in batches(prompts(tokenizer, spec["questions"]), spec["batch_size"]):
        texts = generate(model, tokenizer, [prompt.ids for prompt in batch], spec["max_new_tokens"])
        journal.add({prompt.key: text for prompt, text in zip(batch, texts, strict=True)})


def load(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model from local files alone: float32 on CPU, bfloat16 on a GPU. Code in the folder never runs."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.use_deterministic_algorithms(True, warn_only=True)
    on_gpu = torch.cuda.is_available()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16 if on_gpu else torch.float32)
    return tokenizer, model.to("cuda" if on_gpu else "cpu").eval()


def prompts(tokenizer: Any, questions: Sequence[dict[str, Any]]) -> list[Prompt]:
    """The chat template's rendering of each question, the longest first."""
    rendered = [Prompt(key=question["key"], ids=_prompt_ids(tokenizer, question["messages"])) for question in questions]
    return sorted(rendered, key=lambda prompt: (-len(prompt.ids), prompt.key))


def batches(ordered: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    return (ordered[start : start + size] for start in range(0, len(ordered), size))


def generate(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[str]:
    """Greedy answers, one for each prompt, without special tokens and surrounding blanks."""
    import torch

    try:
        return _generate_at_once(model, tokenizer, prompts, max_new_tokens)
    except torch.OutOfMemoryError:
        if len(prompts) == 1:
            raise
    torch.cuda.empty_cache()
    half = len(prompts) // 2
    return [
        *generate(model, tokenizer, prompts[:half], max_new_tokens),
        *generate(model, tokenizer, prompts[half:], max_new_tokens),
    ]


def _generate_at_once(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[str]:
    import torch
    from transformers import GenerationConfig

    ends = _end_tokens(model, tokenizer)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    width = max(len(ids) for ids in prompts)
    ids_BT = torch.tensor([[padding] * (width - len(ids)) + list(ids) for ids in prompts])  # noqa: N806 - shape suffix
    mask_BT = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])  # noqa: N806 - as above
    model.generation_config = GenerationConfig(  # nothing of the model's own sampling settings
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=padding
    )
    with torch.inference_mode():
        whole = model.generate(ids_BT.to(model.device), attention_mask=mask_BT.to(model.device))
    return [text.strip() for text in tokenizer.batch_decode(whole[:, width:], skip_special_tokens=True)]


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """What ends an answer: the model's own end tokens, and the tokenizer's."""
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return sorted({token for token in [*listed, tokenizer.eos_token_id] if token is not None})


def _prompt_ids(tokenizer: Any, messages: list[dict[str, Any]]) -> list[int]:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


if __name__ == "__main__":
    main()
