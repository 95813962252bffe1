"""Asks the judge about the answers: what its journal knows, and the rest over the network.

A reply that is not as asked is asked for again; after the last attempt the answer counts as ungraded. Bad replies are
kept like good ones, so that running again asks nothing that was answered, and gives the same grades. Only where they
are so many that there is no verdict they are forgotten: what was wrong with the judge may be mended.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.evaluation.endpoint import Address, complete, model_of
from instructlab_pipeline.evaluation.grading import Evidence, Judgement
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.journal import Journal
from instructlab_pipeline.evaluation.judge import (
    ATTEMPTS,
    Asked,
    choice,
    choosing,
    first_usable,
    judgement,
    marking,
    preference,
    request_key,
)
from instructlab_pipeline.evaluation.metrics import Metric, Source
from instructlab_pipeline.stage import Context

LEAST_USABLE = 0.5  # of all opinions
REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A model at an address, and how many requests may be open at once."""

    address: Address
    model: str
    at_once: int


def judge_at(address: Address, *, at_once: int) -> Judge:
    """Raises: see `endpoint.model_of`."""
    return Judge(address=address, model=model_of(address), at_once=at_once)


def with_judgement(evidence: Evidence, metrics: Mapping[str, Metric], judge: Judge, context: Context) -> Evidence:
    """The evidence and what the judge says about it, as far as the metrics want to know.

    Raises:
        ServiceError: the judge is gone or wants no request of ours, or most of what it says is of no use.
    """
    wanted = {metric.source for metric in metrics.values()}
    open_items = [item for item in evidence.items if not item.choices]
    if Source.JUDGE in wanted:
        evidence = _marked(evidence, open_items, judge, context)
    if Source.PREFERENCE in wanted:
        evidence = _chosen(evidence, open_items, judge, context)
    return evidence


def _marked(evidence: Evidence, items: Sequence[Item], judge: Judge, context: Context) -> Evidence:
    sides = {"base": evidence.base, "tuned": evidence.tuned}
    asked = {(side, item.id): marking(item, own.texts[item.id]) for side, own in sides.items() for item in items}
    opinions = _opinions(asked, judgement, judge, context)
    marked: dict[str, dict[str, Judgement | None]] = {
        side: {item.id: opinions[side, item.id] for item in items} for side in sides
    }
    return replace(
        evidence,
        base=replace(evidence.base, judgements=marked["base"]),
        tuned=replace(evidence.tuned, judgements=marked["tuned"]),
    )


def _chosen(evidence: Evidence, items: Sequence[Item], judge: Judge, context: Context) -> Evidence:
    base, tuned = evidence.base.texts, evidence.tuned.texts
    asked = {
        (order, item.id): choosing(item, *((base[item.id], tuned[item.id])[:: 1 if order == "base first" else -1]))
        for order in ("base first", "tuned first")
        for item in items
    }
    choices = _opinions(asked, choice, judge, context)
    return replace(
        evidence,
        preferences={
            item.id: preference(choices["base first", item.id], choices["tuned first", item.id]) for item in items
        },
    )


def _opinions(
    asked: Mapping[tuple[str, str], Asked], read: Callable[[str], Any], judge: Judge, context: Context
) -> dict[tuple[str, str], Any]:
    """An opinion for each question, None where all attempts were in vain; equal questions are asked once.

    Asked by (side, item).
    """
    journal = Journal(context.cache / "judgements" / f"{judge.model.replace('/', '_')}.jsonl")
    requests = {
        name: [question.request(judge.model, attempt) for attempt in range(ATTEMPTS)]
        for name, question in asked.items()
    }
    for attempt in range(ATTEMPTS):
        known = journal.replies()
        opinions = {name: _opinion(own[:attempt], known, read) for name, own in requests.items()}
        missing = {
            request_key(own[attempt]): own[attempt]
            for name, own in requests.items()
            if opinions[name] is None and request_key(own[attempt]) not in known
        }
        _ask(judge, missing, journal, context)
    known = journal.replies()
    opinions = {name: _opinion(own, known, read) for name, own in requests.items()}
    if opinions and not _are_of_use(opinions):
        useless = [request for name, own in requests.items() if opinions[name] is None for request in own]
        journal.forget({request_key(request) for request in useless})
        raise _too_few(opinions, _refusals(useless, known), judge, journal)
    return opinions


def _are_of_use(opinions: Mapping[tuple[str, str], Any]) -> bool:
    """No verdict where most is not known, or where what is known compares nothing."""
    usable = [name for name, opinion in opinions.items() if opinion is not None]
    compared = 2 in Counter(item for _, item in usable).values()
    return compared and len(usable) >= LEAST_USABLE * len(opinions)


def _refusals(requests: Iterable[Mapping[str, Any]], known: Mapping[str, Any]) -> list[str]:
    """What the judge's server had against some of the requests, in its words."""
    replies = (known.get(request_key(request)) for request in requests)
    return [reply[REFUSED] for reply in replies if isinstance(reply, dict)]


def _too_few(
    opinions: Mapping[tuple[str, str], Any], refusals: Sequence[str], judge: Judge, journal: Journal
) -> ServiceError:
    usable = sum(opinion is not None for opinion in opinions.values())
    refused = f"; {len(refusals)} requests were refused: {refusals[0]}" if refusals else ""
    return ServiceError(
        f"the judge {judge.model} gave usable opinions in {usable} of {len(opinions)} cases, too few for a verdict"
        f"{refused}; what it said is in {journal.path}",
        remedy="mend the judge, or set eval_judge_model to one that can reply with JSON, then run again: what was of "
        "use is kept, and the rest is asked again",
    )


def _opinion(requests: Sequence[Mapping[str, Any]], known: Mapping[str, Any], read: Callable[[str], Any]) -> Any:
    return first_usable([known.get(request_key(request)) for request in requests], read)


def _ask(judge: Judge, missing: Mapping[str, Mapping[str, Any]], journal: Journal, context: Context) -> None:
    """A reply is kept as its text; that there was none, with the reason why."""
    done = 0

    def heard(key: str, text: str | None, refusal: str) -> None:
        nonlocal done
        done += 1
        journal.add({key: {REFUSED: refusal} if text is None else text})
        context.events.progress("opinions of the judge", done, len(missing), unit="replies")

    if missing:
        asyncio.run(complete(judge.address, missing, at_once=judge.at_once, heard=heard))
