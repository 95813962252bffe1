"""Which texts are the same text, among a leaf's or among all of a dataset's.

What makes two texts alike is in `likeness.py`; why just that, in docs/decisions/0002-the-sdg-engine.md.

Near texts are sought by MinHash: texts that agree in one band of their signatures are candidates, and each pair of
candidates is then compared in full. So none is found that is not near, and of those that are, one in four million is
missed. Numbers and names are part of each band's hash: texts that differ in them never meet.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import combinations
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any

from instructlab_pipeline.likeness import Print, is_near, print_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

BANDS, ROWS = 20, 6  # the chance to miss a pair at 0.9: (1 - 0.9 ** ROWS) ** BANDS
_SEED = 1
_AT_ONCE = 1024  # texts whose signatures are made together
_BYTES_OF_TEXT = 4 * BANDS
_READ_AT_ONCE = _BYTES_OF_TEXT << 14
_IN_MEMORY = 8 << 20  # bytes of bands; more go to disk
_NONE = -1


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Texts by their number. `first`: the first that is equal to each. `near`: between firsts, those that are near."""

    first: Sequence[int]
    near: Mapping[int, Sequence[int]]


@dataclass(kw_only=True)
class Kept:
    """Texts that were chosen so far; `twin_of` finds one among them that a text is equal or near to."""

    alike: Alike
    _by_first: "array[int]" = field(init=False)  # the text that was kept of those that are equal to each first

    def __post_init__(self) -> None:
        self._by_first = array("q", [_NONE]) * len(self.alike.first)

    def add(self, number: int) -> None:
        first = self.alike.first[number]
        if self._by_first[first] == _NONE:
            self._by_first[first] = number

    def twin_of(self, number: int) -> int | None:
        first = self.alike.first[number]
        kinds = (first, *self.alike.near.get(first, ()))
        return next((self._by_first[kind] for kind in kinds if self._by_first[kind] != _NONE), None)


class Prints:
    """Fingerprints of any number of texts: 8 bytes each in memory, and 80 on disk where they are many. For one use."""

    def __init__(self) -> None:
        self._exact = array("Q")
        self._bands = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - `alike` closes it
        self._waiting: list[Print] = []

    def __len__(self) -> int:
        return len(self._exact)

    def add(self, text: str) -> None:
        found = print_of(text)
        self._exact.append(int.from_bytes(_digest(found.bare)))
        self._waiting.append(found)
        if len(self._waiting) == _AT_ONCE:
            self._sign()

    def alike(self, text_of: Callable[[int], str]) -> Alike:
        """Which are alike. `text_of` gives a text again by its number, counted in the order of `add`."""
        import numpy as np

        self._sign()
        _, first, kind = np.unique(np.frombuffer(self._exact, np.uint64), return_index=True, return_inverse=True)
        near: dict[int, list[int]] = defaultdict(list)
        with self._bands:
            candidates = _candidates(np.sort(first), map(self._band, range(BANDS)))
        for one, other in sorted(candidates):
            if is_near(print_of(text_of(one)), print_of(text_of(other))):
                near[one].append(other)
                near[other].append(one)
        return Alike(first=array("I", first[kind].astype(np.uint32).tobytes()), near=near)

    def _band(self, number: int) -> "NDArray[Any]":
        """One band's hashes of all texts."""
        import numpy as np

        self._bands.seek(0)
        pieces = iter(lambda: self._bands.read(_READ_AT_ONCE), b"")
        columns = [np.frombuffer(piece, np.uint32).reshape(-1, BANDS)[:, number].copy() for piece in pieces]
        return np.concatenate(columns)

    def _sign(self) -> None:
        """Band hashes of the texts that wait for them."""
        import numpy as np
        from rensa import RMinHash

        if not self._waiting:
            return
        shingles = [sorted(found.shingles) for found in self._waiting]
        signatures = np.array(RMinHash.digests_from_token_sets(shingles, BANDS * ROWS, _SEED), np.uint64)
        guards = [int.from_bytes(_digest("\0".join(sorted(found.guarded)))) for found in self._waiting]
        mixed = signatures.reshape(-1, BANDS, ROWS) @ _multipliers() + np.array(guards, np.uint64)[:, None]
        self._bands.write((mixed >> np.uint64(32)).astype(np.uint32).tobytes())
        self._waiting.clear()


def alike(texts: Sequence[str]) -> Alike:
    prints = Prints()
    for text in texts:
        prints.add(text)
    return prints.alike(texts.__getitem__)


def _candidates(numbers: "NDArray[Any]", bands: Iterable["NDArray[Any]"]) -> set[tuple[int, int]]:
    """Pairs of texts, the smaller number first, that agree in a band."""
    import numpy as np

    pairs: set[tuple[int, int]] = set()
    if not len(numbers):
        return pairs
    for band in bands:
        column = band[numbers]
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        is_new = ordered[1:] != ordered[:-1]
        if is_new.all():  # as in most bands of a leaf
            continue
        edges = np.flatnonzero(np.concatenate([[True], is_new, [True]]))
        shared = np.diff(edges) > 1
        for start, end in zip(edges[:-1][shared].tolist(), edges[1:][shared].tolist(), strict=True):
            pairs.update(combinations(numbers[order[start:end]].tolist(), 2))
    return pairs


@lru_cache(maxsize=1)
def _multipliers() -> "NDArray[Any]":
    """Odd numbers of 64 bits, so that a band's rows and its place all count in its hash."""
    import numpy as np

    draws = (blake2b(bytes([row]), digest_size=8).digest() for row in range(ROWS))
    return np.array([int.from_bytes(draw) | 1 for draw in draws], np.uint64)


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()
