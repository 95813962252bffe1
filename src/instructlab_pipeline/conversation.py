"""How a question becomes chat messages: the one place, so that training, evaluation and use agree."""

from typing import Any

Messages = list[dict[str, Any]]


def question_messages(question: str, *, context: str | None = None) -> Messages:
    """What a model is asked: the context first, where there is one, then the question, in one user turn."""
    content = question if context is None else f"{context.strip()}\n\n{question}"
    return [{"role": "user", "content": content}]


def answered(question: str, answer: str, *, context: str | None = None) -> Messages:
    """A finished conversation to learn from."""
    return [*question_messages(question, context=context), {"role": "assistant", "content": answer}]
