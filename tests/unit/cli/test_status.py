"""`status` on a run whose sdg stage is under way: how each leaf stands."""

from contextlib import suppress

from instructlab_pipeline.artifacts import seal
from instructlab_pipeline.cli.status import _in_words, state_of
from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.run_storage import open_storage


def test_leaves_under_way_and_finished_ones_are_told_with_their_targets(tmp_path):
    storage = open_storage(tmp_path)
    storage.write_record({})
    events = Events(path=storage.events_path)
    with storage.held(), events.span("sdg"):
        events.point("leaves", leaves={"skills/a": [3, 9], "skills/b": [5, 9]})
        events.point("leaf", leaf="skills/b", accepted=9, target=9)
        events.point("leaf", leaf="skills/b", accepted=0, target=0)
        report = state_of(storage)
    stage = next(stage for stage in report["stages"] if stage["state"] == "running")
    assert stage["leaves"] == {
        "skills/a": {"accepted": 3, "target": 9},
        "skills/b": {"accepted": 9, "target": 9},
    }
    words = _in_words(report)
    assert "3 of 9       skills/a" in words
    assert "1 of 2 leaves begun have all they need" in words


def test_leaves_of_a_stage_that_is_over_are_not_told(tmp_path):
    storage = open_storage(tmp_path)
    storage.write_record({})
    events = Events(path=storage.events_path)
    with storage.held():
        with events.span("sdg"):
            events.point("leaves", leaves={"skills/a": [3, 9]})
        assert not any("leaves" in stage for stage in state_of(storage)["stages"])


def test_a_finished_stage_tells_what_came_of_it_and_a_failed_one_why(tmp_path):
    storage = open_storage(tmp_path)
    storage.write_record({})
    folder = storage.folder.stage("eval_final")
    folder.mkdir()
    seal(folder, kind="eval_final", key="k", inputs={}, facts={"verdict": "pass", "clear": False, "skipped": None})
    with suppress(ServiceError), Events(path=storage.events_path).watched("publish"):
        raise ServiceError("the registry is away", remedy="wait")
    words = _in_words(state_of(storage))
    assert "eval_final    finished: pass, not clear" in words
    assert "publish       stopped: the registry is away" in words


def test_a_stage_that_was_reused_after_a_failure_is_finished(tmp_path):
    storage = open_storage(tmp_path)
    storage.write_record({})
    events = Events(path=storage.events_path)
    storage.folder.stage("model").mkdir()
    seal(storage.folder.stage("model"), kind="model", key="k", inputs={}, facts={})
    with suppress(ServiceError), events.watched("model"):
        raise ServiceError("the bucket is away", remedy="wait")
    assert state_of(storage)["stages"][0]["state"] == "stopped"
    events.point("reused", stage="model")
    assert state_of(storage)["stages"][0]["state"] == "finished"
