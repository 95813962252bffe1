from threading import Barrier, Event, Lock

import pytest

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.model.crew import Crew
from instructlab_pipeline.model.pace import Pace

PATIENCE_S = 30


class Jobs:
    """So many times the same."""

    def __init__(self, job, number):
        self.job, self.left, self.done = job, number, 0
        self.given_up, self.lock = Event(), Lock()

    def next_job(self, _worker):
        with self.lock:
            self.left -= 1
            return self.job if self.left >= 0 else None

    def give_up(self):
        self.given_up.set()


def test_every_job_is_done_once():
    seen = []
    Crew(Jobs(lambda: seen.append(1), 100), Pace(fewest=2, most=4)).perform()
    assert len(seen) == 100


def test_more_workers_come_while_the_others_are_at_work():
    meeting = Barrier(4)
    Crew(Jobs(lambda: meeting.wait(PATIENCE_S), 4), Pace(fewest=2, most=4)).perform()
    assert not meeting.broken


def test_the_first_error_ends_the_others_and_what_is_left():
    first = iter([True])

    def job():
        if next(first, False):
            raise ServiceError("the server went away", remedy="wait")
        assert jobs.given_up.wait(PATIENCE_S)

    jobs = Jobs(job, 100)
    with pytest.raises(ServiceError, match="went away"):
        Crew(jobs, Pace(fewest=2, most=2)).perform()
    assert jobs.left >= 90
