"""What trainers are compared on: a Llama with random weights, and chats as phase 2 has them, tokenized once."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import write_jsonl
from instructlab_pipeline.training.job import TrainingJob

SEED = 42
LONGEST = 2048  # the default of train_sequence_length
BATCH = 8  # samples of one accumulation step
ACCUMULATION = 2
LEARNING_RATE = 1e-4
VOCABULARY = 4096
_SYLLABLES = ("ba", "do", "ke", "li", "mu", "na", "po", "ri", "sa", "te", "vo", "zu")
_SPECIAL = ("<|pad|>", "<|end|>", "<|user|>", "<|assistant|>")
_TEMPLATE = (
    "{%- for message in messages -%}{%- if message['role'] == 'assistant' -%}"
    "<|assistant|>{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- '<|user|>' + message['content'] + '<|end|>' -}}{%- endif -%}{%- endfor -%}"
)


@dataclass(frozen=True, kw_only=True)
class Size:
    chats: int
    hidden: int
    layers: int


QUICK = Size(chats=48, hidden=192, layers=4)
FULL = Size(chats=48, hidden=384, layers=6)


def prepare(size: Size, folder: Path) -> TrainingJob:
    """Write model, chats, our token arrays, and `rows.jsonl`: the same tokens in the order of our steps, for peers."""
    from instructlab_pipeline.training.plan import Plan
    from instructlab_pipeline.training.tokens import open_tokens, write_tokens

    _write_model(folder / "model", size)
    write_jsonl(folder / "chats.jsonl", _chats(size.chats))
    job = _job(folder)
    write_tokens(job.data, _encoder(job.model), job.tokens, max_sample_tokens=LONGEST, progress=lambda _: None)
    tokens = open_tokens(job.tokens)
    assert tokens is not None
    plan = Plan(num_samples=len(tokens), samples_per_step=job.samples_per_step, epochs=1, seed=SEED)
    order = [int(index) for step in range(plan.total_steps) for index in plan.samples(step)]
    write_jsonl(folder / "rows.jsonl", (_row(*tokens.sample(index)) for index in order))
    return job


def _row(ids: Any, supervised: Any) -> dict[str, list[int]]:
    return {"input_ids": ids.tolist(), "completion_mask": supervised.astype(int).tolist()}


def _job(folder: Path) -> TrainingJob:
    return TrainingJob(
        name="training",
        model=folder / "model",
        data=folder / "chats.jsonl",
        output=folder,
        work=folder,
        tokens=folder / "tokens",
        fingerprint="benchmark",
        epochs=1,
        learning_rate=LEARNING_RATE,
        schedule="constant",
        warmup_ratio=0.0,
        samples_per_step=BATCH * ACCUMULATION,
        micro_batch_tokens=BATCH * LONGEST,
        max_sample_tokens=LONGEST,
        seed=SEED,
        recovery_interval_s=1e9,
    )


def _chats(count: int) -> Iterator[dict[str, Any]]:
    """Skills and knowledge without its document are short; every third is a replay of phase 1, with its document.

    Lengths are log-normal. Documents are as long as the chunks that the taxonomy stage makes for sequences of 2048
    tokens: those of Node.js's handbook have 690 tokens on average, half of them 500 to 910. A replay is learned whole,
    of the others the answer alone, as the dataset stage has it.
    """
    pick = random.Random(SEED)
    words = ["".join(pick.choices(_SYLLABLES, k=pick.randint(1, 3))) for _ in range(800)]

    def text(median: float, spread: float, most: int) -> str:
        return " ".join(pick.choices(words, k=min(most, 1 + int(pick.lognormvariate(0, spread) * median))))

    for number in range(count):
        replayed = number % 3 == 0
        document = text(680, 0.4, 950) + " " if replayed else ""
        turns = [("user", document + text(18, 0.6, 50)), ("assistant", text(30, 0.7, 80))]
        messages = [{"role": role, "content": content} for role, content in turns]
        yield {"id": str(number), "messages": messages, "unmask": replayed}


def _write_model(folder: Path, size: Size) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.hidden,
        intermediate_size=3 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.hidden // 32,
        num_key_value_heads=size.hidden // 64,
        max_position_embeddings=LONGEST,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    _write_tokenizer(folder)


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(_SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    texts = [message["content"] for chat in _chats(400) for message in chat["messages"]]
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(_TEMPLATE)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<|pad|>", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _encoder(model: Path) -> Any:
    from transformers import AutoTokenizer

    from instructlab_pipeline.training.masks import Encoder

    return Encoder(AutoTokenizer.from_pretrained(model))
