"""Which sealed stages are trusted, without running any room."""

from dataclasses import dataclass, replace

import pytest

from instructlab_pipeline.artifacts import MANIFEST
from instructlab_pipeline.errors import ServiceError, WorkerError
from instructlab_pipeline.events import Events
from instructlab_pipeline.params.layers import resolve
from instructlab_pipeline.pipeline import Workshop, perform
from instructlab_pipeline.run_storage import open_storage
from instructlab_pipeline.stage import Stage

GIVEN = (("sdg_base_model", "file:m"), ("sdg_repo_url", "./t"), ("output_oci_model_uri", "oci:o:1"))


@dataclass(frozen=True, kw_only=True)
class Inputs:
    train_seed: int


def write(_inputs, context):
    (context.folder / "result").write_text("made")
    return {}


STAGE = Stage(name="model", inputs=Inputs, run=write)


@pytest.fixture
def workshop_of(tmp_path):
    def make(name, heard=None):
        listeners = [heard.append] if heard is not None else []
        storage = open_storage(tmp_path / name)
        parameters = resolve(environment={}, overrides=GIVEN).parameters
        return Workshop(storage=storage, parameters=parameters, events=Events(listeners=listeners))

    return make


def test_a_stage_is_reused_in_its_run_and_in_one_beside_it(workshop_of):
    assert [perform(STAGE, workshop_of(name), {}).status for name in ("a", "a", "b")] == ["made", "reused", "reused"]


def test_notices_on_the_inputs_are_given_also_when_the_stage_is_reused(workshop_of):
    stage, heard = replace(STAGE, notices=lambda _inputs: ["mind this"]), []
    for _ in range(2):
        perform(stage, workshop_of("a", heard), {})
    assert [event["message"] for event in heard if event["name"] == "notice"] == ["mind this"] * 2


def test_a_source_that_fails_before_its_stage_begins_is_told_as_the_stages_failure(workshop_of):
    def away(_inputs):
        raise ServiceError("the bucket is away", remedy="wait")

    heard = []
    with pytest.raises(ServiceError):
        perform(replace(STAGE, fingerprint=away), workshop_of("a", heard), {})
    assert [(event["event"], event["name"], event["error"]) for event in heard] == [
        ("end", "model", "the bucket is away")
    ]


@pytest.mark.parametrize("name", ["result", MANIFEST])
def test_what_was_tampered_with_is_made_again_and_said(name, workshop_of):
    made = perform(STAGE, workshop_of("a"), {}).artifact
    (made / name).chmod(0o644)
    (made / name).write_text("[]")
    heard = []
    assert perform(STAGE, workshop_of("a", heard), {}).status == "made"
    assert any("stage model runs again" in event.get("message", "") for event in heard)


def test_a_stage_is_reused_when_the_folder_of_all_runs_was_moved(workshop_of, tmp_path):
    perform(STAGE, workshop_of("here/a"), {})
    (tmp_path / "here").rename(tmp_path / "there")
    assert perform(STAGE, workshop_of("there/b"), {}).status == "reused"


@pytest.mark.parametrize("pointer", ["", "/nowhere", "a\0b", "x" * 5000, b"\xff", "{made}/result"])
def test_a_cache_that_points_to_nothing_of_use_does_no_harm(pointer, workshop_of):
    made = perform(STAGE, workshop_of("a"), {}).artifact
    path = workshop_of("a").storage.folder.cache / "stages" / "model" / made.key
    path.write_bytes(pointer if isinstance(pointer, bytes) else pointer.replace("{made}", str(made.path)).encode())
    assert perform(STAGE, workshop_of("b"), {}).status == "made"


def test_a_damaged_run_beside_this_one_does_no_harm(workshop_of):
    made = perform(STAGE, workshop_of("a"), {}).artifact
    (made / MANIFEST).write_text("{")
    assert perform(STAGE, workshop_of("b"), {}).status == "made"


def test_a_deputy_s_work_counts_when_it_is_sealed_with_the_key_that_was_asked_for(workshop_of):
    asked = []

    def deputy(name, key):
        asked.append((name, key))
        perform(STAGE, workshop_of("a"), {})

    result = perform(STAGE, replace(workshop_of("a"), deputy=deputy), {})
    assert (result.status, asked) == ("made", [("model", result.artifact.key)])
    assert perform(STAGE, replace(workshop_of("a"), deputy=deputy), {}).status == "reused"
    assert len(asked) == 1


def test_a_deputy_that_seals_nothing_has_failed(workshop_of):
    with pytest.raises(WorkerError, match="was not sealed as asked for"):
        perform(STAGE, replace(workshop_of("a"), deputy=lambda _name, _key: None), {})
