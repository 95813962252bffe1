"""What a file's version says of its bytes, worked out while they come.

0123456789abcdef0123456789abcdef      S3, sent as a whole: the MD5 sum
0123456789abcdef0123456789abcdef-12   S3, sent in 12 parts: the MD5 sum of the parts' sums
sha256:...                            a registry
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from instructlab_pipeline.model.source import Entry
from instructlab_pipeline.model.spans import Span
from instructlab_pipeline.s3.e_tags import combined, e_tag, md5, num_parts, part_sizes

BLOCK_BYTES = 1 << 20  # read at once
SHA256 = "sha256:"


@dataclass(kw_only=True)
class Section:
    """Bytes that are hashed together, as far as `front`; by one thread at a time."""

    front: int
    end: int
    hasher: Any
    lock: Lock = field(default_factory=Lock)

    def hash(self, data: memoryview | bytes) -> None:
        self.hasher.update(data)
        self.front += len(data)


class Proof:
    """Of a file that arrives in pieces, in any order: each of its sections is hashed as far as it has no hole."""

    def __init__(self, entry: Entry) -> None:
        self._wanted, self._size = entry.version.lower(), entry.size  # some servers write ETags in capitals
        parts = num_parts(self._wanted)
        self._guesses = part_sizes(entry.size, parts) if parts and entry.size else []
        self._section_bytes = self._guesses[0] if self._guesses else max(entry.size, 1)
        self._sections: list[Section] = []
        if parts == 0 or self._guesses or entry.version.startswith(SHA256):
            new = hashlib.sha256 if entry.version.startswith(SHA256) else md5
            starts = range(0, max(entry.size, 1), self._section_bytes)
            self._sections = [
                Section(front=start, end=min(start + self._section_bytes, entry.size), hasher=new()) for start in starts
            ]

    @property
    def is_possible(self) -> bool:
        """Whether the version says anything of the bytes."""
        return bool(self._sections)

    @property
    def is_certain(self) -> bool:
        """Whether other bytes have another digest for sure: how large the parts were can only be guessed."""
        return self.is_possible and not self._guesses

    def offer(self, start: int, data: memoryview) -> None:
        """Hash bytes that are at hand, if they are next; what is not is read again later."""
        if not self._sections:
            return
        section = self._sections[start // self._section_bytes]
        if section.front == start and section.lock.acquire(blocking=False):
            try:
                if section.front == start:
                    section.hash(data[: section.end - start])
            finally:
                section.lock.release()

    def catch_up(self, file: int, span: Span, reach: Callable[[int], int], *, wait: bool = False) -> None:
        """Hash on in the sections that hold bytes of `span`, out of the open `file`.

        `reach` tells how far the file is there from a position on. Where another thread is hashing, it goes on alone
        unless we `wait`: after that, all is hashed.
        """
        first, last = span[0] // self._section_bytes, (span[1] - 1) // self._section_bytes
        for section in self._sections[first : last + 1]:
            if section.lock.acquire(blocking=wait):
                try:
                    while section.front < (known := min(reach(section.front), section.end)):
                        section.hash(os.pread(file, min(known - section.front, BLOCK_BYTES), section.front))
                finally:
                    section.lock.release()

    def holds(self, path: Path) -> bool:
        """Whether the whole file at `path`, all of which is hashed, has the digest that it has to have."""
        digests = [section.hasher.digest() for section in self._sections]
        if self._guesses:
            return combined(digests) == self._wanted or self._is_guessed(path)
        return bool(digests[0].hex() == self._wanted.removeprefix(SHA256))

    def _is_guessed(self, path: Path) -> bool:
        """Whether it has the digest if it was sent in parts of another size than the likeliest."""
        others = self._guesses[1:]
        return any(e_tag(path, part_bytes=size, always_in_parts=True) == self._wanted for size in others)
