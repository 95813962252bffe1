"""docs/parameter-effects.md, kept true: each parameter is changed, and what then changes is compared with its row."""

import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import yaml

from instructlab_pipeline.kube.connection import connected
from instructlab_pipeline.kube.deputy import Making, training_of
from instructlab_pipeline.kube.package import Package, compiled
from instructlab_pipeline.kube.placement import step_placement
from instructlab_pipeline.kube.training_job import pytorch_job, train_job, training_runtime
from instructlab_pipeline.params.layers import resolve
from instructlab_pipeline.params.table import PARAMETERS
from instructlab_pipeline.pipeline import STAGES
from servers.config_map_api import ConfigMapApi

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "parameter-effects.md"
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
REQUIRED = {
    "sdg_base_model": "s3://bucket/model",
    "sdg_repo_url": "https://example.com/taxonomy.git",
    "output_oci_model_uri": "quay.io/org/model:1",
}
# Another valid value than the one that development has.
CHANGED = {
    "sdg_base_model": "s3://bucket/other",
    "sdg_repo_url": "https://example.com/other.git",
    "output_oci_model_uri": "quay.io/org/model:2",
    "output_oci_registry_secret": "other-registry-secret",
    "output_model_name": "other-model",
    "output_model_version": "0.2.0",
    "k8s_storage_class_name": "other-class",
    "train_gpu_identifier": "amd.com/gpu",
    "train_num_workers": "6",
    "sdg_scale_factor": "31",
    "sdg_batch_size": "17",
    "sdg_num_workers": "5",
    "sdg_random_seed": "43",
    "sdg_quality_threshold": "0.6",
    "train_epochs_phase_1": "8",
    "train_epochs_phase_2": "11",
    "train_learning_rate": "1e-5",
    "train_batch_size": "9",
    "train_sequence_length": "4096",
    "train_memory_per_worker": "96Gi",
    "train_gradient_accumulation_steps": "5",
    "train_cpu_limit": "3",
    "eval_num_samples": "101",
    "eval_batch_size": "17",
    "eval_metrics": "f1",
    "eval_quality_threshold": "0.9",
    "k8s_node_selector": '{"zone":"a"}',
    "k8s_tolerations": '[{"key":"gpu","operator":"Exists"}]',
    "k8s_storage_size": "50Gi",
    "k8s_worker_resources": '{"cpu":"2","memory":"64Gi"}',
    "output_save_checkpoints": "true",
    "output_checkpoint_frequency": "2",
    "output_save_metrics": "false",
    "output_metrics_format": "csv",
}
SPECIFIED = [name for name, parameter in PARAMETERS.items() if parameter.specified]
ROWS = {
    name: (effect, stages, cluster, tests) for name, effect, stages, cluster, tests in ROW.findall(PAGE.read_text())
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ConfigMapApi({}) as api, pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECONFIG", api.kubeconfig(tmp_path_factory.mktemp("cluster")))
        yield connected()


def resolved(**changes):
    return resolve(environment={}, overrides=[*{**REQUIRED, **changes}.items()])


def stages_of(values):
    """What each stage gets of the parameters: name -> (what makes its key, what only says how it works)."""
    found = {}
    for stage in STAGES:
        inputs = [each for each in fields(stage.inputs) if each.name in PARAMETERS]
        keyed = {each.name: values[each.name] for each in inputs if each.metadata.get("keyed", True)}
        found[stage.name] = (keyed, {each.name: values[each.name] for each in inputs if each.name not in keyed})
    return found


def changed_stages(name):
    """`sdg` where the stage makes something else, `sdg (how)` where it makes the same in another way."""
    before, after = stages_of(resolved().values), stages_of(resolved(**{name: CHANGED[name]}).values)
    marks = []
    for stage in before:
        if before[stage][0] != after[stage][0]:
            marks.append(f"`{stage}`")
        elif before[stage][1] != after[stage][1]:
            marks.append(f"`{stage}` (how)")
    return ", ".join(marks) or "-"


@cache
def platform(**changes):
    """What the compiled package says of the steps' pods."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "package.yaml"
        compiled(Package(resolved=resolved(**changes), image="quay.io/org/image:1"), file)
        _, document = yaml.safe_load_all(file.read_text())
    return document


def changed_objects(name, cluster):
    """`steps`: the pods of the pipeline's steps. `training job`: its TrainJob and its PyTorchJob."""
    change = {name: CHANGED[name]}
    found = []
    is_named = f"pipelinechannel--{name}" in str(platform())
    is_compiled_in = name.startswith("k8s_storage") and platform() != platform(**change)
    is_placed = step_placement(resolved()) != step_placement(resolved(**change))
    if is_named or is_compiled_in or is_placed:
        found.append("steps")
    if jobs(cluster) != jobs(cluster, **change):
        found.append("training job")
    return ", ".join(found) or "-"


def jobs(cluster, **changes):
    making = Making(stage="train_phase_1", run_dir="s3://bucket/runs/1", key="key")
    training = training_of(resolved(**changes), making, image="quay.io/org/image:1", cluster=cluster)
    return {"trainer": [train_job(training), training_runtime(training)], "operator": pytorch_job(training)}


def test_the_page_has_a_row_for_each_parameter_of_the_specification():
    assert list(ROWS) == SPECIFIED == list(CHANGED)
    assert len(SPECIFIED) == 34


@pytest.mark.parametrize("name", SPECIFIED)
def test_a_changed_parameter_changes_what_the_page_says(name, cluster):
    assert (ROWS[name][1], ROWS[name][2]) == (changed_stages(name), changed_objects(name, cluster))


@pytest.mark.parametrize("name", SPECIFIED)
def test_every_parameter_has_an_effect(name):
    assert ROWS[name][1:3] != ("-", "-")


@pytest.mark.parametrize("name", SPECIFIED)
def test_the_behaviour_of_a_stage_is_shown_by_a_test_that_exists(name):
    _, stages, _, tests = ROWS[name]
    named = re.findall(r"`(test_\w+)`", tests)
    assert named or stages == "-"
    assert set(named) <= all_tests()


@cache
def all_tests():
    return {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
