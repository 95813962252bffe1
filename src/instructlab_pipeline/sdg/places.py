"""Where records lie, by key: a hash table in two flat arrays, a tenth of what a dictionary takes.

Keys are known by their last 8 bytes. Whoever reads a record compares the whole key, so that a mix-up, once in millions
of journals, costs a call and no more.
"""

from array import array

_SMALLEST = 1 << 12
_FULLEST = 0.8  # then the table doubles; a million and a half keys fit into 32 MB


class Places:
    """`get` and `put` take the digest of a call; a place is any number from 0 to 2**63."""

    def __init__(self) -> None:
        self._count = 0
        self._clear(_SMALLEST)

    def __len__(self) -> int:
        return self._count

    def get(self, key: bytes) -> int | None:
        slot = self._slot(_tail(key))
        return self._places[slot] - 1 if self._places[slot] else None

    def put(self, key: bytes, place: int) -> None:
        """The place that is put last counts."""
        self._put(_tail(key), place + 1)
        if self._count > _FULLEST * len(self._tails):
            self._grow()

    def _put(self, tail: int, stored: int) -> None:
        slot = self._slot(tail)
        self._count += not self._places[slot]
        self._tails[slot], self._places[slot] = tail, stored

    def _slot(self, tail: int) -> int:
        """The slot that holds this tail, or the empty one where it belongs."""
        mask = len(self._tails) - 1
        slot = tail & mask
        while self._places[slot] and self._tails[slot] != tail:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        tails, places = self._tails, self._places
        self._count = 0
        self._clear(2 * len(tails))
        for tail, stored in zip(tails, places, strict=True):
            if stored:
                self._put(tail, stored)

    def _clear(self, size: int) -> None:
        self._tails = array("Q", bytes(8 * size))
        self._places = array("Q", bytes(8 * size))  # 0: empty; else the place + 1


def _tail(key: bytes) -> int:
    return int.from_bytes(key[-8:])
