"""Notices: settings that are valid by themselves, and yet not what somebody may think."""

import pytest

from instructlab_pipeline.params.layers import resolve


def notices(**overrides):
    resolved = resolve(environment={}, overrides=list(overrides.items()))
    assert not resolved.faults
    return resolved.notices


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        ({"output_oci_model_uri": "quay.io/org/model"}, "output_oci_model_uri=quay.io/org/model has no tag"),
        ({"output_oci_model_uri": "localhost:5000/model"}, "output_oci_model_uri=localhost:5000/model has no tag"),
        ({"output_oci_model_uri": "oci:runs/image"}, "output_oci_model_uri=oci:runs/image has no tag"),
        ({"output_checkpoint_frequency": "2"}, "output_checkpoint_frequency=2 (command line) has no effect"),
        (
            {"output_checkpoint_frequency": "11", "output_save_checkpoints": "true"},
            "output_checkpoint_frequency=11 (command line) keeps none",
        ),
        (
            {"output_metrics_format": "csv", "output_save_metrics": "false"},
            "output_metrics_format=csv (command line) has no effect: output_save_metrics is false (command line)",
        ),
        (
            {
                "train_learning_rate": "1e-4",
                "train_learning_rate_phase_1": "1e-5",
                "train_learning_rate_phase_2": "1e-6",
            },
            "train_learning_rate=0.0001 (command line) has no effect",
        ),
        ({"eval_num_samples": "16"}, "eval_num_samples=16 (command line) is too few to tell"),
        (
            {"eval_num_samples": "15", "eval_metrics": "accuracy"},
            "eval_num_samples=15 (command line) is too few to tell",
        ),
        (
            {"output_registry_insecure": "true", "output_oci_model_uri": "oci:runs/image:1"},
            "output_registry_insecure=true has no effect",
        ),
        (
            {"k8s_worker_resources": '{"cpu":"2"}'},
            "train_cpu_limit=4 (dev profile) and k8s_worker_resources with cpu 2 (command line) disagree: training",
        ),
        (
            {"k8s_worker_resources": '{"memory":"64Gi"}', "train_memory_per_worker": "96Gi"},
            "train_memory_per_worker=96Gi (command line) and k8s_worker_resources with memory 64Gi (command line)",
        ),
    ],
)
def test_a_setting_that_does_nothing_or_not_what_it_says_gets_a_notice(overrides, start):
    (notice,) = notices(**overrides)
    assert notice.startswith(start)


def test_enough_questions_get_no_notice():
    assert not notices(eval_num_samples="17")
    assert not notices(eval_num_samples="16", eval_metrics="accuracy,perplexity")
    assert not notices(eval_num_samples="1", eval_questions="a-hundred.jsonl")


def test_for_training_pods_what_is_set_explicitly_wins():
    resources = {"k8s_worker_resources": '{"memory":"64Gi"}'}
    (notice,) = notices(**resources)
    assert notice.endswith("training pods get 64Gi")
    (notice,) = notices(**resources, train_memory_per_worker="96Gi")
    assert notice.endswith("training pods get 96Gi")


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"output_oci_model_uri": "localhost:5000/model:1"},
        {"output_oci_model_uri": "oci:runs/image:1"},
        {"output_checkpoint_frequency": "2", "output_save_checkpoints": "true"},
        {"train_learning_rate": "1e-4", "train_learning_rate_phase_1": "1e-5"},
        {"train_learning_rate_phase_1": "1e-5", "train_learning_rate_phase_2": "1e-6"},
        {"train_memory_per_worker": "200Gi"},
        {"k8s_worker_resources": '{"cpu":"4000m","memory":"122880Mi"}'},
        {
            "k8s_worker_resources": '{"cpu":2,"memory":"64Gi"}',
            "train_cpu_limit": "2",
            "train_memory_per_worker": "64Gi",
        },
        {"k8s_worker_resources": "{}"},
    ],
)
def test_settings_that_agree_get_no_notice(overrides):
    assert not notices(**overrides)
