"""Charts as inline SVG: they open anywhere, print, need no script, and follow the page's colours by their classes.

Colours stand in `page.css`; here are only places. All lengths are pixels of the drawing, which scales with the page.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from instructlab_pipeline.report.scales import Scale, thinned, ticks

WIDTH = 760
LONGEST_LABEL = 36  # characters of a leaf's path
LETTER = 6.7  # pixels, of the widest that labels are made of on average
ROW = 26
MOST_POINTS = 400
MOST_KINDS = 9  # further kinds share a colour


@dataclass(frozen=True, kw_only=True)
class Change:
    """A share before and after, from 0 to 1; `interval` is that of the value after."""

    label: str
    base: float | None
    tuned: float
    interval: tuple[float, float] | None = None
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class Span:
    """Work from `start` to `end`, in seconds since the first; `state` is a class of the style sheet."""

    label: str
    start: float
    end: float
    state: str
    words: str


def changes(rows: Sequence[Change]) -> Markup:
    """A line per row from the base's dot to the tuned model's, with its 95% interval and the threshold."""
    across = Scale(low=0, high=1, start=_room(row.label for row in rows), end=WIDTH - 20)
    bottom = len(rows) * ROW
    parts = [*_grid(across, [0, 0.2, 0.4, 0.6, 0.8, 1], bottom)]
    for number, row in enumerate(rows):
        parts += _change(row, across, number * ROW + ROW / 2)
    return _svg(bottom + 24, parts, "base and tuned values, from 0 to 1")


def stacks(rows: Mapping[str, Mapping[str, int]], kinds: Sequence[str]) -> Markup:
    """A bar per row, cut by kind, in the order of `kinds`; kinds are numbered classes of the style sheet."""
    most = max((sum(row.values()) for row in rows.values()), default=1)
    across = Scale(low=0, high=most, start=_room(rows), end=WIDTH - 20)
    bottom = len(rows) * ROW
    parts = [*_grid(across, ticks(0, most), bottom)]
    for number, (label, row) in enumerate(rows.items()):
        top = number * ROW
        parts.append(_label(label, top + ROW / 2, across))
        so_far = 0
        for kind in kinds:
            if count := row.get(kind, 0):
                left, right = across(so_far), across(so_far + count)
                style = f"kind-{min(kinds.index(kind), MOST_KINDS)}"
                parts.append(_bar(left, top, right - left, style, f"{label}: {count} {kind}"))
                so_far += count
    return _svg(bottom + 24, parts, "candidates per leaf, by what became of them")


def timeline(spans: Sequence[Span]) -> Markup:
    """A bar per stage on one clock, with its duration beside it."""
    end = max((span.end for span in spans), default=1.0) or 1.0
    labels = list(dict.fromkeys(span.label for span in spans))
    across = Scale(low=0, high=end, start=_room(labels), end=WIDTH - 110)
    parts = [_label(label, number * ROW + ROW / 2, across) for number, label in enumerate(labels)]
    for span in spans:
        top = labels.index(span.label) * ROW
        left, right = across(span.start), across(span.end)
        parts.append(_bar(left, top, max(2.0, right - left), span.state, f"{span.label}: {span.words}"))
        parts.append(_text(right + 6, top + ROW / 2, span.words, "value"))
    return _svg(len(labels) * ROW + 4, parts, "when each stage ran")


def lines(series: Mapping[str, Sequence[tuple[float, float]]], *, x: str, y: str) -> Markup:
    """A line per series over a common axis that starts at 0 upwards; the names of both axes stand at their ends."""
    drawn = {name: thinned(points, most=MOST_POINTS) for name, points in series.items()}
    places = [point for points in drawn.values() for point in points]
    height = 220
    high = max(place for _, place in places) or 1.0
    across = Scale(low=0, high=max(place for place, _ in places) or 1, start=50, end=WIDTH - 20)
    up = Scale(low=0, high=high, start=height, end=24)
    parts = [*_grid(across, ticks(0, across.high), height), *_levels(up, ticks(0, high))]
    for number, (name, points) in enumerate(drawn.items()):
        path = " ".join(f"{across(a)},{up(b)}" for a, b in points)
        parts.append(
            Markup('<polyline class="line line-{}" points="{}"><title>{}</title></polyline>').format(number, path, name)
        )
    parts += [_text(WIDTH - 20, height + 34, x, "axis end"), _text(4, 6, y, "axis")]
    return _svg(height + 44, parts, f"{y} over {x}")


def _change(row: Change, across: Scale, middle: float) -> list[Markup]:
    parts = [_label(row.label, middle, across)]
    if row.threshold is not None:
        parts.append(_rule(across(row.threshold), middle - ROW / 2, middle + ROW / 2, "threshold"))
    if row.interval is not None:
        parts.append(_beam(across(row.interval[0]), across(row.interval[1]), middle, "interval"))
    if row.base is not None:
        parts += [_beam(across(row.base), across(row.tuned), middle, "change"), _dot(across(row.base), middle, "base")]
    words = f"{row.label}: {row.tuned:.3f}"
    if row.interval is not None:
        words += f" ({row.interval[0]:.3f} to {row.interval[1]:.3f})"
    words += "" if row.base is None else f", base {row.base:.3f}"
    return [*parts, _dot(across(row.tuned), middle, "tuned", words)]


def _svg(height: float, parts: Sequence[Markup], words: str) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, words)
    return head + Markup().join(parts) + Markup("</svg>")


def _grid(across: Scale, values: Sequence[float], bottom: float) -> list[Markup]:
    parts = []
    for value in values:
        parts += [
            _rule(across(value), 0, bottom, "grid"),
            _text(across(value), bottom + 14, f"{value:g}", "axis middle"),
        ]
    return parts


def _levels(up: Scale, values: Sequence[float]) -> list[Markup]:
    level = Markup('<line class="grid" x1="50" x2="{}" y1="{}" y2="{}"/>')
    parts = []
    for value in values:
        parts += [level.format(WIDTH - 20, up(value), up(value)), _text(44, up(value), f"{value:g}", "axis end")]
    return parts


def _room(labels: Iterable[str]) -> float:
    """For the labels on the left, so that a scale can start beside them."""
    return 20 + LETTER * max((len(_shortened(label)) for label in labels), default=0)


def _label(text: str, middle: float, across: Scale) -> Markup:
    return _text(across.start - 10, middle, _shortened(text), "label end", title=text)


def _shortened(text: str, most: int = LONGEST_LABEL) -> str:
    """The end of a leaf's path says more than its beginning: it is cut at a slash where there is one."""
    if len(text) <= most:
        return text
    end = text[-most + 1 :]
    return "…" + (end[end.index("/") :] if "/" in end else end)


def _text(x: float, y: float, text: str, kind: str, title: str = "") -> Markup:
    tip = Markup("<title>{}</title>").format(title) if title else Markup()
    return Markup('<text class="{}" x="{}" y="{}">').format(kind, x, y) + tip + escape(text) + Markup("</text>")


def _bar(left: float, top: float, width: float, kind: str, words: str) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        kind, left, top + 4, round(width, 1), ROW - 8, words
    )


def _dot(x: float, y: float, kind: str, words: str = "") -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="5"><title>{}</title></circle>').format(
        kind, x, y, words or kind
    )


def _beam(left: float, right: float, y: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(kind, left, right, y, y)


def _rule(x: float, top: float, bottom: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(kind, x, x, top, bottom)
