"""Beginnings of prompts that were read before and need not be read again, as vLLM keeps them.

A prompt is cut into blocks of 16 tokens, each known by itself and all before it (a chain of hashes). What a new prompt
shares with any other from its first block on is not read again, except for its last token, which the reply starts from.
Where the memory for blocks is full, the one goes that was of use longest ago.
"""

from collections import OrderedDict
from collections.abc import Sequence

BLOCK_TOKENS = 16
CHARACTERS_PER_TOKEN = 4
_BLOCK_CHARACTERS = BLOCK_TOKENS * CHARACTERS_PER_TOKEN


def blocks_of(prompt: str) -> list[int]:
    """The full blocks before the last token, in order."""
    link, blocks = 0, []
    for end in range(_BLOCK_CHARACTERS, len(prompt) - CHARACTERS_PER_TOKEN + 1, _BLOCK_CHARACTERS):
        link = hash((link, prompt[end - _BLOCK_CHARACTERS : end]))
        blocks.append(link)
    return blocks


class PrefixCache:
    """`blocks`: how many the memory holds; 0: nothing is remembered."""

    def __init__(self, *, blocks: int) -> None:
        self._room = blocks
        self._known: OrderedDict[int, None] = OrderedDict()  # last used last

    def known_tokens(self, blocks: Sequence[int]) -> int:
        """How many tokens of a prompt with these blocks need not be read."""
        known = 0
        for block in blocks:
            if block not in self._known:
                break
            known += BLOCK_TOKENS
        return known

    def remember(self, blocks: Sequence[int]) -> None:
        """They have been read, or used: the first ones are what others are likeliest to share, and go last."""
        for block in reversed(blocks):
            self._known[block] = None
            self._known.move_to_end(block)
        while len(self._known) > self._room:
            self._known.popitem(last=False)
