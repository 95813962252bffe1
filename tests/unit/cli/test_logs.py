import json
import threading
import time

import pytest

from instructlab_pipeline.events import Events, append_line
from instructlab_pipeline.run_folder import RunFolder
from servers.command import command


@pytest.fixture
def folder(tmp_path):
    found = RunFolder(tmp_path / "run")
    found.write_record({})
    events = Events(path=found.events_path)
    with events.span("model"):
        events.point("notice", message="the bucket is far away")
    return found


def test_logs_tell_a_run_in_words(folder, tmp_path):
    done = command("logs", "run", folder=tmp_path)
    assert done.stdout.splitlines()[:2] == ["model: started", "note: the bucket is far away"]
    assert done.stdout.splitlines()[2].startswith("model: done in")


def test_a_failed_stage_is_told_with_its_error_and_a_torn_line_is_passed_over(folder, tmp_path):
    with folder.events_path.open("a") as file:
        file.write('{"event": "point", "na\n')
    append_line(folder.events_path, {"event": "end", "name": "sdg", "ok": False, "seconds": 2, "error": "no answer"})
    done = command("logs", "run", folder=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-2:] == ["sdg: no answer", "sdg: stopped after 2.0 s"]


def test_events_come_as_they_are_with_json(folder, tmp_path):
    done = command("logs", "run", "--json", folder=tmp_path)
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["start", "point", "end"]


def test_followed_logs_end_with_the_run_and_hold_what_was_told_meanwhile(folder, tmp_path):
    held, end = threading.Event(), threading.Event()

    def work():
        with folder.held():
            held.set()
            end.wait(30)
            Events(path=folder.events_path).point("notice", message="told later")

    worker = threading.Thread(target=work)
    worker.start()
    held.wait(30)
    threading.Thread(target=lambda: (time.sleep(2), end.set())).start()
    done = command("logs", "run", "--follow", folder=tmp_path)
    worker.join()
    assert done.stdout.splitlines()[-1] == "note: told later"


def test_a_stage_shows_what_its_workers_printed(folder, tmp_path):
    work = folder.stage("train_phase_1") / "work"
    work.mkdir(parents=True)
    (work / "worker.log").write_text("out of luck\n")
    done = command("logs", "run", "train_phase_1", folder=tmp_path)
    assert "out of luck" in done.stdout
    assert command("logs", "run", "taxonomy", folder=tmp_path).returncode == 2
    assert "the stages, in order" in command("logs", "run", "nonsense", folder=tmp_path).stderr
