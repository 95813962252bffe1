"""When a loss has left the path it was on: a rule that noise, small steps and odd samples do not trip."""

from collections.abc import Sequence
from statistics import median

REMEMBERED = 64  # losses of whole steps
LEAST = 16  # before so many are known, nothing is a spike: losses fall fast at first
IN_A_ROW = 8  # one step of hard samples proves nothing, where a step has few samples
DEVIATIONS = 10.0
RISE = 2.0  # nats: a token's likelihood falls to an eighth
_NORMAL = 1.4826  # times the median absolute deviation, the standard deviation of normal noise


def is_spike(loss: float, recent: Sequence[float]) -> bool:
    """Whether the last eight losses, `loss` among them, all lie far above the median of those before.

    Far: by 10 deviations, and by 2 nats. Deviations are counted from the median too, so that an odd step among the
    earlier ones hides nothing.
    """
    before, latest = recent[: 1 - IN_A_ROW], [*recent[1 - IN_A_ROW :], loss]
    if len(before) < LEAST:
        return False
    typical = median(before)
    deviation = _NORMAL * median(abs(other - typical) for other in before)
    return min(latest) > typical + max(RISE, DEVIATIONS * deviation)


def remembered(recent: Sequence[float], loss: float) -> list[float]:
    """The losses to judge the next step by."""
    return [*recent, loss][-REMEMBERED:]
