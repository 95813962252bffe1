import random

from instructlab_pipeline.sdg.pace import Pace


def send(pace, now, count=1):
    return [pace.sent(now) for _ in range(count)]


class Served:
    """A pace at an endpoint with `room` for calls of one second, which turns others away for one second."""

    def __init__(self, *, room, most, random_share=0.0):
        self.pace = Pace(most=most)
        self.room = room
        self._random_share = random_share
        self._chance = random.Random(1)
        self._busy, self._waits = [], []
        self.turned_away = self.done = 0
        self._now = 0.0

    def live(self, seconds):
        for _ in range(int(seconds * 20)):
            self._now += 0.05
            while self._busy and self._busy[0][0] <= self._now:
                self.pace.succeeded(self._busy.pop(0)[1], self._now)
                self.done += 1
            while self._waits and self._waits[0] <= self._now:
                self._waits.pop(0)
                self.pace.waited()
            while self.pace.has_room():
                self._send()

    def _send(self):
        number = self.pace.sent(self._now)
        if len(self._busy) >= self.room or self._chance.random() < self._random_share:
            self.turned_away += 1
            self.pace.pushed_back(number, self._now + 0.001)
            self._waits.append(self._now + 1.0)
        else:
            self._busy.append((self._now + self._chance.uniform(0.7, 1.3), number))
            self._busy.sort()


def test_all_that_is_allowed_may_be_in_flight_from_the_start():
    pace = Pace(most=64)
    send(pace, 0.0, 63)
    assert pace.has_room()
    send(pace, 0.0)
    assert not pace.has_room()


def test_a_call_that_was_pushed_back_keeps_its_place_until_it_has_waited():
    pace = Pace(most=2)
    first, _ = send(pace, 0.0, 2)
    pace.pushed_back(first, 0.1)
    assert pace.taken == 2
    pace.waited()
    assert pace.taken == 1


def test_calls_of_one_burst_push_back_once():
    pace = Pace(most=64)
    for number in send(pace, 0.0, 64)[:3]:
        pace.pushed_back(number, 1.0)
    assert 63 < pace.limit < 64


def test_an_outage_leaves_the_limit_alone_and_is_asked_once_for_each_place_and_wait():
    served = Served(room=64, most=64)
    served.live(10)
    served.room = 0
    served.live(20)
    assert served.turned_away <= 64 * 21
    served.room = 64
    served.live(2)
    assert served.pace.limit > 60


def test_a_few_calls_turned_away_for_no_reason_change_little():
    served = Served(room=1000, most=64, random_share=0.02)
    served.live(60)
    assert served.pace.limit > 55


def test_an_endpoint_with_less_room_is_given_less_and_kept_busy():
    served = Served(room=20, most=64)
    served.live(60)
    assert 20 <= served.pace.limit < 32
    assert served.done > 0.9 * 20 * 60


def test_success_brings_the_limit_back_by_one_a_round():
    pace = Pace(most=64)
    pace.limit = 32.0
    for number in send(pace, 0.0, 32):
        pace.succeeded(number, 1.0)
    assert 32.9 < pace.limit < 33
