import random

from instructlab_pipeline.sdg.pace import Pace


def push_back(pace, now, quiet_s=0.0):
    pace.pushed_back(sent_at=now - 0.1, now=now, quiet_s=quiet_s)


def served(room, *, most, calls, random_share=0.0):
    """The pace after `calls` calls at an endpoint with `room`, which also turns a share of them away for no reason."""
    pace, chance = Pace(most=most), random.Random(1)
    for number in range(calls):
        sent_at = number - pace.limit
        if int(pace.limit) > room * chance.uniform(1, most / room) or chance.random() < random_share:
            pace.pushed_back(sent_at=sent_at, now=float(number), quiet_s=0)
        else:
            pace.succeeded()
    return pace


def test_all_that_is_allowed_may_be_in_flight_from_the_start():
    pace = Pace(most=64)
    pace.in_flight = 63
    assert pace.has_room(0.0)
    pace.in_flight = 64
    assert not pace.has_room(0.0)


def test_calls_of_one_burst_push_back_once():
    pace = Pace(most=64)
    for now in (1.0, 1.01, 1.02):
        pace.pushed_back(sent_at=0.9, now=now, quiet_s=0)
    assert 60 < pace.limit < 64


def test_an_outage_says_nothing_about_how_much_the_endpoint_can_take():
    pace = Pace(most=64)
    for now in range(1, 30):
        push_back(pace, float(now))
    assert pace.limit > 60


def test_a_few_calls_turned_away_for_no_reason_change_little():
    assert served(1000, most=64, calls=5000, random_share=0.02).limit > 50


def test_an_endpoint_with_less_room_is_given_less():
    assert served(4, most=64, calls=5000).limit < 20


def test_success_brings_the_limit_back_by_one_a_round():
    pace = Pace(most=64)
    pace.limit = 32.0
    for _ in range(32):
        pace.succeeded()
    assert 32.9 < pace.limit < 33


def test_retry_after_keeps_everybody_quiet_only_when_most_calls_are_pushed_back():
    pace = Pace(most=4)
    push_back(pace, 1.0, quiet_s=2.0)
    assert pace.has_room(1.1)
    for _ in range(12):
        push_back(pace, 1.2, quiet_s=2.0)
    assert not pace.has_room(3.1)
    assert pace.has_room(3.2)
