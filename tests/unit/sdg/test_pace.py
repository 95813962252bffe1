from instructlab_pipeline.sdg.pace import Pace


def push_back(pace, now, quiet_s=0.0):
    pace.pushed_back(sent_at=now - 0.1, now=now, quiet_s=quiet_s)


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
    assert 50 < pace.limit < 60


def test_an_outage_says_nothing_about_how_much_the_endpoint_can_take():
    pace = Pace(most=64)
    for now in range(1, 30):
        push_back(pace, float(now))
    assert pace.limit > 50


def test_repeated_push_backs_between_successes_go_down_to_one():
    pace = Pace(most=64)
    for now in range(1, 100):
        pace.succeeded()
        push_back(pace, float(now))
    assert 1 <= pace.limit < 3


def test_success_brings_the_limit_back_but_slowly_near_the_last_push_back():
    pace = Pace(most=64)
    push_back(pace, 1.0)
    rounds = 0
    while pace.limit < 62.5:
        for _ in range(int(pace.limit)):
            pace.succeeded()
        rounds += 1
    assert rounds < 12
    before = pace.limit
    for _ in range(10):
        pace.succeeded()
    near = pace.limit - before
    assert 0 < near < 10 / 64


def test_retry_after_keeps_quiet():
    pace = Pace(most=4)
    push_back(pace, 1.0, quiet_s=2.0)
    assert not pace.has_room(2.9)
    assert pace.has_room(3.0)
