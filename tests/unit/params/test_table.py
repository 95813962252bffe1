"""The table against the specification, written out by hand."""

import dataclasses

import pytest

from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.layers import resolve
from instructlab_pipeline.params.table import ALIASES, PARAMETERS, PROFILES, Parameters

# name: (default in dev, default in prod); None: required
SPECIFICATION = {
    "sdg_base_model": (None, None),
    "sdg_repo_url": (None, None),
    "output_oci_model_uri": (None, None),
    "output_oci_registry_secret": ("oci-registry-secret", "oci-registry-secret"),
    "output_model_name": ("instructlab-model", "instructlab-model"),
    "output_model_version": ("0.1.0", "0.1.0"),
    "k8s_storage_class_name": ("gp3-csi", "gp3-csi"),
    "train_gpu_identifier": ("nvidia.com/gpu", "nvidia.com/gpu"),
    "train_num_workers": (2, 4),
    "sdg_scale_factor": (30, 30),
    "sdg_batch_size": (16, 32),
    "sdg_num_workers": (4, 8),
    "sdg_random_seed": (42, 42),
    "sdg_quality_threshold": (0.7, 0.7),
    "train_epochs_phase_1": (7, 7),
    "train_epochs_phase_2": (10, 10),
    "train_learning_rate": (2e-5, 2e-5),
    "train_batch_size": (8, 16),
    "train_sequence_length": (2048, 2048),
    "train_memory_per_worker": ("120Gi", "200Gi"),
    "train_gradient_accumulation_steps": (4, 4),
    "train_cpu_limit": (4, 8),
    "eval_num_samples": (100, 100),
    "eval_batch_size": (16, 16),
    "eval_metrics": (("accuracy", "f1"), ("accuracy", "f1")),
    "eval_quality_threshold": (0.8, 0.8),
    "k8s_node_selector": ("", ""),
    "k8s_tolerations": ("", ""),
    "k8s_storage_size": ("20Gi", "100Gi"),
    "k8s_worker_resources": ('{"cpu":"4","memory":"120Gi"}', '{"cpu":"8","memory":"200Gi"}'),
    "output_save_checkpoints": (False, False),
    "output_checkpoint_frequency": (1, 1),
    "output_save_metrics": (True, True),
    "output_metrics_format": ("json", "json"),
}
ADDITIONS = {
    "sdg_repo_revision": None,
    "sdg_teacher_endpoint": None,
    "sdg_teacher_model": None,
    "sdg_judge_endpoint": None,
    "sdg_judge_model": None,
    "sdg_flows": None,
    "sdg_max_attempts": 4,
    "train_seed": 42,
    "train_warmup_ratio": 0.05,
    "train_learning_rate_phase_1": 2e-5,
    "train_learning_rate_phase_2": 2e-5,
    "train_replay_ratio": 1.0,
    "train_lora_rank": 0,
    "train_moments_8bit": False,
    "train_validation_share": 0.0,
    "train_compile": "auto",
    "train_tensorboard": False,
    "output_registry_insecure": False,
    "output_overwrite_version": False,
    "output_modelcar_base_image": None,
    "output_model_registry_url": None,
    "output_signing_key": None,
    "sdg_repo_secret": "taxonomy-repo-secret",
    "sdg_teacher_secret": "teacher-secret",
    "eval_require_clear": False,
    "eval_questions": None,
    "eval_lm_eval_tasks": None,
    "eval_candidate_endpoint": None,
    "eval_candidate_model": None,
    "eval_judge_endpoint": None,
    "eval_judge_model": None,
    "eval_judge_secret": "judge-secret",
    "output_signing_secret": "signing-secret",
    "s3_secret": "s3-connection",
    "notify_webhook_url": None,
    "notify_webhook_secret": "webhook-secret",
    "k8s_training_api": "auto",
    "k8s_training_hours": 72,
    "train_gpus_per_worker": 1,
}


def test_the_set_of_names_is_frozen():
    assert len(SPECIFICATION) == 34
    assert {name for name, parameter in PARAMETERS.items() if parameter.specified} == set(SPECIFICATION)
    assert {name for name, parameter in PARAMETERS.items() if not parameter.specified} == set(ADDITIONS)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", SPECIFICATION)
def test_the_defaults_are_those_of_the_specification(name, profile):
    expected = SPECIFICATION[name][PROFILES.index(profile)]
    resolved = resolve(profile=profile, environment={})
    assert resolved.values[name] == expected
    assert type(resolved.values[name]) is type(expected)
    assert resolved.origins[name] == ("missing" if expected is None else f"{profile} profile")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_defaults_of_additions_do_not_depend_on_the_profile(profile):
    values = resolve(profile=profile, environment={}).values
    assert {name: values[name] for name in ADDITIONS} == ADDITIONS


def test_the_prod_profile_doubles_the_sdg_batch():
    defaults = PARAMETERS["sdg_batch_size"].defaults
    assert defaults["prod"] == 2 * defaults["dev"]


def test_only_three_parameters_are_required_and_no_addition_is():
    required = [name for name, parameter in PARAMETERS.items() if parameter.required]
    assert required == ["sdg_base_model", "sdg_repo_url", "output_oci_model_uri"]


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=PARAMETERS)
def test_every_default_is_valid_by_its_own_kind(parameter):
    for default in parameter.defaults.values():
        text = text_of(default)
        if text:
            assert parameter.kind.read(text) == default
        else:
            assert default is None or parameter.kind.empty_is_a_value


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=PARAMETERS)
def test_every_meaning_is_made_of_whole_sentences(parameter):
    assert parameter.meaning[0].isupper() or parameter.meaning.split()[0] in PARAMETERS
    assert parameter.meaning.endswith(".")


def test_what_stands_in_for_an_unset_parameter_exists_and_has_the_same_kind():
    followers = [parameter for parameter in PARAMETERS.values() if parameter.follows]
    assert followers
    assert all(PARAMETERS[each.follows].kind is each.kind for each in followers)


def test_aliases_lead_to_parameters_and_are_none_themselves():
    assert set(ALIASES.values()) <= set(PARAMETERS)
    assert not set(ALIASES) & set(PARAMETERS)


def test_parameters_are_the_fields_of_one_frozen_class():
    assert [field.name for field in dataclasses.fields(Parameters)] == list(PARAMETERS)
    assert Parameters.__dataclass_params__.frozen
