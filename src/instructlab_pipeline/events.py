"""One vocabulary for everything that a run tells: spans, points, metrics, progress.

Each goes to `events.jsonl`, one JSON object a line, and to listeners such as the progress bars.
The core never prints.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import Interrupted, PipelineError

Listener = Callable[[dict[str, Any]], None]

LOOK_EVERY_S = 0.5  # for new events in a file that is followed
PROGRESS_INTERVAL_S = 1.0  # listeners hear each step; the file keeps one a second


@dataclass(kw_only=True)
class Events:
    """Writes events to `path`, if any, and hands each to the listeners.

    Every event has `time` (seconds since 1970), `event` and `name`; `span` ends carry `seconds` and `ok`.
    """

    path: Path | None = None
    listeners: Sequence[Listener] = ()
    _written_at: dict[str, float] = field(default_factory=dict)

    def point(self, name: str, **fields: Any) -> None:
        """Something happened."""
        self._tell({"event": "point", "name": name, **fields})

    def metric(self, name: str, value: float, **fields: Any) -> None:
        """Something was measured."""
        self._tell({"event": "metric", "name": name, "value": value, **fields})

    def progress(self, name: str, done: float, total: float, *, unit: str, **fields: Any) -> None:
        """`done` of `total` units; cheap to call often."""
        event = {"event": "progress", "name": name, "done": done, "total": total, "unit": unit, **fields}
        now = time.monotonic()
        due = now - self._written_at.get(name, -PROGRESS_INTERVAL_S) >= PROGRESS_INTERVAL_S
        if due or done >= total:
            self._written_at[name] = now
            self._tell(event)
        else:
            self._notify({"time": time.time(), **event})

    @contextmanager
    def span(self, name: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """Work with a beginning and an end; what the body adds to the yielded dict goes into the end."""
        self._tell({"event": "start", "name": name, **fields})
        started = time.monotonic()
        result: dict[str, Any] = {}
        with self.watched(name, result):
            yield result
        self._end(name, started, ok=True, **result)

    @contextmanager
    def watched(self, name: str, result: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Work on `name` that is told of only where it fails, such as what precedes its beginning."""
        started = time.monotonic()
        try:
            yield
        except BaseException as error:
            with suppress(OSError):  # a full disk may be what went wrong
                self._end(name, started, ok=False, error=_in_words(error), **(result or {}))
            raise

    def _end(self, name: str, started: float, **fields: Any) -> None:
        self._tell({"event": "end", "name": name, "seconds": round(time.monotonic() - started, 3), **fields})

    def _tell(self, event: dict[str, Any]) -> None:
        event = {"time": round(time.time(), 3), **event}
        if self.path is not None:
            append_line(self.path, event)
        self._notify(event)

    def _notify(self, event: dict[str, Any]) -> None:
        for listener in self.listeners:
            listener(event)


def _in_words(error: BaseException) -> str:
    match error:
        case PipelineError():
            return error.message
        case KeyboardInterrupt():
            return Interrupted().message
    return f"{type(error).__name__}: {error}"


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON line in a single write, after ending a line that a crash left torn."""
    line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END) > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        file.write(line)


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a run in order; a line torn by a crash is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from filter(None, map(_event, file))


def follow_events(path: Path, goes_on: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """The same, and those to come for as long as it `goes_on`."""
    with path.open(encoding="utf-8", errors="replace") as file:
        still, rest = True, ""
        while still:
            still = goes_on()
            for line in file:
                rest += line
                if rest.endswith("\n"):
                    if event := _event(rest):
                        yield event
                    rest = ""
            if still:
                time.sleep(LOOK_EVERY_S)


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def duration(seconds: float) -> str:
    """As people say it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
