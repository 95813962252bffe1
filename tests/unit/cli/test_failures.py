"""What ends a command becomes an exit code, and with `--json` one object on stdout."""

import errno
import json

import pytest

from instructlab_pipeline.cli import failures
from instructlab_pipeline.cli.main import exit_code_of
from instructlab_pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (UsageError("no", remedy="yes"), 2),
        (OSError(errno.EROFS, "Read-only file system", "/run.json"), 3),
        (OSError(errno.ENOSPC, "No space left on device"), 4),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("division by zero"), 70),
    ],
)
def test_every_error_has_an_exit_code_and_a_remedy(error, exit_code):
    told = failures.as_json(error)
    assert told["exit_code"] == exit_code
    assert told["message"]
    assert told["remedy"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--no_such_option", "1"],
        ["run", "--until", "nonsense"],
        ["stage"],
        ["status", "no-such-run"],
        ["params", "show", "--sdg_scale_factor", "0"],
        ["params", "check", "--sdg_scale_factor", "0"],
        ["taxonomy", "check", "no-such-folder"],
        ["taxonomy", "check", "empty"],
    ],
)
def test_json_is_one_object_also_on_failure(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    code = exit_code_of([*arguments, "--json"])
    printed = capsys.readouterr()
    assert code in (2, 3)
    assert isinstance(json.loads(printed.out), dict)
    assert printed.err


def test_a_run_in_the_place_of_a_file_is_a_usage_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    given = ["--sdg_base_model=file:m", "--sdg_repo_url=./t", "--output_oci_model_uri=oci:o:1", "--run-dir=file"]
    assert exit_code_of(["run", "--until=model", *given, "--json"]) == 2
    assert "file cannot be the folder of a run" in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize("place", ["model/thesis.txt", "publish"])
def test_a_folder_that_holds_other_work_is_never_taken_for_a_run(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    precious = tmp_path / "project" / place
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work")
    given = ["--sdg_base_model=file:m", "--sdg_repo_url=./t", "--output_oci_model_uri=oci:o:1", "--run-dir=project"]
    assert exit_code_of(["run", "--until=model", *given]) == 2
    assert f"what lies there in {place.partition('/')[0]} would be lost" in capsys.readouterr().err
    assert precious.read_text() == "years of work"
    assert not (tmp_path / "project" / "run.json").exists()
