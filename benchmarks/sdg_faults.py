"""Our sdg stage on an endpoint where everything goes wrong, held against a run where nothing does."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from peers import OURS
from running import Load, Result, run

_SHARES = {
    "server-error": 0.05,
    "disconnect": 0.02,
    "garbage": 0.05,
    "truncated": 0.02,
    "empty": 0.01,
    "straggler": 0.01,
}
_OUTAGE_S = (10, 30)  # after the first request
_QUEUE = 16  # may wait; with half as many requests again as there are slots, some meet a 429
FAULTS = (*(f"--{name}={share}" for name, share in _SHARES.items()), f"--longest-queue={_QUEUE}")

_TRANSPORT = {"refused_by_endpoint"}  # reasons in rejected.jsonl
_CONTENT = {"empty", "not_as_asked", "not_json", "truncated"}


def endure(load: Load, folder: Path) -> dict[str, Any]:
    clean = run(OURS, load, folder / "clean")
    options = (*FAULTS, "--outage", *map(str, _OUTAGE_S))
    faulty = run(OURS, replace(load, in_flight=load.slots * 3 // 2, options=options), folder / "faulty")
    figures = {
        **faulty.figures,
        **_losses(faulty),
        **_likeness(clean, faulty),
        "clean_efficiency": clean.figures["efficiency"],
    }
    print("\nmet:", _listed(faulty.statistics["counts"]))
    print("\n".join(f"{name:24}{value}" for name, value in figures.items()), end="\n\n")
    return figures


def _losses(result: Result) -> dict[str, Any]:
    """Rows that were given up, by cause; further rows have been made in their place where the shortfall is 0."""
    reasons = Counter(record["reason"] for record in _records(result, "rejected"))
    funnels = json.loads((result.folder / "sdg" / "funnel.json").read_text()).values()
    candidates = sum(funnel["candidates"] for funnel in funnels)
    by_content = sum(reasons[reason] for reason in _CONTENT)
    return {
        "lost_to_transport": sum(reasons[reason] for reason in _TRANSPORT),
        "lost_to_content": by_content,
        "lost_to_content_share": round(by_content / candidates, 4),
        "shortfall": sum(funnel["shortfall"] for funnel in funnels),
        "rejected": dict(reasons),
    }


def _likeness(clean: Result, faulty: Result) -> dict[str, Any]:
    """How much of the clean run's output the faulty one has, sample by sample and leaf by leaf."""
    before, after = _by_leaf(clean), _by_leaf(faulty)
    shared = sum(len(lines & after.get(leaf, set())) for leaf, lines in before.items())
    return {
        "same_samples": round(shared / sum(len(lines) for lines in before.values()), 4),
        "same_leaves": round(sum(lines == after.get(leaf) for leaf, lines in before.items()) / len(before), 4),
    }


def _by_leaf(result: Result) -> dict[str, set[str]]:
    leaves: dict[str, set[str]] = {}
    for record in _records(result, "samples"):
        leaves.setdefault(record["leaf"], set()).add(json.dumps(record))
    return leaves


def _records(result: Result, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.folder / "sdg" / f"{name}.jsonl").read_text().splitlines()]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
