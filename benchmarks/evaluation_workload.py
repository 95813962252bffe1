"""A model that is sure of its answers, and questions whose answers are of very different lengths.

Random weights would do for the speed of a step, but they never end an answer, and two ways to add the same numbers
could lead to different words. So the model is trained for a moment: asked to say words in order, it says as many as it
is told, and ends.
"""

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.tiny_model import write_tiny_model

WORDS = ["red", "blue", "green", "gold", "pink", "grey", "teal", "lime", "navy", "plum", "rust", "sand"]
MANY = {"few": 2, "some": 6, "most": 20, "all": 48}  # how many words an answer has
MAX_NEW_TOKENS = 128
BATCH = 16
TRAINING_STEPS = 150
SEED = 7


@dataclass(frozen=True, kw_only=True)
class Size:
    questions: int
    hidden: int
    layers: int


QUICK = Size(questions=64, hidden=128, layers=3)
FULL = Size(questions=256, hidden=256, layers=6)


def prepare(size: Size, folder: Path) -> Path:
    """The job that every contender reads: a model folder, and questions as chat messages."""
    model = folder / "model"
    write_tiny_model(model, vocab_size=512, hidden=size.hidden, layers=size.layers, corpus=_corpus())
    _train(model)
    draw = random.Random(SEED)
    questions = [_question(draw) for _ in range(size.questions)]
    job = {
        "model": str(model),
        "batch": BATCH,
        "max_new_tokens": MAX_NEW_TOKENS,
        "questions": {str(number): [{"role": "user", "content": text}] for number, text in enumerate(questions)},
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def _question(draw: random.Random) -> str:
    """A question behind a text of 0 to 60 words that has nothing to do with it."""
    context = " ".join(draw.choice(WORDS) for _ in range(draw.randrange(61)))
    return f"{context}\n\nSay {draw.choice(list(MANY))} from {draw.choice(WORDS)}"


def _answer(question: str) -> str:
    """The words in order, from the named one on, over and over."""
    _, how_many, _, first = question.rpartition("\n\n")[2].split()
    start = WORDS.index(first)
    return " ".join(WORDS[(start + number) % len(WORDS)] for number in range(MANY[how_many]))


def _corpus() -> list[str]:
    draw = random.Random(0)
    return [f"{question} {_answer(question)}" for question in (_question(draw) for _ in range(200))]


def _train(folder: Path) -> None:
    """Until the answers are far from a coin's toss, not until they are all right."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    draw = random.Random(1)
    for _ in range(TRAINING_STEPS):
        rows = []
        for question in (_question(draw) for _ in range(8)):
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": _answer(question)}]
            rows.append(tokenizer(tokenizer.apply_chat_template(messages, tokenize=False))["input_ids"])
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        loss = model(input_ids=ids, labels=ids.masked_fill(ids == 0, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
