"""Precedence, origins, names, and what is said when they go wrong."""

import pytest

from instructlab_pipeline.errors import ParameterError
from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.layers import resolve
from instructlab_pipeline.params.places import record_layer
from instructlab_pipeline.params.table import ALIASES, PARAMETERS

REQUIRED = [
    ("sdg_base_model", "s3://bucket/model"),
    ("sdg_repo_url", "https://example.com/taxonomy.git"),
    ("output_oci_model_uri", "quay.io/org/model:1"),
]


@pytest.fixture
def parameter_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="pipeline-parameters.env"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


def test_later_layers_win_and_each_value_knows_where_it_came_from(parameter_file):
    first = parameter_file("SDG_BATCH_SIZE=1\nSDG_NUM_WORKERS=1\nSDG_SCALE_FACTOR=1\nEVAL_BATCH_SIZE=1\n")
    second = parameter_file("# wins\nSDG_NUM_WORKERS=2\nSDG_SCALE_FACTOR=2\nEVAL_BATCH_SIZE=2\n", "b.env")
    resolved = resolve(
        profile="prod",
        files=[first, second],
        environment={"SDG_SCALE_FACTOR": "3", "EVAL_BATCH_SIZE": "3"},
        overrides=[("eval_batch_size", "4")],
    )
    names = ["train_num_workers", "sdg_batch_size", "sdg_num_workers", "sdg_scale_factor", "eval_batch_size"]
    assert [resolved.values[name] for name in names] == [4, 1, 2, 3, 4]
    assert [resolved.origins[name] for name in names] == [
        "prod profile",
        "pipeline-parameters.env:1",
        "b.env:2",
        "environment SDG_SCALE_FACTOR",
        "command line",
    ]


def test_a_wrong_value_is_a_complaint_even_where_a_later_layer_gives_a_right_one():
    resolved = resolve(environment={"SDG_BATCH_SIZE": "0"}, overrides=[*REQUIRED, ("sdg_batch_size", "8")])
    (complaint,) = resolved.complaints
    assert "environment SDG_BATCH_SIZE" in complaint


def test_missing_parameters_are_null_and_the_complaint_lists_the_places_searched(parameter_file):
    name = parameter_file("SDG_REPO_URL=./taxonomy\n")
    resolved = resolve(files=[name], environment={}, overrides=[("output_oci_model_uri", "nonsense")])
    assert resolved.values["sdg_base_model"] is None
    assert resolved.origins["sdg_base_model"] == "missing"
    (missing,) = resolved.missing
    assert missing.startswith(
        "sdg_base_model: missing; searched, in order: dev profile, pipeline-parameters.env, "
        "environment SDG_BASE_MODEL, command line --sdg_base_model; valid: s3://"
    )
    with pytest.raises(ParameterError):
        _ = resolved.parameters


def test_nothing_is_said_to_be_missing_where_a_file_could_not_be_read(tmp_path):
    resolved = resolve(files=[str(tmp_path / "nowhere.env")], environment={})
    assert resolved.complaints == (f"{tmp_path / 'nowhere.env'} cannot be read: No such file or directory",)


def test_what_is_missing_can_be_shown_but_what_is_wrong_cannot():
    assert resolve(environment={}).as_json()["sdg_base_model"] == {"value": None, "origin": "missing"}
    with pytest.raises(ParameterError):
        resolve(environment={"SDG_BATCH_SIZE": "x"}).as_json()


def test_an_unknown_name_is_a_complaint_with_the_nearest_name(parameter_file):
    name = parameter_file("SDG_BATCHSIZE=4\nTRAIN_TOLERATION=x\nNONSENSE=1\nsdg-batch-size=4\n")
    resolved = resolve(files=[name], environment={})
    assert resolved.faults == (
        "sdg_batchsize (pipeline-parameters.env:1) is not a parameter; did you mean sdg_batch_size",
        "train_toleration (pipeline-parameters.env:2) is not a parameter; did you mean train_tolerations",
        "nonsense (pipeline-parameters.env:3) is not a parameter",
        "sdg-batch-size (pipeline-parameters.env:4) is not a parameter; did you mean sdg_batch_size",
    )


def test_a_secret_in_a_parameter_file_is_sent_to_the_environment_and_never_shown(parameter_file):
    name = parameter_file("OPENAI_API_KEY=sk-hunter2\nAWS_SECRET_ACCESS_KEY=hunter2\n")
    faults = resolve(files=[name], environment={}).faults
    assert len(faults) == 2
    assert all("belongs into no file" in fault and "hunter2" not in fault for fault in faults)


def test_the_same_name_twice_in_one_place_is_a_complaint_only_when_the_values_differ(parameter_file):
    same = parameter_file('SDG_BATCH_SIZE=4\nsdg_batch_size="4 "\n')
    assert not resolve(files=[same], environment={}).faults
    different = parameter_file("SDG_BATCH_SIZE=4\nSDG_BATCH_SIZE=5\n")
    (fault,) = resolve(files=[different], environment={}).faults
    assert fault == (
        'sdg_batch_size: "5" (pipeline-parameters.env:2) contradicts "4" (pipeline-parameters.env:1); '
        "valid: one of them"
    )
    (fault,) = resolve(environment={}, overrides=[("sdg_batch_size", "4"), ("sdg_batch_size", "5")]).faults
    assert "contradicts" in fault


@pytest.mark.parametrize("alias", ALIASES)
def test_the_names_of_ilab_on_ocp_are_taken_with_a_notice(alias):
    text = {"k8s_node_selector": '{"a":"b"}', "k8s_tolerations": "[]"}.get(ALIASES[alias], "3")
    resolved = resolve(environment={alias.upper(): text})
    assert not resolved.faults
    assert resolved.origins[ALIASES[alias]] == f"environment {alias.upper()} as {alias}"
    assert f"{alias} (environment {alias.upper()}) is taken as {ALIASES[alias]}, its name here" in resolved.notices


def test_an_alias_that_contradicts_its_parameter_is_a_complaint():
    environment = {"TRAIN_EPOCHS_PHASE_1": "3", "TRAIN_NUM_EPOCHS_PHASE_1": "4"}
    (fault,) = resolve(environment=environment).faults
    assert fault.startswith("train_epochs_phase_1: ")


def test_no_other_variable_of_the_environment_is_looked_at():
    resolved = resolve(environment={"PATH": "/bin", "SDG_HOME": "x", "TRAIN": "y", "OUTPUT_": "z", "K8S_POD": "a"})
    assert not resolved.faults
    assert not resolved.notices


@pytest.mark.parametrize("variable", ["TRAIN_NUM_WORKER", "train_num_workers", "SDG_BATCHSIZE", "Train_Cpu_Limit"])
def test_a_variable_that_nearly_names_a_parameter_gets_a_notice(variable):
    resolved = resolve(environment={variable: "6"})
    assert not resolved.faults
    (notice,) = resolved.notices
    assert notice.startswith(f"{variable} in the environment is not a parameter and was not used; did you mean ")


def test_an_empty_value_unsets_what_may_be_unset():
    resolved = resolve(
        environment={"SDG_TEACHER_MODEL": "big", "TRAIN_LEARNING_RATE_PHASE_1": "1e-4"},
        overrides=[("sdg_teacher_model", ""), ("train_learning_rate_phase_1", " "), ("train_learning_rate", "3e-5")],
    )
    assert not resolved.faults
    assert resolved.values["sdg_teacher_model"] is None
    assert resolved.origins["sdg_teacher_model"] == "command line"
    assert resolved.values["train_learning_rate_phase_1"] == 3e-5
    assert resolved.origins["train_learning_rate_phase_1"] == "train_learning_rate (command line)"


def test_a_phase_has_the_common_learning_rate_unless_it_is_given_its_own():
    resolved = resolve(environment={"TRAIN_LEARNING_RATE_PHASE_2": "6e-6"})
    assert resolved.values["train_learning_rate_phase_1"] == 2e-5
    assert resolved.origins["train_learning_rate_phase_1"] == "train_learning_rate (dev profile)"
    assert resolved.values["train_learning_rate_phase_2"] == 6e-6


def test_what_a_run_recorded_comes_back_beneath_files_environment_and_options():
    given = [*REQUIRED, ("eval_metrics", "f1"), ("train_cpu_limit", "2"), ("train_learning_rate_phase_2", "1e-6")]
    recorded = resolve(profile="prod", environment={}, overrides=given)
    again = resolve(environment={}, base=[record_layer(recorded.as_json())])
    assert again.values == recorded.values
    assert again.parameters == recorded.parameters
    assert again.origins["eval_metrics"] == "run record, command line"
    assert again.origins["sdg_batch_size"] == "run record, prod profile"
    assert not again.notices
    assert resolve(environment={}, base=[record_layer(again.as_json())]) == again

    changed = resolve(
        environment={"SDG_BATCH_SIZE": "5"},
        overrides=[("train_learning_rate", "1e-3")],
        base=[record_layer(recorded.as_json())],
    )
    assert changed.values["sdg_batch_size"] == 5
    assert changed.values["train_learning_rate_phase_1"] == 1e-3
    assert changed.values["train_learning_rate_phase_2"] == 1e-6


def test_every_parameter_can_be_given_in_every_layer(parameter_file):
    texts = {
        "sdg_base_model": "file:base",
        "sdg_repo_url": "./taxonomy",
        "output_oci_model_uri": "oci:image:1",
        "sdg_repo_revision": "main",
        "sdg_teacher_endpoint": "builtin:extractive",
        "sdg_judge_endpoint": "http://localhost/v1",
        "sdg_teacher_model": "t",
        "sdg_judge_model": "j",
        "k8s_tolerations": "[]",
        "k8s_node_selector": "{}",
        "train_learning_rate_phase_1": "1e-4",
        "train_learning_rate_phase_2": "1e-4",
    }
    texts = {name: texts.get(name) or text_of(each.defaults["prod"]) for name, each in PARAMETERS.items()}
    name = parameter_file("".join(f"{name.upper()}='{text}'\n" for name, text in texts.items()))
    in_file = resolve(files=[name], environment={})
    in_environment = resolve(environment={name.upper(): text for name, text in texts.items()})
    in_options = resolve(environment={}, overrides=list(texts.items()))
    assert in_file.parameters == in_environment.parameters == in_options.parameters
    assert all(origin.startswith("pipeline-parameters.env:") for origin in in_file.origins.values())
    assert all(origin.startswith("environment ") for origin in in_environment.origins.values())
    assert set(in_options.origins.values()) == {"command line"}
