"""Our sdg stage where nothing goes wrong, where the transport does, and where everything does."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from peers import OURS
from running import Load, Result, run

_OUTAGE = ("--outage", "10", "30")  # seconds after the first request
_QUEUE = "--longest-queue=16"  # with half as many requests again as there are slots, some meet a 429
TRANSPORT = ("--server-error=0.05", "--disconnect=0.02", "--straggler=0.01", *_OUTAGE, _QUEUE)
CONTENT = ("--garbage=0.05", "--truncated=0.02", "--empty=0.01")

_LOST_TO_TRANSPORT = {"refused_by_endpoint"}  # reasons in rejected.jsonl
_LOST_TO_CONTENT = {"empty", "not_as_asked", "not_json", "truncated"}


def endure(load: Load, folder: Path) -> dict[str, Any]:
    clean = run(OURS, load, folder / "clean")
    crowded = replace(load, in_flight=load.slots * 3 // 2)
    transport = run(OURS, replace(crowded, options=TRANSPORT), folder / "transport")
    everything = run(OURS, replace(crowded, options=TRANSPORT + CONTENT), folder / "everything")
    for name, result in (("clean", clean), ("transport", transport), ("everything", everything)):
        _print(name, result)
    return {
        **everything.figures,
        **_losses(everything),
        "same_samples": _same_samples(clean, everything),
        "clean_efficiency": clean.figures["efficiency"],
        "transport_efficiency": transport.figures["efficiency"],
        "transport_same_bytes": _samples(clean) == _samples(transport),
    }


def _print(name: str, result: Result) -> None:
    print(f"\n{name}")
    print("  met:", ", ".join(f"{count} {event}" for event, count in result.statistics["counts"].items()))
    print("  slots taken, second by second:", *(round(taken) for taken in result.statistics["timeline"]))
    for figure, value in {**result.figures, **_losses(result)}.items():
        print(f"  {figure:24}{value}")


def _losses(result: Result) -> dict[str, Any]:
    """Rows that were given up, by cause; further rows have been made in their place where the shortfall is 0."""
    reasons = Counter(record["reason"] for record in _records(result, "rejected"))
    funnels: dict[str, Any] = json.loads((result.folder / "sdg" / "funnel.json").read_text())
    candidates = sum(funnel["candidates"] for funnel in funnels.values())
    by_content = sum(reasons[reason] for reason in _LOST_TO_CONTENT)
    return {
        "lost_to_transport": sum(reasons[reason] for reason in _LOST_TO_TRANSPORT),
        "lost_to_content": by_content,
        "lost_to_content_share": round(by_content / candidates, 4),
        "shortfall": sum(funnel["shortfall"] for funnel in funnels.values()),
        "rejected": dict(reasons),
    }


def _same_samples(clean: Result, faulty: Result) -> float:
    """The share of the clean run's samples that came out again, byte for byte."""
    before, after = _samples(clean), set(_samples(faulty))
    return round(sum(sample in after for sample in before) / len(before), 4)


def _samples(result: Result) -> list[str]:
    return (result.folder / "sdg" / "samples.jsonl").read_text().splitlines()


def _records(result: Result, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.folder / "sdg" / f"{name}.jsonl").read_text().splitlines()]
