"""Build the demo's base model: a tiny Llama that knows how questions are asked, and nothing that the taxonomy teaches.

It has its own byte-level BPE tokenizer, a chat template, and half a minute of pre-training on practice conversations
(`practice.py`). The folder is a usual Hugging Face one: any tool that reads those reads it.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import practice
from pretraining import Schooling, pretrain

from instructlab_pipeline.conversation import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

HERE = Path(__file__).parent
CODE = ("base_model.py", "pretraining.py")
WORDS = HERE / "words.txt"  # common in prose, each with a frequency; so that documents take fewer tokens
REPORT_EVERY_S = 10.0
USUAL = Schooling()

VOCABULARY_SIZE = 1_200
PADDING, SYSTEM, USER, ASSISTANT, END = "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
ARCHITECTURE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 2,  # with three, wordings are learned more slowly
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2_048,
    "tie_word_embeddings": True,
    "initializer_range": 0.06,  # at the usual 0.02 so narrow a model is slow to start
}
CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {{- '<|assistant|>' -}}
        {%- generation -%}
            {{- message.content + '<|end|>' -}}
        {%- endgeneration -%}
    {%- else -%}
        {{- '<|' + message.role + '|>' + message.content + '<|end|>' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>' -}}
{%- endif -%}
"""
CARD = "README.md"
CARD_TEXT = """\
# Base model of the instructlab-pipeline demo

A Llama of {parameters:,} parameters, pre-trained for a moment on questions about things that do not exist. It shows how
the pipeline tunes a model, and is of no other use.

Built from sources with the digest {digest}
"""


def build_base_model(folder: Path, schooling: Schooling = USUAL, *, say: Callable[[str], None]) -> bool:
    """Make `folder` the base model, or leave it as it is where its sources are the same; says whether it was built.

    The model is made beside `folder` and renamed into place, so what an interrupted build leaves is never taken for it.
    """
    digest = digest_of_sources(schooling)
    if _is_built(folder, digest):
        return False
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    _build(draft, schooling, digest, say)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return True


def digest_of_sources(schooling: Schooling) -> str:
    """sha256 of all that decides what the base model becomes. The taxonomy is not part of it, nor may it be."""
    digest = hashlib.sha256(repr([schooling, practice.conversations()]).encode())
    for source in (*(HERE / name for name in CODE), WORDS):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _is_built(folder: Path, digest: str) -> bool:
    card = folder / CARD
    return card.is_file() and digest in card.read_text(encoding="utf-8")


def _build(folder: Path, schooling: Schooling, digest: str, say: Callable[[str], None]) -> None:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    conversations = practice.conversations()
    tokenizer = _tokenizer(conversations)
    tokenizer.save_pretrained(folder)
    special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    torch.set_num_threads(1)  # steps are too small to share, and the result must not depend on the machine's cores
    torch.manual_seed(schooling.seed)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **ARCHITECTURE, **special))
    say(f"pre-training a base model on {len(conversations):,} practice conversations, for about half a minute")
    token_ids = tokenizer.apply_chat_template(conversations, return_dict=False)
    pretrain(model, token_ids, schooling, on_step=_Reporter(say=say))
    model.generation_config = GenerationConfig(do_sample=False, **special)
    model.save_pretrained(folder)
    (folder / CARD).write_text(CARD_TEXT.format(parameters=model.num_parameters(), digest=digest), encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)  # save_pretrained leaves weights that only their owner may read


def _tokenizer(conversations: Sequence[Messages]) -> "PreTrainedTokenizerFast":
    """Byte-level BPE; each digit is a token of its own, so that numbers are spelled."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PADDING, SYSTEM, USER, ASSISTANT, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(_tokenizer_text(conversations), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PADDING,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=ARCHITECTURE["max_position_embeddings"],
    )


def _tokenizer_text(conversations: Sequence[Messages]) -> Iterator[str]:
    for messages in conversations:
        yield from (message["content"] for message in messages)
    for line in WORDS.read_text(encoding="utf-8").splitlines():
        word, count = line.split()
        yield f" {word}" * int(count)


@dataclass(kw_only=True)
class _Reporter:
    """Says now and then how far the pre-training is."""

    say: Callable[[str], None]
    said_at: float = field(default_factory=time.monotonic)

    def __call__(self, step: int, steps: int, loss: float) -> None:
        if time.monotonic() - self.said_at >= REPORT_EVERY_S:
            self.said_at = time.monotonic()
            self.say(f"  {100 * step // steps}%, loss {loss:.2f}")
