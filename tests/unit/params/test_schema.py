"""The JSON Schema, and the generated page."""

import json
from pathlib import Path

import jsonschema
import pytest

from instructlab_pipeline.params.layers import resolve
from instructlab_pipeline.params.reference import markdown
from instructlab_pipeline.params.schema import described, json_schema
from instructlab_pipeline.params.table import ALIASES, PARAMETERS, PROFILES

ROOT = Path(__file__).parents[3]
REQUIRED = {
    "sdg_base_model": "s3://bucket/model",
    "sdg_repo_url": "https://example.com/taxonomy.git",
    "output_oci_model_uri": "quay.io/org/model:1",
}
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def values(**changes):
    resolved = resolve(environment={}, overrides=list(REQUIRED.items()))
    return {name: entry["value"] for name, entry in resolved.as_json().items()} | changes


def test_the_schema_is_one_of_draft_2020_12():
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_values_that_are_shown_fit_the_schema():
    VALIDATOR.validate(values())
    VALIDATOR.validate(REQUIRED)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_defaults_in_the_schema_fit_it(profile):
    properties = json_schema()["properties"]
    defaults = {name: each["x-env-defaults"][profile] for name, each in properties.items() if "x-env-defaults" in each}
    VALIDATOR.validate(REQUIRED | defaults)
    assert set(defaults) == set(PARAMETERS) - set(REQUIRED)


@pytest.mark.parametrize(
    "changes",
    [
        {"train_num_workers": 0},
        {"train_num_workers": "4"},
        {"sdg_quality_threshold": 1.01},
        {"train_learning_rate": 0},
        {"output_save_checkpoints": "true"},
        {"eval_metrics": "accuracy"},
        {"eval_metrics": []},
        {"eval_metrics": ["accuracy", "accuracy"]},
        {"output_metrics_format": "xml"},
        {"output_model_version": "1.0"},
        {"output_oci_registry_secret": "My_Secret"},
        {"train_gpu_identifier": "gpu"},
        {"train_memory_per_worker": "120GB"},
        {"sdg_base_model": "models/base"},
        {"sdg_teacher_endpoint": "localhost"},
        {"sdg_batchsize": 4},
    ],
)
def test_wrong_values_do_not_fit_the_schema(changes):
    assert len(list(VALIDATOR.iter_errors(values(**changes)))) == 1


def test_a_required_parameter_cannot_be_left_out():
    assert len(list(VALIDATOR.iter_errors({}))) == 3


def test_the_schema_is_the_one_on_record():
    """If the change is meant: instructlab-pipeline params schema > tests/golden/params/schema.json"""
    assert json.loads((ROOT / "tests/golden/params/schema.json").read_text()) == json_schema()


def test_the_page_of_parameters_is_up_to_date():
    """If the change is meant: instructlab-pipeline params list --markdown > docs/parameters.md"""
    assert (ROOT / "docs/parameters.md").read_text() == markdown()


def test_the_page_names_every_parameter_and_alias():
    page = markdown()
    assert all(f"`{name}`" in page for name in (*PARAMETERS, *ALIASES))
    assert all(parameter.meaning.replace("|", "&#124;") in page for parameter in PARAMETERS.values())


def test_the_examples_on_the_page_are_valid(tmp_path):
    blocks = {fence: markdown().split(f"```{fence}\n")[1].split("```")[0] for fence in ("bash", "yaml")}
    for fence, name in (("bash", "example.env"), ("yaml", "example.yaml")):
        (tmp_path / name).write_text(blocks[fence])
        assert not resolve(files=[str(tmp_path / name)], environment={}).faults


def test_the_list_describes_every_parameter():
    assert [each["name"] for each in described()] == list(PARAMETERS)
    json.dumps(described())
