"""How long replies are, learned from those that came: what a row has before it decides which goes first."""

import math
from dataclasses import dataclass, field

from instructlab_pipeline.sdg.flows import Flow

MEMORY = 200  # replies that a mean is taken over, roughly
GRAIN = 1.5  # lengths within this factor are equal, so that rows on the same chunk stay next to each other

Kind = tuple[str, int]  # a flow's name and the number of a step


@dataclass(kw_only=True)
class Lengths:
    """Mean tokens of the replies to each step. It depends on time, so it may decide on order and on nothing else."""

    _means: dict[Kind, float] = field(default_factory=dict)
    _counts: dict[Kind, int] = field(default_factory=dict)

    def learn(self, flow: Flow, step: int, tokens: int) -> None:
        kind = (flow.name, step)
        count = self._counts[kind] = min(self._counts.get(kind, 0) + 1, MEMORY)
        mean = self._means.get(kind, 0.0)
        self._means[kind] = mean + (tokens - mean) / count

    def remaining(self, flow: Flow, step: int) -> int:
        """The logarithm of the tokens that are still to come for a row before `step`; limits stand in at first."""
        tokens = 1.0
        for index in range(step, len(flow.steps)):
            tokens += self._means.get((flow.name, index), flow.steps[index].form.sampling["max_tokens"])
        return round(math.log(tokens, GRAIN))
