"""Samples that are held out, and what their loss says: whether a phase overfits, and which of its epochs was best."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def split(num_samples: int, *, share: float, seed: int) -> tuple[Indices, Indices]:
    """The samples to learn and the ones held out, both in order: a pure function of the seed.

    A share above 0 holds out at least one sample where there are two, and always leaves one to learn.
    """
    wanted = max(1, round(share * num_samples)) if share > 0 else 0
    held_out = min(wanted, num_samples - 1)
    order = np.random.default_rng([abs(seed), int(seed < 0), num_samples, held_out]).permutation(num_samples)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def best_epoch(losses: Sequence[float], *, kept: Iterable[int]) -> int:
    """Of the epochs that were kept, and the last one, that with the lowest loss; the later one where two are equal.

    losses: of the held-out samples after each epoch; the first epoch is 1.
    """
    return min({*kept, len(losses)}, key=lambda epoch: (losses[epoch - 1], -epoch))


def overfitting(losses: Sequence[float]) -> str | None:
    """In a sentence, whether the last epochs did worse than an earlier one."""
    if not losses:
        return None
    best = best_epoch(losses, kept=range(1, len(losses) + 1))
    if best == len(losses):
        return None
    return (
        f"held-out samples did best after epoch {best} (loss {losses[best - 1]:.4g}) and worse since "
        f"({losses[-1]:.4g} after epoch {len(losses)}): it overfits"
    )
