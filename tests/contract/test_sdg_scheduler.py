"""The scheduler against a real server: order, twins, retries, and an endpoint that goes away."""

import asyncio
import time
from dataclasses import replace
from email.utils import formatdate

import pytest

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.sdg.calls import Call, Form
from instructlab_pipeline.sdg.endpoint import open_endpoint
from instructlab_pipeline.sdg.journal import open_journal
from instructlab_pipeline.sdg.pace import Pace
from instructlab_pipeline.sdg.scheduler import Lane, Patience, Scheduler
from servers.teacher_server import MODEL, TeacherServer, tags

HASTY = Patience(faults=4, first_delay_s=0.02, longest_delay_s=0.1, silence_s=60.0)


def call(row):
    message = {"role": "user", "content": f"<instruction>{row}</instruction>"}
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    sampling = {"temperature": 0.0, "max_tokens": 9}
    form = Form(sampling=sampling, schema_name="answer", schema=schema)
    return Call(model=MODEL, messages=[message], form=form, random_seed=1)


def run(tmp_path, url, rows, *, most=4, settle=None, patience=HASTY):
    """Rows are (priority, instruction); returns each instruction's end in the order of the ends."""
    ends = []

    async def live():
        journal = open_journal(tmp_path / "journal")
        async with open_endpoint("teacher", url) as endpoint:
            lane = Lane(endpoint=endpoint, pace=Pace(most=most))
            scheduler = Scheduler(
                lanes={"teacher": lane},
                journal=journal,
                prepare=call,
                settle=settle or (lambda row, _call, settled: ends.append((row, settled))),
                patience=patience,
            )
            for priority, row in rows:
                scheduler.add(row, role="teacher", priority=(priority,))
            try:
                await scheduler.run()
            finally:
                journal.close()

    asyncio.run(live())
    return ends


def asked(teacher):
    return [tags(request)["instruction"] for request in teacher.requests]


def test_lower_priorities_go_first_and_equals_in_their_order(tmp_path):
    with TeacherServer() as teacher:
        run(tmp_path, teacher.url, [(2, "c"), (1, "a"), (2, "d"), (1, "b")], most=1)
        assert asked(teacher) == ["a", "b", "c", "d"]


def test_the_same_call_is_paid_once_however_many_rows_want_it(tmp_path):
    with TeacherServer(latency_s=(0.01, 0.02), faults={"500": 0.3}) as teacher:
        ends = run(tmp_path, teacher.url, [(0, row) for row in "abcabcabc"], most=9)
        assert sum(teacher.answered.values()) == 3
    assert len(ends) == 9
    assert sum(not settled.reused for _, settled in ends) == 3
    assert len({settled.reply.text for _, settled in ends}) == 3


def test_retries_are_counted(tmp_path):
    with TeacherServer(faults={"500": 0.3, "429": 0.1}) as teacher:
        ends = run(tmp_path, teacher.url, [(0, f"row {number}") for number in range(30)])
        assert sum(settled.reply.retries for _, settled in ends) == len(teacher.requests) - 30 > 0


def test_a_single_place_is_free_again_when_its_call_has_waited(tmp_path):
    with TeacherServer(faults={"429": 0.2}) as teacher:
        ends = run(tmp_path, teacher.url, [(0, f"row {number}") for number in range(20)], most=1)
        assert len(teacher.requests) > 20
    assert len(ends) == 20


def test_a_call_that_always_fails_while_others_succeed_is_that_rows_loss(tmp_path):
    def poison(request):
        if tags(request)["instruction"] == "poison":
            raise RuntimeError("the server breaks on this one")
        return {"answer": "fine"}

    with TeacherServer(scripts={"answer": poison}, latency_s=(0.05, 0.05)) as teacher:
        ends = run(tmp_path, teacher.url, [(0, "poison"), *((1, f"row {number}") for number in range(40))], most=2)
        assert asked(teacher).count("poison") == HASTY.faults
    refused = [row for row, settled in ends if settled.reply.finish == "refused"]
    assert refused == ["poison"]


def test_an_endpoint_that_goes_away_stops_the_run_and_keeps_what_was_finished(tmp_path):
    def answer_twenty(request):
        teacher.down = teacher.down or sum(teacher.answered.values()) == 19
        return {"answer": "fine"}

    rows = [(0, f"row {number}") for number in range(60)]
    with TeacherServer(scripts={"answer": answer_twenty}, latency_s=(0.01, 0.02)) as teacher:
        with pytest.raises(ServiceError, match="is gone") as caught:
            run(tmp_path, teacher.url, rows)
        assert "every finished call is kept" in caught.value.remedy
        finished = sum(teacher.answered.values())
        assert 20 <= finished < 60
        teacher.down = False
        ends = run(tmp_path, teacher.url, rows)
        assert sum(settled.reused for _, settled in ends) == finished
        assert teacher.repeated() == 0


def test_an_endpoint_that_only_pushes_back_is_given_up_in_the_end(tmp_path):
    soon = replace(HASTY, silence_s=0.5)
    with TeacherServer(faults={"429": 1.0}) as teacher, pytest.raises(ServiceError, match="answered 429: slow down"):
        run(tmp_path, teacher.url, [(0, "a"), (0, "b")], patience=soon)


def test_an_endpoint_that_names_the_date_to_come_back_is_asked_again_then(tmp_path):
    server = TeacherServer()
    server.first_fault = "429"
    until = int(time.time()) + 2
    server.retry_after = formatdate(until, usegmt=True)
    with server as teacher:
        run(tmp_path, teacher.url, [(0, "a")])
        assert len(teacher.requests) == 2
        assert teacher.asked_at[1] >= until


def test_a_failure_while_settling_ends_the_run(tmp_path):
    def settle(row, _call, _settled):
        if row == "row 5":
            raise ServiceError("no more", remedy="none")

    with TeacherServer() as teacher, pytest.raises(ServiceError, match="no more"):
        run(tmp_path, teacher.url, [(0, f"row {number}") for number in range(50)], settle=settle)
