"""A document cut along its headings and paragraphs into chunks that the student can read.

Tokens are counted with the student's own tokenizer, so that prompt, chunk, question and answer fit its sequence.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from instructlab_pipeline.errors import SourceError, boundary
from instructlab_pipeline.taxonomy.markdown import Heading, Span, headings, whole_blocks

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_CHUNK_TOKENS = 1000  # beyond it a teacher's questions get vague
CHUNK_SHARE = 0.5  # of the sequence; the other half is for the prompt, the question and the answer
MIN_CHUNK_TOKENS = 16
LONGEST_TOKEN = 64  # characters, on average over a block; a longer block is cut without being counted
WINDOW = 1 << 16  # characters; the splitter's time grows with the square of what it has at once
SOLID_WINDOW = 1 << 13  # characters; without a space, it counts the whole window anew for each chunk
ENDS = ("\n#", "\n\n", "\n", " ")  # where a window ends, the best first
WITHOUT_SPACE = re.compile(r"[^ \n]+")
BETWEEN_SENTENCES = re.compile(r".*[.!?\u3002\uff01\uff1f]", re.DOTALL)
BEFORE_LETTER = re.compile(r".*[^\u200d](?=\w)", re.DOTALL)  # in no emoji, and before no accent


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """`text` is document[start:end], in characters; `headings` lead to its beginning, outermost first."""

    start: int
    end: int
    num_tokens: int
    headings: tuple[str, ...]
    text: str


def capacity(train_sequence_length: int) -> int:
    """The most tokens of a chunk.

    Raises:
        SourceError: nothing worth reading would fit.
    """
    tokens = min(MAX_CHUNK_TOKENS, int(train_sequence_length * CHUNK_SHARE))
    if tokens < MIN_CHUNK_TOKENS:
        raise SourceError(
            f"train_sequence_length is {train_sequence_length}, which leaves {tokens} tokens for a piece of a document",
            remedy=f"set train_sequence_length to at least {int(MIN_CHUNK_TOKENS / CHUNK_SHARE)}",
        )
    return tokens


class Chunker:
    """Cuts documents for one tokenizer and one capacity in tokens."""

    def __init__(self, tokenizer_file: Path, *, max_tokens: int) -> None:
        from semantic_text_splitter import MarkdownSplitter

        self._tokenizer = _tokenizer(tokenizer_file)
        self._max_tokens = max_tokens
        self._splitter = MarkdownSplitter.from_huggingface_tokenizer(self._tokenizer, max_tokens)

    def chunks(self, document: str) -> Iterator[Chunk]:
        """In order, without overlap; only whitespace is left between them."""
        counted = [piece for span in self._spans(document) for piece in self._counted(document, span)]
        paths = _paths(headings(document), [span for span, _ in counted])
        for ((start, end), num_tokens), path in zip(counted, paths, strict=True):
            yield Chunk(start=start, end=end, num_tokens=num_tokens, headings=path, text=document[start:end])

    def _counted(self, document: str, span: Span) -> Iterator[tuple[Span, int]]:
        """The span with its tokens, halved where the splitter has counted too few of them."""
        start, end = span
        num_tokens = self._num_tokens(document[start:end])
        if num_tokens <= self._max_tokens or end - start == 1:
            yield span, num_tokens
            return
        middle = _border(document, start, (start + end) // 2)
        for half in ((start, middle), (middle, end)):
            if document[slice(*half)].strip():
                yield from self._counted(document, half)

    def _spans(self, document: str) -> Iterator[Span]:
        """The splitter's, but for tables and code that it has cut though they fit into a chunk."""
        spans = [
            (first + start, first + start + len(text))
            for first, last in _windows(document)
            for start, text in self._splitter.chunk_indices(document[first:last])
        ]
        fitting = (block for block in whole_blocks(document) if self._fits(document, block))
        known = set(spans)
        for start, end in _uncut(spans, fitting):
            text = document[start:end]
            if not text.strip():
                continue
            if (start, end) in known:
                yield start, end
            else:
                yield start + len(text) - len(text.lstrip()), start + len(text.rstrip())

    def _fits(self, document: str, block: Span) -> bool:
        start, end = block
        may_fit = end - start <= self._max_tokens * LONGEST_TOKEN
        return may_fit and self._num_tokens(document[start:end]) <= self._max_tokens

    def _num_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _tokenizer(path: Path) -> "Tokenizer":
    """A tokenizer that cuts nothing off.

    Raises:
        SourceError: the file holds none, or one that finds nothing in a text.
    """
    from tokenizers import Tokenizer

    remedy = "check the base model's tokenizer.json"
    with boundary(SourceError, f"reading {path.name} of the base model", remedy=remedy):
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        if not tokenizer.encode("text", add_special_tokens=False).ids:
            raise SourceError("the base model's tokenizer finds no tokens in a word", remedy=remedy)
    return tokenizer


def _uncut(spans: Iterable[Span], blocks: Iterable[Span]) -> Iterator[Span]:
    """The spans, with a border before and after each block instead of those within it; both are in order."""
    waiting = deque(spans)
    for start, end in blocks:
        while waiting and waiting[0][1] <= start:
            yield waiting.popleft()
        if not waiting or (waiting[0][0] <= start and end <= waiting[0][1]):
            continue
        left = right = waiting[0][0]
        while waiting and waiting[0][0] < end:
            right = waiting.popleft()[1]
        yield from ((left, start), (start, end)) if left < start else ((start, end),)
        if right > end:
            waiting.appendleft((end, right))
    yield from waiting


def _windows(document: str) -> Iterator[Span]:
    """The document in parts of at most WINDOW characters, each ended where a chunk would likely end, too."""
    start = 0
    for solid_start, solid_end in _solid(document):
        yield from _windows_with_spaces(document, start, solid_start)
        yield from _windows_of_solid(document, solid_start, solid_end)
        start = solid_end
    yield from _windows_with_spaces(document, start, len(document))


def _solid(document: str) -> Iterator[Span]:
    """What is longer than a window may be without a space or a line's end."""
    spans = (match.span() for match in WITHOUT_SPACE.finditer(document))
    return ((start, end) for start, end in spans if end - start > SOLID_WINDOW)


def _windows_with_spaces(document: str, start: int, end: int) -> Iterator[Span]:
    while end - start > WINDOW:
        half = start + WINDOW // 2
        ends = (document.rfind(sign, half, start + WINDOW) for sign in ENDS)
        border = next(found + 1 for found in ends if found >= 0)
        yield start, border
        start = border
    yield start, end


def _windows_of_solid(document: str, start: int, end: int) -> Iterator[Span]:
    while end - start > SOLID_WINDOW:
        border = _border(document, start + SOLID_WINDOW // 2, start + SOLID_WINDOW)
        yield start, border
        start = border
    yield start, end


def _border(document: str, first: int, last: int) -> int:
    """The last place after `first`, and not beyond `last`, that parts sentences, else letters, else anything."""
    found = BETWEEN_SENTENCES.match(document, first, last) or BEFORE_LETTER.match(document, first, last + 1)
    return found.end() if found else last


def _paths(headings: Iterable[Heading], spans: Iterable[Span]) -> Iterator[tuple[str, ...]]:
    """The headings in force where each span begins, its own among them."""
    coming = deque(headings)
    path: list[Heading] = []
    for start, _ in spans:
        while coming and coming[0].start <= start:
            heading = coming.popleft()
            path = [*(above for above in path if above.level < heading.level), heading]
        yield tuple(heading.title for heading in path)
