"""Runs as OpenMetrics, from their events alone: nothing is counted twice, and nothing is lost when a pod goes.

A batch job is gone before somebody asks how it was, and what it pushed somewhere else would stay there forever. So the
run is what remains, and whoever wants metrics reads the run: once for a text file, or at each scrape.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Event = Mapping[str, Any]
CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# What a training step measures: its name in the event, here, and in words.
OF_A_STEP = (
    ("value", "training_loss", "Loss of the last step, in nats a token."),
    ("tokens_per_second", "training_tokens_per_second", "Tokens that the last step took in a second."),
    ("mfu", "training_flops_utilization_ratio", "Share of the GPUs' peak arithmetic that the last step used."),
    ("memory_bytes", "training_memory_bytes", "Most memory taken so far, on the GPU where there is one."),
)


@dataclass(kw_only=True)
class RunSeen:
    """What the events of one run come to. `steps` and `scores` are the last of each stage."""

    run: str
    starts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    reuses: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    running: set[str] = field(default_factory=set)
    progress: dict[str, float] = field(default_factory=dict)
    steps: dict[str, Event] = field(default_factory=dict)
    scores: dict[str, Event] = field(default_factory=dict)
    first: float = 0.0
    last: float = 0.0
    published: bool = False


def seen(run: str, events: Iterable[Event], stages: Iterable[str]) -> RunSeen:
    """`stages`: the names of spans that count as stages."""
    known = frozenset(stages)
    result = RunSeen(run=run)
    for event in events:
        result.first = result.first or event["time"]
        result.last = max(result.last, event["time"])
        result.published = result.published or _publishes(event)
        _count(result, event, known)
    return result


def exposition(runs: Iterable[RunSeen]) -> str:
    """The text that a scrape gets."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.openmetrics.exposition import generate_latest

    found = list(runs)

    class Collected:
        def collect(self) -> Iterator["Metric"]:
            return _families(found)

    registry = CollectorRegistry()
    registry.register(Collected())
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return text.decode()


def _count(result: RunSeen, event: Event, stages: frozenset[str]) -> None:
    name = event["name"]
    match event["event"]:
        case "start" if name in stages:
            result.starts[name] += 1
            result.running.add(name)
        case "end" if name in stages:
            result.running.discard(name)
            result.seconds[name] += event["seconds"]
            result.failures[name] += not event["ok"]
        case "point" if name == "reused":
            result.reuses[event["stage"]] += 1
        case "progress" if name in stages and event["total"]:
            result.progress[name] = event["done"] / event["total"]
        case "metric" if name == "loss":
            result.steps[event["stage"]] = event
        case "metric" if "interval" in event:
            result.scores[name] = event


def _publishes(event: Event) -> bool:
    """Whether it says that the model is where it was to be published."""
    was_there = event["name"] == "reused" and event.get("stage") == "publish"
    return was_there or (event["event"] == "end" and event["name"] == "publish" and event["ok"])


def _families(runs: list[RunSeen]) -> Iterator["Metric"]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    counters = (
        ("stage_starts", "Times that work on a stage began.", "starts"),
        ("stage_failures", "Times that a stage ended with an error.", "failures"),
        ("stage_reuses", "Times that a stage was finished already, and reused.", "reuses"),
        ("stage_seconds", "Seconds of work on a stage, failed attempts among them.", "seconds"),
    )
    for name, meaning, attribute in counters:
        counter = CounterMetricFamily(f"instructlab_{name}", meaning, labels=["run", "stage"])
        for run in runs:
            for stage, count in getattr(run, attribute).items():
                counter.add_metric([run.run, stage], count)
        yield counter
    for name, meaning, values in _gauges():
        gauge = GaugeMetricFamily(f"instructlab_{name}", meaning, labels=["run", "stage"])
        for run in runs:
            for stage, value in values(run):
                gauge.add_metric([run.run, stage], value)
        yield gauge
    yield from _of_whole_runs(runs)


def _gauges() -> Iterator[tuple[str, str, Any]]:
    yield (
        "stage_running",
        "1 from a stage's beginning to its end; see when the run last told anything.",
        lambda run: [(name, 1) for name in run.running],
    )
    yield "stage_progress_ratio", "How far a stage is, from 0 to 1.", lambda run: run.progress.items()
    for source, name, meaning in OF_A_STEP:
        yield name, meaning, lambda run, source=source: _measured(run, source)


def _measured(run: RunSeen, source: str) -> list[tuple[str, float]]:
    return [(stage, step[source]) for stage, step in run.steps.items() if step.get(source) is not None]


def _of_whole_runs(runs: list[RunSeen]) -> Iterator["Metric"]:
    from prometheus_client.core import GaugeMetricFamily

    scores = GaugeMetricFamily(
        "instructlab_evaluation_score", "A metric of the last evaluation.", labels=["run", "metric", "model"]
    )
    of_runs = (
        ("published", "1 once the run's model is published.", "published"),
        ("first_event_timestamp_seconds", "When the run began.", "first"),
        ("last_event_timestamp_seconds", "When the run last told anything.", "last"),
    )
    for name, meaning, attribute in of_runs:
        gauge = GaugeMetricFamily(f"instructlab_run_{name}", meaning, labels=["run"])
        for run in runs:
            gauge.add_metric([run.run], float(getattr(run, attribute)))
        yield gauge
    for run in runs:
        for metric, event in run.scores.items():
            scores.add_metric([run.run, metric, "tuned"], event["value"])
            if event.get("base") is not None:
                scores.add_metric([run.run, metric, "base"], event["base"])
    yield scores
