"""What a model is asked about an item: to answer it, or how likely it holds a given text to be as the answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.conversation import Messages
from instructlab_pipeline.evaluation.grading import Responses
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.metrics import Likelihood, Metric, Source

METHOD = 2  # raise it when the same question would be answered in another way


@dataclass(frozen=True, kw_only=True)
class Task:
    """`continuation` is the text whose likelihood is wanted, or None where the model is to write an answer."""

    messages: Messages
    continuation: str | None = None

    def key(self, *, max_new_tokens: int) -> str:
        """Stands for what is asked and how; how long an answer may be is nothing to a likelihood."""
        limit = max_new_tokens if self.continuation is None else 0
        how = {"method": METHOD, "messages": self.messages, "max_new_tokens": limit}
        return digest_of(how if self.continuation is None else {**how, "continuation": self.continuation})


def tasks_for(items: Iterable[Item], metrics: Mapping[str, Metric]) -> list[Task]:
    """All that the metrics need to be known of one model, without repetition of what stands twice."""
    wants_references = any(metric.source is Source.REFERENCE for metric in metrics.values())
    tasks: list[Task] = []
    for item in items:
        if item.choices:
            tasks += [Task(messages=item.messages, continuation=choice) for choice in item.choices]
            continue
        tasks.append(Task(messages=item.messages))
        if wants_references:
            tasks.append(Task(messages=item.messages, continuation=item.reference))
    return tasks


def responses(items: Iterable[Item], known: Mapping[str, Any], *, max_new_tokens: int) -> Responses:
    """A model's responses, out of replies by their tasks' keys; see `worker.py` for what a reply is."""
    texts: dict[str, str] = {}
    references: dict[str, Likelihood] = {}
    choices: dict[str, list[Likelihood]] = {}

    def reply(item: Item, continuation: str | None) -> Any:
        return known.get(Task(messages=item.messages, continuation=continuation).key(max_new_tokens=max_new_tokens))

    for item in items:
        if item.choices:
            choices[item.id] = [Likelihood(**reply(item, choice)) for choice in item.choices]
            continue
        texts[item.id] = reply(item, None)
        if (likelihood := reply(item, item.reference)) is not None:
            references[item.id] = Likelihood(**likelihood)
    return Responses(texts=texts, references=references, choices=choices)
