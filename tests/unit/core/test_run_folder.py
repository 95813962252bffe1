import subprocess
import sys
from pathlib import Path

import pytest

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.run_folder import RunFolder
from servers.process import awaited

HOLDER = """
import sys, time
from pathlib import Path
from instructlab_pipeline.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).held():
    Path(sys.argv[2]).write_text("held")
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run"), str(tmp_path / "held")])
    awaited(tmp_path / "held")
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_with_the_holders_name(tmp_path, holder):
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(UsageError, match=f"is in use by process {holder.pid} of "), folder.held():
        pass
    assert f"process {holder.pid} of " in folder.holder()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path, holder):
    holder.kill()
    holder.wait()
    folder = RunFolder(tmp_path / "run")
    assert folder.holder() is None
    with folder.held():
        assert folder.path.is_dir()


def test_the_record_reads_back_and_a_folder_without_one_is_empty(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.record() == {}
    folder.write_record({"train_seed": {"value": 42, "origin": "dev profile"}})
    assert folder.record()["parameters"]["train_seed"]["value"] == 42


def test_a_file_is_refused_as_the_folder_of_a_run(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="file cannot be the folder of a run"), RunFolder(tmp_path / "file").held():
        pass


def test_a_record_that_is_not_ours_is_refused(tmp_path):
    (tmp_path / "run.json").write_text('{"parameters"')
    with pytest.raises(UsageError, match="is not a record of a run"):
        RunFolder(tmp_path).record()


def test_a_path_on_the_command_line_need_not_be_text(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["instructlab-pipeline", "run", "--run-dir", "\udcff"])
    folder = RunFolder(tmp_path)
    folder.write_record({})
    assert "udcff" in folder.record()["command"]


def test_the_cache_is_beside_the_run_also_when_the_run_is_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "runs" / "one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "runs" / "one")
    assert RunFolder(Path()).cache == tmp_path.resolve() / "runs" / "cache"
    assert RunFolder(Path("runs/one")).cache == Path("runs/cache")
