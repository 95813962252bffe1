"""The dataset outside of this program: `datasets` loads it by its card, and TRL's SFTTrainer trains on it unchanged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from instructlab_pipeline.artifacts import read_jsonl, seal, shards_of, write_jsonl
from instructlab_pipeline.dataset.stage import DatasetInputs, run
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context
from servers.sdg_inputs import run_sdg, sdg_inputs, seal_taxonomy
from servers.teacher_server import TeacherServer
from servers.tiny_model import write_tiny_model

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_datasets_loads_both_phases_and_sfttrainer_learns_from_them_unchanged(tmp_path):
    taxonomy = seal_taxonomy(tmp_path / "taxonomy")
    with TeacherServer() as teacher:
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
    write_tiny_model(tmp_path / "model" / "files")
    context = Context(folder=tmp_path / "dataset", cache=tmp_path / "cache", events=Events())
    context.folder.mkdir()
    inputs = DatasetInputs(
        sdg=seal(tmp_path / "sdg", kind="sdg", key="k", inputs={}, facts=facts),
        model=seal(tmp_path / "model", kind="model", key="k", inputs={}, facts={}),
        train_sequence_length=2048,
        train_replay_ratio=1.0,
        sdg_random_seed=42,
        eval_questions=None,
    )
    run(inputs, context)
    in_shards = context.folder / "phase_1.jsonl"
    write_jsonl(in_shards, list(read_jsonl(in_shards)), shard_bytes=in_shards.stat().st_size // 3)
    assert len(shards_of(in_shards)) > 1
    argv = [
        sys.executable,
        TESTS / "servers/train_with_trl.py",
        context.folder,
        tmp_path / "model/files",
        tmp_path / "out",
    ]
    offline = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(argv, env={**os.environ, **offline}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    for phase in ("phase_1", "phase_2"):
        assert seen[phase]["rows"] == len(list(read_jsonl(context.folder / f"{phase}.jsonl")))
        assert seen[phase]["columns"] == ["messages", "metadata", "id", "unmask"]
        assert seen[phase]["last"] < 0.8 * seen[phase]["first"]
