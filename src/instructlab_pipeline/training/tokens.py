"""The samples of a phase as memory-mapped token arrays: tokenized once, whatever is run how often.

A folder of them is whole when it has `meta.json`, which is written last, before the folder is renamed into place.
"""

import contextlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instructlab_pipeline.artifacts import digest_of, file_digest, read_jsonl, shards_of, write_jsonl
from instructlab_pipeline.errors import SourceError, boundary
from instructlab_pipeline.training.masks import REMEDY, Chat, Encoded, Encoder, Record

FORMAT = 1  # raise when the same data would give other arrays
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
LEFT_OUT = "left_out.jsonl"
_META = "meta.json"
_AT_ONCE = 256  # records in memory while tokenizing
_POLL_S = 0.1

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """N samples, T tokens.

    ids: [T] uint32. supervised: [T] bool. starts: [N + 1] int64, where each sample begins.
    counts: [N] int64, each sample's supervised tokens. lines: [N] int64, its line in the data, from 1.
    left_out: samples of the data that are not here.
    """

    ids: NDArray[np.uint32]
    supervised: NDArray[np.bool_]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    lines: NDArray[np.int64]
    left_out: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def sample(self, index: int) -> Encoded:
        span = slice(self.starts[index], self.starts[index + 1])
        return self.ids[span], self.supervised[span]


def tokens_key(data_digest: str, model: Path, *, max_sample_tokens: int) -> str:
    """Digest of all that decides the arrays."""
    tokenizer = {name: file_digest(model / name) for name in TOKENIZER_FILES if (model / name).exists()}
    return digest_of([FORMAT, data_digest, tokenizer, max_sample_tokens])


def open_tokens(folder: Path) -> Tokens | None:
    """The arrays in `folder`, or None where they are not whole."""
    try:
        meta = json.loads((folder / _META).read_bytes())
        if any((folder / name).stat().st_size != size for name, size in meta["sizes"].items()):
            return None
        return Tokens(
            ids=np.memmap(folder / "ids.bin", np.uint32, "r"),
            supervised=np.memmap(folder / "supervised.bin", np.bool_, "r"),
            starts=np.load(folder / "starts.npy"),
            counts=np.load(folder / "counts.npy"),
            lines=np.load(folder / "lines.npy"),
            left_out=tuple(read_jsonl(folder / LEFT_OUT)),
        )
    except (FileNotFoundError, ValueError, KeyError):
        return None


def write_tokens(data: Path, encoder: Encoder, folder: Path, *, max_sample_tokens: int, progress: Progress) -> None:
    """Tokenize `data` into `folder`; a sample too long or with nothing to learn is left out and listed.

    Raises:
        SourceError: a record cannot be encoded, or no sample is left.
    """
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    _write_arrays(draft, _encoded(data, encoder, progress), data, max_sample_tokens)
    sizes = {path.name: path.stat().st_size for path in draft.iterdir()}
    (draft / _META).write_text(json.dumps({"sizes": sizes}))
    if open_tokens(folder) is None:
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # another run was faster: its arrays are the same
        draft.rename(folder)
    shutil.rmtree(draft, ignore_errors=True)


def wait_for_tokens(folder: Path) -> Tokens:
    """For the workers beside the one that tokenizes; should that one fail, all are ended."""
    while (tokens := open_tokens(folder)) is None:
        time.sleep(_POLL_S)
    return tokens


def name_of(data: Path) -> str:
    """What line numbers count through."""
    shards = shards_of(data)
    return data.name if len(shards) == 1 else f"{data.name} to {shards[-1].name} (counted through)"


def _encoded(data: Path, encoder: Encoder, progress: Progress) -> Iterator[tuple[int, Record, Encoded]]:
    """Line number, record, and its tokens."""
    numbered, name = enumerate(read_jsonl(data), start=1), name_of(data)
    while batch := list(itertools.islice(numbered, _AT_ONCE)):
        chats = [_rendered(record, encoder, f"{name}, line {line}") for line, record in batch]
        for (line, record), encoded in zip(batch, encoder.encode(chats), strict=True):
            yield line, record, encoded
        progress(batch[-1][0])


def _rendered(record: Record, encoder: Encoder, where: str) -> Chat:
    with boundary(SourceError, where, remedy=REMEDY):
        return encoder.render(record)


def _write_arrays(
    folder: Path, encoded: Iterable[tuple[int, Record, Encoded]], data: Path, max_sample_tokens: int
) -> None:
    lengths, counts, lines, left_out = [], [], [], []
    with (folder / "ids.bin").open("wb") as ids_file, (folder / "supervised.bin").open("wb") as supervised_file:
        for line, record, (ids, supervised) in encoded:
            count = int(supervised.sum())
            if len(ids) > max_sample_tokens or count == 0:
                reason = "too long" if len(ids) > max_sample_tokens else "nothing to learn from"
                left_out.append({"line": line, "id": record.get("id"), "tokens": len(ids), "reason": reason})
                continue
            ids.tofile(ids_file)
            supervised.tofile(supervised_file)
            lengths.append(len(ids))
            counts.append(count)
            lines.append(line)
    if not lengths:
        raise SourceError(
            f"{data.name} has no sample that fits {max_sample_tokens} tokens and has something to learn from",
            remedy="raise train_sequence_length, or look at the samples",
        )
    np.save(folder / "starts.npy", np.cumsum([0, *lengths], dtype=np.int64))
    np.save(folder / "counts.npy", np.asarray(counts, np.int64))
    np.save(folder / "lines.npy", np.asarray(lines, np.int64))
    write_jsonl(folder / LEFT_OUT, left_out)
