"""How many connections are worth their while, told from what they bring."""

GAIN = 1.2  # of the rate, up to which more connections are not worth it
PLENTY = 800e6  # bytes a second; about what two cores can take in and hash
STAYS = 40  # looks, after which more are tried again: lines change


class Pace:
    """As many as would bring plenty, at least twice as many, as long as that brings more; else as many as before,
    for a while.
    """

    def __init__(self, *, fewest: int, most: int) -> None:
        self.number, self.most = fewest, most
        self._fewer, self._rate_of_fewer = 0, 0.0  # before the trial, if one is on
        self._deaf_looks = 0  # until new connections run at full speed, or until the next trial

    def hear(self, rate: float) -> None:
        """`rate`, in bytes a second, is what `number` connections brought since the last look."""
        if self._deaf_looks:
            self._deaf_looks -= 1
        elif self._fewer and rate <= GAIN * self._rate_of_fewer:
            self.number, self._fewer, self._deaf_looks = self._fewer, 0, STAYS
        elif self.number < self.most:
            self._fewer, self._rate_of_fewer, self._deaf_looks = self.number, rate, 1
            plenty = int(self.number * PLENTY / rate) if rate >= 1 else 0
            self.number = min(max(2 * self.number, plenty), self.most)
        else:
            self._fewer = 0
