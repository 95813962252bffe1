"""When a loss has left the path it was on: a rule that noise and small steps do not trip."""

from collections.abc import Sequence
from statistics import median

REMEMBERED = 64  # losses of whole steps
LEAST = 16  # before so many are known, nothing is a spike: losses fall fast at first
DEVIATIONS = 10.0
RISE = 2.0  # nats: a token's likelihood falls to an eighth
_NORMAL = 1.4826  # times the median absolute deviation, the standard deviation of normal noise


def is_spike(loss: float, recent: Sequence[float]) -> bool:
    """Whether `loss` lies above the median of the losses before it by 10 of their deviations, and by 2 nats.

    Deviations are counted from the median too, so that an odd step among the `recent` ones does not hide the next.
    """
    if len(recent) < LEAST:
        return False
    typical = median(recent)
    deviation = _NORMAL * median(abs(other - typical) for other in recent)
    return loss > typical + max(RISE, DEVIATIONS * deviation)


def remembered(recent: Sequence[float], loss: float) -> list[float]:
    """The losses to judge the next step by."""
    return [*recent, loss][-REMEMBERED:]
