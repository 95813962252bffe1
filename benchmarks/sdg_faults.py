"""Our sdg stage where nothing goes wrong, where the transport does, and where everything does."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from peers import OURS
from running import Load, Result, run

from instructlab_pipeline.sdg.journal import find
from instructlab_pipeline.sdg.rows import LAST_TRY

_OUTAGE = ("--outage", "10", "30")  # seconds after the first request
_QUEUE = "--longest-queue=16"  # with half as many requests again as there are slots, some meet a 429
TRANSPORT = ("--server-error=0.05", "--disconnect=0.02", "--straggler=0.01", *_OUTAGE, _QUEUE)
CONTENT = ("--garbage=0.05", "--truncated=0.02", "--empty=0.01")

_LOST_TO_TRANSPORT = {"refused_by_endpoint"}  # reasons in rejected.jsonl
_LOST_TO_CONTENT = {"empty", "not_as_asked", "not_json", "truncated"}


def endure(load: Load, folder: Path) -> dict[str, Any]:
    """The three at the same time: each has an endpoint of its own, and all together leave the machine mostly idle."""
    crowded = replace(load, in_flight=load.slots * 3 // 2)
    loads = {
        "clean": load,
        "transport": replace(crowded, options=TRANSPORT),
        "everything": replace(crowded, options=TRANSPORT + CONTENT),
    }
    with ThreadPoolExecutor(len(loads)) as threads:
        clean, transport, everything = threads.map(lambda name: run(OURS, loads[name], folder / name), loads)
    for name, result in zip(loads, (clean, transport, everything), strict=True):
        _print(name, result)
    return {
        **everything.figures,
        **_losses(everything),
        **_likeness(clean, everything),
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


def _likeness(clean: Result, faulty: Result) -> dict[str, Any]:
    """What of the clean run came out again, byte for byte: of all, and of the leaves that no reply was lost to."""
    before, after = _samples(clean), set(_samples(faulty))
    whole = _by_leaf(clean).keys() - _leaves_with_losses(clean, faulty)
    return {
        "same_samples": round(sum(sample in after for sample in before) / len(before), 4),
        "leaves_without_loss": len(whole),
        "same_bytes_without_loss": all(_by_leaf(clean)[leaf] == _by_leaf(faulty)[leaf] for leaf in whole),
    }


def _leaves_with_losses(clean: Result, faulty: Result) -> set[str]:
    """Those of which a call got no reply of use in three tries, so that it was made with another seed."""
    leaf_of = {
        sha256(f"{key} {LAST_TRY - 1}".encode()).hexdigest(): record["leaf"]  # as Call.attempt_key has it
        for name in ("samples", "evaluation", "rejected")
        for record in _records(clean, name)
        for key in record.get("lineage", record)["calls"]
    }
    return {leaf_of[key] for key in find(faulty.folder / "cache" / "journal", leaf_of.keys())}


def _by_leaf(result: Result) -> dict[str, list[str]]:
    samples: dict[str, list[str]] = {}
    for line in _samples(result):
        samples.setdefault(json.loads(line)["leaf"], []).append(line)
    return samples


def _samples(result: Result) -> list[str]:
    return (result.folder / "sdg" / "samples.jsonl").read_text().splitlines()


def _records(result: Result, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.folder / "sdg" / f"{name}.jsonl").read_text().splitlines()]
