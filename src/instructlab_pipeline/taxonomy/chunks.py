"""A document cut along its headings and paragraphs into chunks that the student can read.

Tokens are counted with the student's own tokenizer, so that prompt, chunk, question and answer fit its sequence.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from instructlab_pipeline.errors import SourceError, boundary
from instructlab_pipeline.taxonomy.markdown import headings, whole_blocks

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_CHUNK_TOKENS = 1000  # beyond it a teacher's questions get vague
CHUNK_SHARE = 0.5  # of the sequence; the other half is for the prompt, the question and the answer
MIN_CHUNK_TOKENS = 16

Span = tuple[int, int]  # start and end, in characters


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
        found = list(headings(document))
        for start, end in self._spans(document):
            text = document[start:end]
            yield Chunk(
                start=start,
                end=end,
                num_tokens=self._num_tokens(text),
                headings=_path(found, start),
                text=text,
            )

    def _spans(self, document: str) -> Iterator[Span]:
        """The splitter's, but for tables and code that it has cut though they fit into a chunk."""
        spans = [(start, start + len(text)) for start, text in self._splitter.chunk_indices(document)]
        fitting = (
            block for block in whole_blocks(document) if self._num_tokens(document[slice(*block)]) <= self._max_tokens
        )
        known = set(spans)
        for start, end in _uncut(spans, fitting):
            text = document[start:end]
            if (start, end) in known:
                yield start, end
            elif text.strip():
                yield start + len(text) - len(text.lstrip()), start + len(text.rstrip())

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


def _path(headings: list[tuple[int, int, str]], start: int) -> tuple[str, ...]:
    """The headings in force where a chunk begins, its own among them."""
    path: list[tuple[int, str]] = []
    for position, level, title in headings:
        if position > start:
            break
        path = [above for above in path if above[0] < level]
        path.append((level, title))
    return tuple(title for _, title in path)
