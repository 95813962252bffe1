"""Events as a person reads them, on stderr: bars with rates and time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from instructlab_pipeline.events import Listener, duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_INTERVAL_S = 10.0
FIELDS = ("amounts", "rate", "left")  # what stands behind a bar
BAR_WIDTH = 12  # at least: with what stands beside it, a line fits into 80 columns
BESIDE_THE_BAR = 75


@contextmanager
def shown_progress() -> Iterator[Listener]:
    """A listener for `Events` that suits whatever stderr is."""
    if sys.stderr.isatty():
        with _bars() as listener:
            yield listener
    else:
        yield Teller(say=lambda line: click.echo(line, err=True)).hear


@dataclass(kw_only=True)
class Pace:
    """How fast one piece of work goes. Rates come from what was seen, so reused work does not flatter them."""

    seen_at: float
    first_done: float
    said_at: float

    def rate(self, done: float, now: float) -> float:
        elapsed = now - self.seen_at
        return (done - self.first_done) / elapsed if elapsed > 0 else 0.0


@dataclass(kw_only=True)
class Teller:
    """Turns events into lines; `show_progress` says whether progress becomes lines too."""

    say: Callable[[str], None]
    show_progress: bool = True
    _paces: dict[str, Pace] = field(default_factory=dict)

    def hear(self, event: dict[str, Any]) -> None:
        line = self._line(event)
        if line is not None:
            self.say(line)

    def _line(self, event: dict[str, Any]) -> str | None:
        line: str | None = None
        match event:
            case {"event": "start", "name": name}:
                line = f"{name}: started"
            case {"event": "end", "name": name, "ok": ok, "seconds": seconds}:
                line = f"{name}: {'done in' if ok else 'stopped after'} {duration(seconds)}"
            case {"event": "point", "name": "reused", "stage": stage}:
                line = f"{stage}: reused, nothing changed"
            case {"event": "point", "name": "notice", "message": message}:
                line = f"note: {message}"
            case {"event": "progress"} if self.show_progress:
                line = self._progress_line(event)
        return line

    def _progress_line(self, event: dict[str, Any]) -> str | None:
        now, name = time.monotonic(), event["name"]
        pace = self._paces.setdefault(name, Pace(seen_at=now, first_done=event["done"], said_at=now))
        if now - pace.said_at < LINE_INTERVAL_S:
            return None
        pace.said_at = now
        return f"{name}: {_progress_words(event, pace.rate(event['done'], now))}"


def _progress_words(event: dict[str, Any], rate: float) -> str:
    done, total, unit = event["done"], event["total"], event["unit"]
    words = [amounts(done, total, unit), _rate_words(rate, unit), _busy_words(event)]
    left_s = _left_s(event, rate)
    if left_s is not None:
        words.append(f"about {duration(left_s)} left")
    return ", ".join(filter(None, words))


def _left_s(event: dict[str, Any], rate: float) -> float | None:
    """What the event foresees, or else what the rate so far makes of what is missing."""
    if "left_s" in event:
        foreseen: float | None = event["left_s"]
        return foreseen
    return max(0.0, event["total"] - event["done"]) / rate if rate > 0 else None


def _busy_words(event: dict[str, Any]) -> str:
    """How well an endpoint is used, where the event tells."""
    if "busy" not in event:
        return ""
    return f"endpoint {_busy_share(event)} with {event['calls_per_s']:.1f} calls/s"


def _busy_share(event: dict[str, Any]) -> str:
    return f"{event['busy']:.0%} busy" if "busy" in event else ""


def _rate_words(rate: float, unit: str) -> str:
    return f"{amount(rate, unit)}/s" if rate > 0 else ""


@contextmanager
def _bars() -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    bar = BarColumn(bar_width=max(BAR_WIDTH, console.width - BESIDE_THE_BAR))
    texts = [TextColumn(f"{{task.fields[{name}]}}") for name in FIELDS]
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), bar, *texts, console=console, transient=True
    ) as progress:
        yield Bars(progress=progress).hear


@dataclass(kw_only=True)
class Bars:
    """A bar for each piece of work that goes on; what ends, and all that is only said, becomes a line above them."""

    progress: "Progress"
    _tasks: "dict[str, TaskID]" = field(default_factory=dict)
    _paces: dict[str, Pace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._teller = Teller(say=self._say, show_progress=False)

    def hear(self, event: dict[str, Any]) -> None:
        match event:
            case {"event": "start", "name": name}:
                self._begin(name)
            case {"event": "progress"}:
                self._show(event)
            case {"event": "end"}:
                while self._tasks:
                    self.progress.remove_task(self._tasks.popitem()[1])
        self._teller.hear(event)

    def _begin(self, name: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self.progress.add_task(name, total=None, amounts="", rate="", left="")

    def _show(self, event: dict[str, Any]) -> None:
        now, name, done, unit = time.monotonic(), event["name"], event["done"], event["unit"]
        self._begin(name)
        pace = self._paces.setdefault(name, Pace(seen_at=now, first_done=done, said_at=now))
        rate = pace.rate(done, now)
        left_s = _left_s(event, rate)
        self.progress.update(
            self._tasks[name],
            completed=done,
            total=event["total"],
            amounts=amounts(done, event["total"], unit),
            rate=", ".join(filter(None, [_rate_words(rate, unit if unit == "B" else ""), _busy_share(event)])),
            left="" if left_s is None else f"{duration(left_s)} left",
        )

    def _say(self, line: str) -> None:
        self.progress.console.print(line, highlight=False, markup=False)


def amounts(done: float, total: float, unit: str) -> str:
    """So much of so much, with the unit once where both have the same."""
    return f"{amount(done, unit if unit == 'B' else '')} of {amount(total, unit)}"


def amount(value: float, unit: str) -> str:
    """A count with its unit; bytes in the largest unit that keeps them readable."""
    if unit != "B":
        number = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
        return f"{number} {unit}".rstrip()
    for prefix in ("", "k", "M", "G"):
        if value < 1000:
            return f"{value:.0f} {prefix}B" if prefix == "" else f"{value:.1f} {prefix}B"
        value /= 1000
    return f"{value:.2f} TB"
