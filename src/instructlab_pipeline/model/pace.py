"""How many connections are worth their while, told from what they bring."""

GAIN = 1.2  # of the rate, below which twice as many are not worth it
STAYS = 20  # looks, after which more are tried again: lines change


class Pace:
    """Twice as many as long as that brings more; else as many as before, for a while."""

    def __init__(self, *, fewest: int, most: int) -> None:
        self.number, self.most = fewest, most
        self._rate_before = 0.0  # with half as many
        self._fewer = 0  # how many there were before the trial, if one is on
        self._looks_left = 0  # until the next trial

    def hear(self, rate: float) -> None:
        """`rate`, in bytes a second, is what `number` connections brought since the last time."""
        if self._fewer and rate <= GAIN * self._rate_before:
            self.number, self._fewer, self._looks_left = self._fewer, 0, STAYS
        elif self._looks_left:
            self._looks_left -= 1
        else:
            self._fewer, self._rate_before = self.number, rate
            self.number = min(2 * self.number, self.most)
