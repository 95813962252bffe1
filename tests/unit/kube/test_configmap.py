"""The parameters as a ConfigMap, and every form of `params export` read back."""

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from instructlab_pipeline.cli.params import params
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.kube import configmap
from instructlab_pipeline.params import export
from instructlab_pipeline.params.files import env_layer, yaml_layer
from instructlab_pipeline.params.layers import resolve, resolve_layers
from instructlab_pipeline.params.places import Layer, environment_layer
from instructlab_pipeline.params.table import PARAMETERS

REQUIRED = [
    ("sdg_base_model", "s3://bucket/model"),
    ("sdg_repo_url", "https://example.com/taxonomy.git"),
    ("output_oci_model_uri", "quay.io/org/model:1"),
]
CHOSEN = st.fixed_dictionaries(
    {},
    optional={
        "train_num_workers": st.integers(1, 10**6).map(str),
        "train_learning_rate": st.floats(1e-9, 1, exclude_min=True).map(repr),
        "sdg_quality_threshold": st.floats(0, 1).map(repr),
        "output_save_checkpoints": st.sampled_from(["true", "false"]),
        "k8s_storage_size": st.integers(1, 999).map("{}Gi".format),
        "k8s_tolerations": st.sampled_from(["", "[]", '[{"key": "gpu", "operator": "Exists"}]']),
        "k8s_node_selector": st.sampled_from(["", '{"zone": "a"}']),
        "output_model_name": st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
        "eval_metrics": st.sampled_from(["f1", "accuracy,f1"]),
        "train_learning_rate_phase_1": st.sampled_from(["", "1e-5"]),
        "sdg_teacher_endpoint": st.sampled_from(["", "https://teacher.example.com/v1"]),
    },
)


def resolved_with(chosen, profile="dev"):
    return resolve(profile=profile, environment={}, overrides=[*REQUIRED, *chosen.items()])


def read_back(layer: Layer, profile):
    return resolve(profile=profile, environment={}, base=[layer])


@settings(max_examples=60, deadline=None)
@given(chosen=CHOSEN, profile=st.sampled_from(["dev", "prod"]))
def test_what_is_exported_is_read_back_to_the_same_values(chosen, profile):
    before = resolved_with(chosen, profile)
    if before.faults:
        return
    texts = configmap.texts_of(before)
    written = [
        env_layer(export.env(texts), "file.env"),
        yaml_layer(export.dumped(texts), "file.yaml"),
        yaml_layer(export.dumped(configmap.manifest(texts)), "configmap.yaml"),
        configmap.layer(texts, "ConfigMap params"),
    ]
    for layer in written:
        assert read_back(layer, profile).complaints == ()
        assert read_back(layer, profile).values == before.values


def test_a_phase_s_rate_that_follows_stays_unset_when_exported():
    texts = configmap.texts_of(resolved_with({"train_learning_rate": "1e-4"}))
    assert texts["train_learning_rate_phase_1"] == ""
    assert set(texts) == set(PARAMETERS)


@pytest.mark.parametrize("profile", ["dev", "prod"])
def test_a_profile_written_down_counts_as_nobody_s_choice(profile):
    layer = configmap.layer(configmap.texts_of(resolved_with({}, profile)), "ConfigMap params")
    resolved = read_back(configmap.chosen(layer, profile), profile)
    assert not resolved.notices
    assert {name for name, setting in resolved.settings.items() if setting.explicit} == dict(REQUIRED).keys()


def test_what_was_changed_in_a_configmap_was_chosen():
    texts = configmap.texts_of(resolved_with({"k8s_worker_resources": '{"cpu":"2"}'}))
    resolved = read_back(configmap.chosen(configmap.layer(texts, "ConfigMap params"), "dev"), "dev")
    (notice,) = resolved.notices
    assert notice.endswith("training pods get 2")


def test_what_is_empty_in_a_configmap_leaves_the_word_to_the_secrets_below_it():
    texts = configmap.texts_of(resolved_with({"sdg_judge_model": "strict"}))
    assert (texts["sdg_teacher_endpoint"], texts["k8s_node_selector"]) == ("", "")
    secrets = environment_layer(
        {
            "SDG_TEACHER_ENDPOINT": "https://teacher.example.com/v1",
            "SDG_JUDGE_MODEL": "mild",
            "K8S_NODE_SELECTOR": '{"zone":"a"}',
        }
    )
    layer = configmap.chosen(configmap.layer(texts, "ConfigMap params"), "dev")
    values = resolve_layers("dev", [secrets, layer]).values
    assert values["sdg_teacher_endpoint"] == "https://teacher.example.com/v1"
    assert values["sdg_judge_model"] == "strict"
    assert values["k8s_node_selector"] == ""  # empty is a value here: any node


def test_kustomize_would_cut_quotes_off_so_such_a_value_is_refused():
    with pytest.raises(UsageError, match="begins or ends with a quote"):
        export.literals({"output_model_name": 'the "model"'})


def exported(*arguments):
    done = CliRunner().invoke(params, ["export", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_specification_s_excerpts_are_part_of_the_exported_overlays():
    for profile, excerpt in {
        "dev": ["sdg_batch_size=16", "sdg_num_workers=4", "train_num_workers=2", "train_memory_per_worker=120Gi"],
        "prod": ["sdg_batch_size=32", "sdg_num_workers=8", "train_num_workers=4", "train_memory_per_worker=200Gi"],
    }.items():
        (generator,) = yaml.safe_load(exported("--format", "kustomize", "--env", profile))["configMapGenerator"]
        assert generator["name"] == "instructlab-pipeline-params"
        assert generator["behavior"] == "merge"
        both = ["k8s_storage_class_name=gp3-csi", "train_gpu_identifier=nvidia.com/gpu"]
        assert {*excerpt, *both} <= set(generator["literals"])


def test_the_exported_configmap_is_the_one_of_the_specification():
    written = yaml.safe_load(exported("--format", "configmap", "--train_num_workers=6"))
    assert written["metadata"]["name"] == "instructlab-pipeline-params"
    assert written["metadata"]["namespace"] == "data-science-project"
    assert written["data"]["train_num_workers"] == "6"


def test_a_configmap_file_can_be_named_instead_of_a_live_one(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(exported("--format", "configmap", "--train_num_workers=6"))
    assert 'TRAIN_NUM_WORKERS="6"' in exported("--from-configmap", str(file))


def test_wrong_values_are_not_exported():
    done = CliRunner().invoke(params, ["export", "--train_num_workers=0"])
    assert done.exit_code == 1
    assert "is not above 0" in str(done.exception)


def test_what_was_left_empty_in_a_configmap_is_missing_unless_a_later_place_gives_it(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(exported("--format", "configmap"))
    missing = CliRunner().invoke(params, ["check", "--from-configmap", str(file)]).exception.complaints
    assert [line.split(": missing; searched, in order: dev profile, ")[0] for line in missing] == [
        name for name, _ in REQUIRED
    ]
    given = [f"--{name}={value}" for name, value in REQUIRED]
    assert CliRunner().invoke(params, ["check", "--from-configmap", str(file), *given]).exit_code == 0
