import subprocess
import sys
from pathlib import Path

import base_model
import prepare
import pytest
from pretraining import Schooling

from instructlab_pipeline.params.layers import resolve

HERE = Path(prepare.__file__).parent


def run(*arguments, folder):
    return subprocess.run(
        [sys.executable, HERE / "prepare.py", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def prepared(tmp_path):
    """A folder for which nothing is left to do, with a card alone where the base model belongs."""
    card = tmp_path / "inputs" / "base-model" / base_model.CARD
    card.parent.mkdir(parents=True)
    digest = base_model.digest_of_sources(base_model.USUAL)
    card.write_text(base_model.CARD_TEXT.format(parameters=1, digest=digest), encoding="utf-8")
    prepare.prepare(tmp_path / "inputs", say=lambda line: None)
    return tmp_path / "inputs"


def test_a_second_call_uses_what_is_there_and_says_so(prepared):
    lines = []
    prepare.prepare(prepared, say=lines.append)
    assert [line.split(",")[0] for line in lines] == [
        f"using {prepared / name}" for name in ("documents", "taxonomy", "base-model")
    ]


def test_nothing_heavy_is_imported_where_nothing_is_to_do(prepared):
    code = (
        "import sys, pathlib, prepare\n"
        "prepare.prepare(pathlib.Path(sys.argv[1]), say=print)\n"
        "print([name for name in ('torch', 'transformers', 'tokenizers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, prepared],
        env={"PYTHONPATH": str(HERE), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_taxonomy_can_be_edited_without_a_new_base_model(prepared):
    (leaf, *_) = (prepared / "taxonomy").rglob("qna.yaml")
    leaf.write_text(leaf.read_text().replace("answer:", "answer: "))
    lines = []
    prepare.prepare(prepared, say=lines.append)
    assert lines[-1].startswith("using ")


def test_other_schooling_makes_another_base_model():
    assert base_model.digest_of_sources(Schooling(seed=1)) != base_model.digest_of_sources(Schooling(seed=2))


def test_something_in_the_way_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "inputs" / "documents").mkdir(parents=True)
    (tmp_path / "inputs" / "documents" / "mine.txt").write_text("keep me")
    done = run("--to", "inputs", folder=tmp_path)
    assert done.returncode == 3
    assert "is in the way" in done.stderr
    assert "move" in done.stderr
    assert (tmp_path / "inputs" / "documents" / "mine.txt").read_text() == "keep me"


def test_the_demo_parameters_are_all_valid_and_none_is_missing():
    resolved = resolve(files=[str(HERE / "pipeline-parameters.env")], environment={}, overrides=[])
    assert not resolved.complaints
    assert not resolved.missing


def test_the_demo_keeps_the_specification_s_gate():
    resolved = resolve(files=[str(HERE / "pipeline-parameters.env")], environment={}, overrides=[])
    assert resolved.values["eval_quality_threshold"] == 0.8
    assert resolved.values["eval_metrics"] == ("accuracy", "f1")
