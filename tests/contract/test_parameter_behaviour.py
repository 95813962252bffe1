"""What parameters do to generation, where no other test says so: seen in what the stage makes."""

import pytest

from instructlab_pipeline.errors import SourceError
from servers.sdg_inputs import outputs, records, run_sdg, sdg_inputs, seal_taxonomy
from servers.teacher_server import TeacherServer


@pytest.fixture
def taxonomy(tmp_path):
    return seal_taxonomy(tmp_path / "taxonomy")


def made(folder, taxonomy, **changed):
    with TeacherServer(scripts={"verdict": graded}) as teacher:
        run_sdg(folder, sdg_inputs(taxonomy, teacher.url, **changed))
    return folder


def graded(asked):
    """Three quarters of full marks for everything."""
    names = asked["response_format"]["json_schema"]["schema"]["properties"]
    return {"reason": "as scripted", **{name: 4 for name in names if name != "reason"}}


def test_samples_below_the_quality_threshold_are_rejected(tmp_path, taxonomy):
    lenient = made(tmp_path / "lenient", taxonomy, sdg_quality_threshold=0.75)
    assert records(lenient, "samples")
    with pytest.raises(SourceError, match=r"not one sample was accepted .*low_quality"):
        made(tmp_path / "strict", taxonomy, sdg_quality_threshold=0.76)


def test_another_seed_asks_the_teacher_for_other_samples(tmp_path, taxonomy):
    first = outputs(made(tmp_path / "first", taxonomy))
    assert outputs(made(tmp_path / "again", taxonomy)) == first
    assert outputs(made(tmp_path / "other", taxonomy, sdg_random_seed=43)) != first
