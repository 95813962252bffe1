"""What a sample can say about a model: intervals, paired comparisons, and how small an effect it can show.

Pure functions. Every interval is for 95%; every bootstrap is seeded, so that the same grades give the same numbers.
"""

import itertools
import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from instructlab_pipeline.evaluation.metrics import perplexity

if TYPE_CHECKING:
    import numpy as np

Z_95 = 1.959963984540054  # two-sided 95% quantile of the normal distribution
Z_POWER_80 = 0.8416212335729143  # one-sided 80% quantile
TAIL = 0.025  # of a 95% interval, at each end
RESAMPLES = 10_000
BLOCK_VALUES = 4_000_000  # values resampled at once, 32 MB
SEED = 20_412  # of every bootstrap


@dataclass(frozen=True)
class Interval:
    low: float
    high: float

    def straddles(self, threshold: float) -> bool:
        """Whether the true value may lie on either side: at least the threshold, or below it."""
        return self.low < threshold <= self.high


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Tuned minus base on the same items, with its interval, and the chance of one this large if there were none."""

    value: float
    interval: Interval
    p_value: float


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def wilson(total: float, n: int) -> Interval:
    """Wilson's score interval for a share: `total` of `n`, which also holds near 0 and 1 and for few items.

    For values anywhere in 0..1 with sum `total` it is too wide rather than too narrow, as a share varies most.
    """
    share = total / n
    centre = share + Z_95**2 / (2 * n)
    margin = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    scale = 1 + Z_95**2 / n
    low = 0.0 if total <= 0 else max(0.0, (centre - margin) / scale)
    high = 1.0 if total >= n else min(1.0, (centre + margin) / scale)
    return Interval(low, high)


def bootstrap_mean(values: Sequence[float]) -> Interval:
    """Bayesian bootstrap (Rubin 1981) for the mean of values in 0..1, with one more value at the end that is sought.

    A few grades that are nearly all 1 resample to nearly all 1, and their percentiles promise too much. One grade of 0
    more for the low end, and of 1 for the high end, keeps the promise for few grades too (Gaffke 2005; Learned-Miller
    and Thomas 2019); for shares this is Clopper and Pearson's interval.
    """
    if min(values) == max(values):
        known = TAIL ** (1 / len(values))  # the least weight that equal values have together
        return Interval(values[0] * known, 1 - (1 - values[0]) * known)
    return _percentiles(*_weighted_means(values))


def mean_interval(values: Sequence[float], *, is_share: bool) -> Interval:
    return wilson(math.fsum(values), len(values)) if is_share else bootstrap_mean(values)


def mcnemar(only_base: int, only_tuned: int) -> float:
    """Exact two-sided p-value: `only_base` items only the base got right, `only_tuned` only the tuned model.

    Under no difference each of these items is a fair coin.
    """
    n = only_base + only_tuned
    tail = sum(math.comb(n, k) for k in range(min(only_base, only_tuned) + 1))
    return min(1.0, 2 * tail / (1 << n))


def sign_flip(gains: Sequence[float]) -> float:
    """Two-sided p-value of the paired gains: were there no effect, each could as well have the other sign.

    Exact up to 13 gains other than 0, else by RESAMPLES seeded draws. For gains of -1, 0 and 1 it is McNemar's test.
    """
    import numpy as np

    sizes = np.abs([gain for gain in gains if gain])
    if len(sizes) == 0:
        return 1.0
    reached = abs(math.fsum(gains)) - 1e-9
    if 2 ** len(sizes) <= RESAMPLES:
        signs = np.array(list(itertools.product((-1, 1), repeat=len(sizes))), dtype=np.float64)
        return float((np.abs(signs @ sizes) >= reached).mean())
    blocks = _draws(2, columns=len(sizes))
    as_extreme = sum(int((np.abs((2.0 * signs - 1) @ sizes) >= reached).sum()) for signs in blocks)
    return (as_extreme + 1) / (RESAMPLES + 1)


def paired_difference(base: Sequence[float], tuned: Sequence[float], *, is_share: bool) -> Difference:
    """Tuned minus base, item by item: a bootstrap interval; McNemar's p-value for shares, the sign flip's else."""
    gains = [after - before for before, after in zip(base, tuned, strict=True)]
    if is_share:
        p_value = mcnemar(sum(gain < 0 for gain in gains), sum(gain > 0 for gain in gains))
    else:
        p_value = sign_flip(gains)
    return Difference(value=mean(gains), interval=_gain_interval(gains), p_value=p_value)


def perplexity_interval(nats_per_token: Sequence[float], tokens: Sequence[float]) -> Interval:
    """Bootstrap over items, each with all its tokens."""
    resampled = _resampled_perplexities(nats_per_token, tokens)
    return _percentiles(resampled, resampled)


def perplexity_difference(base: Sequence[float], tuned: Sequence[float], tokens: Sequence[float]) -> Difference:
    """Tuned minus base perplexity over the same items, both resampled together; the test is on the items' nats."""
    resampled = [_resampled_perplexities(nats, tokens) for nats in (base, tuned)]
    moved = [after - before for before, after in zip(*resampled, strict=True)]
    gains = [(after - before) * count for before, after, count in zip(base, tuned, tokens, strict=True)]
    before, after = (perplexity(nats, tokens) for nats in (base, tuned))
    return Difference(value=after - before, interval=_percentiles(moved, moved), p_value=sign_flip(gains))


def smallest_detectable_effect(n: int, *, deviation: float) -> float:
    """The smallest true difference that `n` items find significant (5%, two-sided) in 4 of 5 samples.

    `deviation` is the standard deviation of one item's value, or of one pair's gain.
    """
    return min(1.0, (Z_95 + Z_POWER_80) * deviation / math.sqrt(n))


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def samples_for_clear_share(share: float, threshold: float, *, limit: int = 1_000_000) -> int | None:
    """How many items make a share of `share` clear of `threshold`, by Wilson's interval; None beyond `limit`."""
    low, high = 1, limit
    if wilson(share * limit, limit).straddles(threshold):
        return None
    while low < high:
        middle = (low + high) // 2
        if wilson(share * middle, middle).straddles(threshold):
            low = middle + 1
        else:
            high = middle
    return low


def samples_for_clear_pass(threshold: float, *, is_share: bool = True) -> int | None:
    """The fewest items on which a model without a single fault passes clearly; None where no number of them would do.

    From the low ends at a mean of 1: Wilson's n / (n + z^2) >= threshold, or TAIL^(1/n) >= threshold.
    """
    if threshold >= 1:
        return None
    if threshold <= 0:
        return 1
    needed = Z_95**2 * threshold / (1 - threshold) if is_share else math.log(TAIL) / math.log(threshold)
    return max(1, math.ceil(needed - 1e-9))


def share_for_clear_pass(n: int, threshold: float, *, is_share: bool = True) -> float | None:
    """The smallest share of right ones among `n` that passes clearly; None where not even all of them do.

    `is_share`: by Wilson's interval; else by that of a mean, which of grades of 0 and 1 is Clopper and Pearson's.
    """
    if threshold <= 0:
        return 0.0
    if is_share:
        right = bisect_left(range(n + 1), threshold, key=lambda right: wilson(right, n).low)
    else:
        right = _unlikely_from(n, threshold)
    return right / n if right <= n else None


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values adjusted for asking them all at once (Holm 1979): the chance of any false alarm stays below 5%."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: (item[1], item[0]))):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_value))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def _unlikely_from(n: int, share: float) -> int:
    """The smallest number that at most TAIL of all samples of `n` reach; n + 1 where there is none."""
    if share >= 1:
        return n + 1
    chance = 0.0
    for right in range(n, -1, -1):
        ways = math.lgamma(n + 1) - math.lgamma(right + 1) - math.lgamma(n - right + 1)
        chance += math.exp(ways + right * math.log(share) + (n - right) * math.log1p(-share))
        if chance > TAIL + 1e-12:
            return right + 1
    return 0


def _gain_interval(gains: Sequence[float]) -> Interval:
    """Percentile bootstrap; where all gains are equal, and it would see no spread, they count as values of -1..1."""
    if min(gains) < max(gains):
        resampled = _resampled_means(gains)
        return _percentiles(resampled, resampled)
    halved = bootstrap_mean([(1 + gain) / 2 for gain in gains])
    return Interval(2 * halved.low - 1, 2 * halved.high - 1)


def _weighted_means(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """RESAMPLES means of the values with random weights, and a 0, or a 1, among them."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(SEED)
    low: list[float] = []
    high: list[float] = []
    for rows in _blocks(len(array) + 1):
        weights = generator.standard_exponential((rows, len(array) + 1))
        weights /= weights.sum(axis=1, keepdims=True)
        means = weights[:, :-1] @ array
        low += means.tolist()
        high += (means + weights[:, -1]).tolist()
    return low, high


def _resampled_means(values: Sequence[float]) -> list[float]:
    """Means of RESAMPLES samples of the same size, drawn with replacement."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    return [mean for rows in _draws(len(array), columns=len(array)) for mean in array[rows].mean(axis=1).tolist()]


def _resampled_perplexities(nats_per_token: Sequence[float], tokens: Sequence[float]) -> list[float]:
    import numpy as np

    counts = np.asarray(tokens, dtype=np.float64)
    nats = np.asarray(nats_per_token, dtype=np.float64) * counts
    return [
        value
        for rows in _draws(len(counts), columns=len(counts))
        for value in np.exp(nats[rows].sum(axis=1) / counts[rows].sum(axis=1)).tolist()
    ]


def _draws(choices: int, *, columns: int) -> "Iterator[np.ndarray[tuple[int, int], np.dtype[np.int64]]]":
    """RESAMPLES seeded rows of `columns` integers below `choices`, a block at a time."""
    import numpy as np

    generator = np.random.default_rng(SEED)
    for rows in _blocks(columns):
        yield generator.integers(choices, size=(rows, columns))


def _blocks(columns: int) -> Iterator[int]:
    """RESAMPLES rows in blocks that fit into memory."""
    most = max(1, BLOCK_VALUES // columns)
    for start in range(0, RESAMPLES, most):
        yield min(most, RESAMPLES - start)


def _percentiles(low: Sequence[float], high: Sequence[float]) -> Interval:
    import numpy as np

    return Interval(float(np.quantile(low, TAIL)), float(np.quantile(high, 1 - TAIL)))
