import pytest

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.events import Events, read_events


def test_a_span_ends_with_its_time_and_result(tmp_path):
    heard = []
    events = Events(path=tmp_path / "events.jsonl", listeners=[heard.append])
    with events.span("sdg") as result:
        result["facts"] = {"samples": 3}
    start, end = read_events(tmp_path / "events.jsonl")
    assert (start["event"], end["event"], end["ok"], end["facts"]) == ("start", "end", True, {"samples": 3})
    assert heard == [start, end]


def test_a_failed_span_says_what_failed_and_lets_it_pass(tmp_path):
    events = Events(path=tmp_path / "events.jsonl")
    with pytest.raises(ValueError, match="no"), events.span("sdg"):
        raise ValueError("no")
    end = list(read_events(tmp_path / "events.jsonl"))[-1]
    assert (end["ok"], end["error"]) == (False, "ValueError: no")


@pytest.mark.parametrize(
    ("error", "words"),
    [(ServiceError("the teacher is away", remedy="wait"), "the teacher is away"), (KeyboardInterrupt(), "interrupted")],
)
def test_what_precedes_a_span_is_told_of_where_it_fails_in_the_users_words(error, words, tmp_path):
    events = Events(path=tmp_path / "events.jsonl")
    with events.watched("sdg"):
        pass
    with pytest.raises(type(error)), events.watched("sdg"):
        raise error
    (end,) = read_events(tmp_path / "events.jsonl")
    assert (end["event"], end["name"], end["ok"], end["error"]) == ("end", "sdg", False, words)


def test_every_step_of_progress_is_heard_and_few_are_written(tmp_path):
    heard = []
    events = Events(path=tmp_path / "events.jsonl", listeners=[heard.append])
    for done in range(1001):
        events.progress("sdg", done, 1000, unit="samples")
    written = list(read_events(tmp_path / "events.jsonl"))
    assert len(heard) == 1001
    assert 2 <= len(written) < 20
    assert written[-1]["done"] == 1000


def test_a_line_torn_by_a_crash_costs_that_line_alone(tmp_path):
    path = tmp_path / "events.jsonl"
    Events(path=path).point("before")
    with path.open("a") as file:
        file.write('{"event": "poi')
    Events(path=path).point("after")
    assert [event["name"] for event in read_events(path)] == ["before", "after"]
