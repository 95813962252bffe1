from instructlab_pipeline.evaluation.answers import Progress
from instructlab_pipeline.evaluation.journal import Journal
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context


def test_progress_counts_what_was_wanted_once_and_tells_of_changes_alone(tmp_path):
    told: list[tuple[float, float]] = []
    events = Events(listeners=[lambda event: told.append((event["done"], event["total"]))])
    journal = Journal(tmp_path / "answers.jsonl")
    journal.add({"of another run": "1"})
    progress = Progress(
        journal, ["a", "b", "c"], Context(folder=tmp_path, cache=tmp_path, events=events), name="answers"
    )
    for came in ({}, {"a": "1"}, {"a": "2"}, {"b": "1", "c": "1"}):
        journal.add(came)
        progress()
        progress()
    assert told == [(0, 3), (1, 3), (3, 3)]
