"""A document cut along its headings and paragraphs into chunks that the student can read.

Tokens are counted with the student's own tokenizer, so that prompt, chunk, question and answer fit its sequence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from instructlab_pipeline.errors import SourceError, boundary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_CHUNK_TOKENS = 1000  # beyond it a teacher's questions get vague
CHUNK_SHARE = 0.5  # of the sequence; the other half is for the prompt, the question and the answer
MIN_CHUNK_TOKENS = 16
HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*")
UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


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
        self._splitter = MarkdownSplitter.from_huggingface_tokenizer(self._tokenizer, max_tokens)

    def chunks(self, document: str) -> Iterator[Chunk]:
        """In order, without overlap; only whitespace is left between them."""
        headings = list(_headings(document))
        for start, text in self._splitter.chunk_indices(document):
            yield Chunk(
                start=start,
                end=start + len(text),
                num_tokens=len(self._tokenizer.encode(text, add_special_tokens=False).ids),
                headings=_path(headings, start),
                text=text,
            )


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


def _headings(document: str) -> Iterator[tuple[int, int, str]]:
    """Position, level and title of each; what looks like one inside a code block is none."""
    position, fence, before = 0, "", ""
    for line in document.split("\n"):
        mark = FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) and not line[mark.end() :].strip() else fence
        elif mark:
            fence = mark[1]
        elif found := HEADING.fullmatch(line.rstrip("\r")):
            yield position, len(found[1]), found[2] or ""
        elif before and (found := UNDERLINE.fullmatch(line.rstrip("\r"))):
            yield position - len(before) - 1, 1 if found[1][0] == "=" else 2, before.strip()
        before = "" if mark or fence or HEADING.match(line) else line if line.strip() else ""
        position += len(line) + 1


def _path(headings: list[tuple[int, int, str]], start: int) -> tuple[str, ...]:
    """The headings in force where a chunk begins, its own among them."""
    path: list[tuple[int, str]] = []
    for position, level, title in headings:
        if position > start:
            break
        path = [above for above in path if above[0] < level]
        path.append((level, title))
    return tuple(title for _, title in path)
