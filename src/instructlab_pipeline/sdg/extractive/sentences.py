"""From Markdown to plain sentences: headings, tables, code and markup go, the rest is cut where sentences end."""

import re
from collections.abc import Iterator

_CODE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_FRONT_MATTER = re.compile(r"\A---\n.*?^---$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")
_NOT_PROSE = re.compile(r"^\s*(#|\||>|!\[|={3,}|-{3,}|\*{3,}|\[[^\]]+\]:)")  # heading, table, quotation, picture, rule
_ITEM = re.compile(r"^\s*([-*+]|\d+[.)])\s+", re.MULTILINE)
_MARKUP = (
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
    (re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"\[\d+\]|\[\^[^\]]+\]"), ""),
    (re.compile(r"<[^<>]+>"), ""),
)
_CLOSING = "\"'\u201d\u2019)"
_OPENING = "\"'\u201c\u2018("
_END = re.compile(rf"(?<=[.!?])[{_CLOSING}]*\s+(?=[{_OPENING}]*[A-Z0-9])")
_ABBREVIATION = re.compile(r"(\b(Dr|Mr|Mrs|Ms|St|Prof|No|vs|etc|approx|ca|cf|Fig|e\.g|i\.e|Inc|Ltd|Jr|Sr)|\b[A-Z])\.$")


def sentences(document: str) -> list[str]:
    """The sentences of the document's prose, each on one line, in order."""
    text = document
    for unwanted in (_FRONT_MATTER, _CODE, _COMMENT):
        text = unwanted.sub("", text)
    return [sentence for block in _blocks(text) for sentence in _split(block)]


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs and list items, as running text."""
    for paragraph in _PARAGRAPH_BREAK.split(text):
        prose = "\n".join(line for line in paragraph.splitlines() if not _NOT_PROSE.match(line))
        for block in _ITEM.sub("\0", prose).split("\0"):
            plain = " ".join(_unmarked(block).split())
            if plain:
                yield plain


def _unmarked(text: str) -> str:
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return text


def _split(block: str) -> Iterator[str]:
    """Cut where a sentence ends, but not after an abbreviation or an initial."""
    start = 0
    for end in _END.finditer(block):
        if not _ABBREVIATION.search(block[start : end.start()].rstrip(_CLOSING)):
            yield block[start : end.start()].strip()
            start = end.end()
    if block[start:].strip():
        yield block[start:].strip()
