"""What is known of both models: answers and likelihoods, from the weights or from a server, and the judge's view."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.evaluation.answers import Replies, Settings, replies
from instructlab_pipeline.evaluation.candidate import Candidate
from instructlab_pipeline.evaluation.endpoint import Address, complete, model_of
from instructlab_pipeline.evaluation.grading import Evidence, Responses
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.journal import Journal
from instructlab_pipeline.evaluation.judging import Judge, with_judgement
from instructlab_pipeline.evaluation.metrics import Metric
from instructlab_pipeline.evaluation.tasks import Task, responses, tasks_for
from instructlab_pipeline.stage import Context


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is asked, and how. `served`: where the tuned model's answers come from, if not from its weights."""

    items: Sequence[Item]
    metrics: Mapping[str, Metric]
    settings: Settings
    judge: Judge | None
    served: Address | None = None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The evidence, and how many replies of each model had to be made now."""

    evidence: Evidence
    made: Mapping[str, int]


def examine(base: Candidate, tuned: Candidate, asked: Examination, context: Context) -> Findings:
    """Ask both models, and the judge where there is one.

    Raises:
        WorkerError: a model could not be asked. ServiceError: a server could not.
    """
    tasks = tasks_for(asked.items, asked.metrics)
    of_base = replies(base, tasks, asked.settings, context)
    of_tuned = _of_tuned(tuned, tasks, asked, context)
    evidence = Evidence(
        items=asked.items, base=_responses(asked, of_base.known), tuned=_responses(asked, of_tuned.known)
    )
    if asked.judge is not None:
        evidence = with_judgement(evidence, asked.metrics, asked.judge, context)
    return Findings(evidence=evidence, made={"base": of_base.made, "tuned": of_tuned.made})


def _responses(asked: Examination, known: Mapping[str, Any]) -> Responses:
    return responses(asked.items, known, max_new_tokens=asked.settings.max_new_tokens)


def _of_tuned(tuned: Candidate, tasks: Sequence[Task], asked: Examination, context: Context) -> Replies:
    """Likelihoods always come from the weights: few servers give them for a text that they did not write."""
    if asked.served is None:
        return replies(tuned, tasks, asked.settings, context)
    local = replies(tuned, [task for task in tasks if task.continuation is not None], asked.settings, context)
    answers = [task for task in tasks if task.continuation is None]
    remote = served_answers(tuned, asked.served, answers, asked.settings, context)
    return Replies(known={**local.known, **remote.known}, made=local.made + remote.made)


def served_answers(
    candidate: Candidate, address: Address, tasks: Sequence[Task], settings: Settings, context: Context
) -> Replies:
    """The answers of a server that is said to serve these weights; kept for these weights and this name alone.

    Raises:
        ServiceError: the server is gone or refused a question. What was answered is kept.
    """
    model = model_of(address)
    name = f"{candidate.digest}-served-as-{model.replace('/', '_')}.jsonl"
    journal = Journal(context.cache / "answers" / name)
    known = journal.replies()
    keyed = {task.key(max_new_tokens=settings.max_new_tokens): task for task in tasks}
    requests = {
        key: {
            "model": model,
            "messages": task.messages,
            "temperature": 0,
            "max_tokens": settings.max_new_tokens,
        }
        for key, task in keyed.items()
        if key not in known
    }
    done = 0

    def heard(key: str, text: str | None, refusal: str) -> None:
        nonlocal done
        if text is None:
            raise ServiceError(
                f"the model {model} refused the question {keyed[key].messages[-1]['content'][:200]!r}: {refusal}",
                remedy="mend what it complains of (is its context long enough for every question?), then run again: "
                "every finished reply is kept",
            )
        done += 1
        journal.add({key: text.strip()})
        context.events.progress(f"answers of {model}", done, len(requests), unit="answers")

    if requests:
        asyncio.run(complete(address, requests, at_once=settings.batch_size, heard=heard))
    return Replies(known=journal.replies(), made=len(requests))
