"""Blocks of prompts that were read before and need not be read again."""

from collections import OrderedDict

BLOCK_CHARACTERS = 256


class PrefixCache:
    """The least recently used block makes room for a new one."""

    def __init__(self, *, blocks: int) -> None:
        self._blocks = blocks
        self._known: OrderedDict[int, None] = OrderedDict()

    def unread_share(self, text: str) -> float:
        """The share of `text` behind its longest known beginning. From now on all of it is known."""
        if not self._blocks:
            return 1.0
        known, chain = 0, 0
        still_known = True
        for start in range(0, len(text) - BLOCK_CHARACTERS + 1, BLOCK_CHARACTERS):
            chain = hash((chain, text[start : start + BLOCK_CHARACTERS]))
            still_known = still_known and chain in self._known
            known += BLOCK_CHARACTERS * still_known
            self._known[chain] = None
            self._known.move_to_end(chain)
        while len(self._known) > self._blocks:
            self._known.popitem(last=False)
        return 1.0 - known / max(1, len(text))
