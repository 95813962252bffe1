"""How fast the simulated model is."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A server that makes one token for each decoding sequence in a step, and `slots` sequences at most.

    A step takes `step_ms`, and `step_slope_ms` more for each further sequence. While prompts wait to be read, each step
    also reads `chunk` of their tokens, `prefill_us` each, so that reading slows everybody's writing (chunked prefill).
    What a prompt shares with one that was read before is not read again, as far as `cache_blocks` of 16 tokens hold
    it: vLLM does so unless it is told otherwise. 16,384 blocks are 32 GiB for Mixtral 8x7B (128 KiB a token).
    `speed`: how many times faster than that everything goes.
    """

    slots: int = 64
    step_ms: float = 25.0
    step_slope_ms: float = 0.15
    prefill_us: float = 50.0
    chunk: int = 2048
    cache_blocks: int = 16_384
    speed: float = 1.0

    def step_s(self, decoding: int) -> float:
        return (self.step_ms + self.step_slope_ms * max(0, decoding - 1)) / 1000 / self.speed

    @property
    def prefill_s(self) -> float:
        """Seconds for one token of a prompt."""
        return self.prefill_us / 1e6 / self.speed

    def ideal_s(self, *, tokens_made: float, tokens_read: float) -> float:
        """The least time for this work: every slot always taken, nobody ever waiting."""
        return tokens_made * self.step_s(self.slots) / self.slots + tokens_read * self.prefill_s
