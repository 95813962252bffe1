"""What a cut of a Markdown document has to know: its headings, and what should stay whole."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*")
UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
FENCE = re.compile(r" {0,3}(`{3,}(?!.*`)|~{3,})")  # ```what is closed in its line``` is none
NO_PARAGRAPH = re.compile(r" {0,3}(?:[-*+>|]|\d+[.)])(?: |$)")  # below an item, a quote, a row a line is only drawn
TABLE_ROW = re.compile(r" {0,3}\|.*")


Span = tuple[int, int]  # start and end, in characters


@dataclass(frozen=True, kw_only=True)
class Heading:
    """`level` counts from 1."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """`start` in characters; `fence` where it belongs to a block of code, its first and last line included."""

    start: int
    text: str
    fence: bool


def headings(document: str) -> Iterator[Heading]:
    """In order; what looks like one inside a code block is none."""
    before: Line | None = None
    for line in _lines(document):
        is_heading = None if line.fence else HEADING.fullmatch(line.text)
        if is_heading:
            yield Heading(start=line.start, level=len(is_heading[1]), title=is_heading[2] or "")
        elif before and not line.fence and (found := UNDERLINE.fullmatch(line.text)):
            level = 1 if found[1][0] == "=" else 2
            yield Heading(start=before.start, level=level, title=before.text.strip())
        is_text = line.text.strip() and not line.fence and not is_heading and not NO_PARAGRAPH.match(line.text)
        before = line if is_text else None


def whole_blocks(document: str) -> Iterator[Span]:
    """Start and end of each table and of each block of code between fences, in order."""
    block: list[Line] = []
    for line in _lines(document):
        row = bool(TABLE_ROW.fullmatch(line.text)) and not line.fence
        if block and not (line.fence and block[-1].fence) and not (row and not block[-1].fence):
            yield _span(block)
            block = []
        if line.fence or row:
            block.append(line)
    if block:
        yield _span(block)


def _span(lines: Sequence[Line]) -> Span:
    """Without the spaces around them."""
    first, last = lines[0], lines[-1]
    return first.start + len(first.text) - len(first.text.lstrip()), last.start + len(last.text.rstrip())


def _lines(document: str) -> Iterator[Line]:
    start, fence = 0, ""
    for text in document.split("\n"):
        mark = FENCE.match(text)
        inside = bool(fence or mark)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) and not text[mark.end() :].strip() else fence
        elif mark:
            fence = mark[1]
        yield Line(start=start, text=text.rstrip("\r"), fence=inside)
        start += len(text) + 1
