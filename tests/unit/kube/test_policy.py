"""The admission policy against the command line: the same verdicts on the same values, in the same words."""

import json
import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from instructlab_pipeline.kube import configmap, policy
from instructlab_pipeline.kube.policy_kinds import FAULTS
from instructlab_pipeline.params.layers import resolve_layers
from instructlab_pipeline.params.table import ALIASES, PARAMETERS, PROFILES
from servers.admission import Policy

TABLE = yaml.safe_load((Path(__file__).parents[2] / "golden" / "params" / "values.yaml").read_text())
VALUES = [(name, text) for verdict in TABLE.values() for name, texts in verdict.items() for text in texts]
DENY, WARN = Policy(policy.policy()), Policy(policy.advice())
# What CEL cannot say: where JSON breaks, which metric was meant, how a character that cannot be printed is escaped.
UNSAID = re.compile(r"is not JSON: (?!'\w+' is there twice).*?(?=; valid)|; did you mean \w+|\"(?=zero).*?\"")
SAID_INSTEAD = re.compile(r"is not JSON of this form|\(not printable\)")


def refusals(data):
    return DENY.refusals({"metadata": {"name": "params"}, "data": data})


def complaints(data, profile="dev"):
    return list(resolve_layers(profile, [configmap.layer(data, policy.ORIGIN)]).faults)


@pytest.mark.parametrize(("name", "text"), VALUES)
def test_a_value_gets_the_sentence_of_the_command_line_or_none(name, text):
    said, expected = refusals({name: text}), complaints({name: text})
    assert len(said) == len(expected)
    assert [SAID_INSTEAD.sub("", each) for each in said] == [UNSAID.sub("", each) for each in expected]


def test_all_but_a_few_sentences_are_the_same_to_the_letter():
    same = [refusals({name: text}) == complaints({name: text}) for name, text in VALUES]
    assert sum(same) >= len(VALUES) - 8


def test_the_specification_s_patch_passes_and_a_negative_number_does_not():
    assert not refusals({"train_num_workers": "6"})
    (refusal,) = refusals({"train_num_workers": "-3"})
    assert refusal == (
        'train_num_workers: "-3" (ConfigMap instructlab-pipeline-params) is not above 0; '
        "valid: an integer above 0, such as 4"
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_written_down_passes_once_the_required_values_are_filled_in(profile):
    texts = configmap.texts_of(resolve_layers(profile, []))
    required = {name for name, parameter in PARAMETERS.items() if parameter.required}
    assert {message.split(":")[0] for message in refusals(texts)} == required
    filled = {"sdg_base_model": "s3://b12/m", "sdg_repo_url": "https://host/t", "output_oci_model_uri": "quay.io/o/m:1"}
    assert not refusals({**texts, **filled})


def test_an_unknown_name_is_refused_and_a_secret_is_told_where_it_belongs():
    assert refusals({"sdg_batchsize": "4"}) == [
        "sdg_batchsize (ConfigMap instructlab-pipeline-params) is not a parameter"
    ]
    assert refusals({"openai_api_key": "x"}) == complaints({"openai_api_key": "x"})


def test_binary_data_is_refused():
    (message,) = DENY.refusals({"metadata": {}, "binaryData": {"a": "AA=="}})
    assert "binaryData" in message


def test_a_configmap_without_data_passes():
    assert not DENY.refusals({"metadata": {"name": "params"}})


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_other_names_are_held_to_the_same_rules(alias, name):
    bad = next(iter(TABLE["bad"][name])) or " "
    assert refusals({alias: bad})[0].startswith(f"{name}: ")
    assert f"(ConfigMap instructlab-pipeline-params as {alias})" in refusals({alias: bad})[0]


def test_one_parameter_under_two_names_must_have_one_value():
    data = {"train_epochs_phase_1": "3", "train_num_epochs_phase_1": "4"}
    assert refusals(data) == complaints(data)
    assert not refusals({**data, "train_num_epochs_phase_1": " 3"})


def test_passwords_are_not_repeated():
    for name, text in [
        ("sdg_repo_url", "https://user:hunter2@github.com/org/taxonomy"),
        ("sdg_repo_url", "https://hunter2@github.com/org/taxonomy"),
        ("sdg_repo_url", "https://github.com/org/taxonomy?token=hunter2"),
        ("output_oci_model_uri", "user:hunter2@quay.io/org/model"),
        ("sdg_base_model", "s3://key:hunter2@bucket/prefix"),
        ("sdg_teacher_endpoint", "https://host/v1#hunter2"),
    ]:
        assert refusals({name: text}) == complaints({name: text})
        assert "hunter2" not in refusals({name: text})[0]


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(["train_num_workers", "train_learning_rate", "sdg_quality_threshold", "k8s_storage_size"]),
    text=st.text("0123456789.-+eEGMKkmi ", max_size=8),
)
def test_any_number_like_text_gets_the_same_verdict(name, text):
    assert bool(refusals({name: text})) == bool(complaints({name: text}))


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(["sdg_base_model", "sdg_repo_url", "output_oci_model_uri", "k8s_storage_class_name"]),
    start=st.sampled_from(["", "s3://", "https://", "git@", "quay.io/", "oci:", "file:", "ssh://"]),
    text=st.text("abA0./:@-_?# ", max_size=8),
)
def test_any_address_like_text_gets_the_same_verdict(name, start, text):
    assert bool(refusals({name: start + text})) == bool(complaints({name: start + text}))


WORDS = st.sampled_from(
    ["gpu", "a b", "", "nvidia.com/gpu", "Exists", "NoExecute", "x/y/z", "1", "4Gi", "500m", "0", "120", "1.5", "A_b.c"]
)
SCALARS = st.none() | st.booleans() | st.integers(-5, 10**6) | st.floats(allow_nan=False, allow_infinity=False) | WORDS
TOLERATIONS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["key", "operator", "value", "effect", "tolerationSeconds", "values"], SCALARS)
)
RESOURCES = st.sampled_from(["cpu", "memory", "hugepages-2Mi", "nvidia.com/gpu", "gpu", "limits", "kubernetes.io/x"])


@settings(max_examples=150, deadline=None)
@given(
    chosen=st.tuples(st.just("k8s_node_selector"), st.dictionaries(WORDS, SCALARS, max_size=3) | SCALARS)
    | st.tuples(st.just("k8s_tolerations"), st.lists(TOLERATIONS | SCALARS, max_size=3) | TOLERATIONS)
    | st.tuples(st.just("k8s_worker_resources"), st.dictionaries(RESOURCES | WORDS, SCALARS, max_size=3)),
    indent=st.sampled_from([None, 1]),
)
def test_any_flat_json_gets_the_same_verdict(chosen, indent):
    name, value = chosen
    text = json.dumps(value, indent=indent)
    assert bool(refusals({name: text})) == bool(complaints({name: text}))


def test_a_long_text_is_cut_where_the_command_line_cuts_it():
    for length in (117, 118, 119, 120, 200):
        assert refusals({"train_num_workers": "x" * length}) == complaints({"train_num_workers": "x" * length})


RANDOM_SETS = st.fixed_dictionaries(
    {
        "sdg_base_model": st.from_regex(r"s3://[a-z0-9]{3,20}(/[a-z0-9-]{1,9}){0,3}", fullmatch=True),
        "sdg_repo_url": st.from_regex(r"https://[a-z]{1,9}\.example/[a-z]{1,9}", fullmatch=True),
        "output_oci_model_uri": st.from_regex(r"quay\.io/[a-z]{1,9}/[a-z]{1,9}:[0-9]", fullmatch=True),
    },
    optional={
        "train_num_workers": st.integers(1, 10**15).map(str),
        "train_learning_rate": st.floats(1e-300, 1e300).map(repr),
        "eval_quality_threshold": st.floats(0, 1).map(repr),
        "k8s_storage_size": st.integers(1, 10**6).map("{}Mi".format),
        "k8s_node_selector": st.dictionaries(
            st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.from_regex(r"[a-z0-9]{0,9}", fullmatch=True)
        ).map(json.dumps),
        "k8s_worker_resources": st.fixed_dictionaries(
            {"cpu": st.integers(1, 99), "memory": st.integers(1, 999).map("{}Gi".format)}
        ).map(json.dumps),
        "k8s_tolerations": st.lists(
            st.fixed_dictionaries(
                {"key": st.from_regex(r"[a-z]{1,9}", fullmatch=True), "operator": st.just("Exists")},
                optional={"effect": st.sampled_from(["NoSchedule", "NoExecute"])},
            ),
            max_size=4,
        ).map(json.dumps),
        "output_save_checkpoints": st.sampled_from(["true", "false"]),
    },
)


@settings(max_examples=40, deadline=None)
@given(chosen=RANDOM_SETS, profile=st.sampled_from(PROFILES))
def test_any_set_of_valid_parameters_makes_a_configmap_that_kubernetes_and_the_policy_take(chosen, profile):
    resolved = resolve_layers(profile, [configmap.layer(chosen, policy.ORIGIN)])
    assert not resolved.faults
    manifest = configmap.manifest(configmap.texts_of(resolved))
    kubernetes_validate.validate(manifest, "1.32", strict=True)
    assert not refusals(manifest["data"])


NOTICED = [
    {"output_oci_model_uri": "quay.io/org/model"},
    {"output_oci_model_uri": "localhost:5000/model"},
    {"output_oci_model_uri": "oci:runs/image"},
    {"output_oci_model_uri": "quay.io/org/model:1"},
    {"output_checkpoint_frequency": "2"},
    {"output_checkpoint_frequency": "11", "output_save_checkpoints": "true"},
    {"output_metrics_format": "csv", "output_save_metrics": "false"},
    {"train_learning_rate": "0.0001", "train_learning_rate_phase_1": "1e-5", "train_learning_rate_phase_2": "1e-6"},
    {"output_registry_insecure": "true", "output_oci_model_uri": "oci:runs/image:1"},
    {"output_registry_insecure": "true", "output_oci_model_uri": "quay.io/org/model:1"},
    {"k8s_worker_resources": '{"cpu":"2"}'},
    {"k8s_worker_resources": '{"memory":"64Gi"}', "train_memory_per_worker": "96Gi"},
    {"k8s_worker_resources": '{"cpu":"4000m","memory":"122880Mi"}'},
    {"k8s_worker_resources": '{"cpu":2,"memory":"64Gi"}', "train_cpu_limit": "2", "train_memory_per_worker": "64Gi"},
]


@pytest.mark.parametrize("changes", NOTICED, ids=" ".join)
def test_what_the_command_line_notices_the_api_server_warns_of(changes):
    required = {"sdg_base_model": "s3://bucket/m", "output_oci_model_uri": "quay.io/org/model:1"}
    data = {**configmap.texts_of(resolve_layers("dev", [])), **required, **changes}
    layer = configmap.chosen(configmap.layer(data, policy.ORIGIN), "dev")
    assert WARN.refusals({"data": data}) == list(resolve_layers("dev", [layer]).notices)


@pytest.mark.parametrize("manifest", [policy.policy(), policy.advice(), *policy.bindings()])
def test_the_policy_is_one_that_kubernetes_knows(manifest):
    kubernetes_validate.validate(manifest, "1.32", strict=True)


def test_the_policy_looks_at_configmaps_of_one_name_only():
    (rule,) = policy.policy()["spec"]["matchConstraints"]["resourceRules"]
    assert rule["resourceNames"] == ["instructlab-pipeline-params"]
    assert rule["resources"] == ["configmaps"]


def test_every_kind_of_value_has_a_rule():
    assert {(parameter.kind.name, parameter.kind.valid) for parameter in PARAMETERS.values()} <= set(FAULTS)


def test_every_parameter_has_a_variable():
    variables = {each["name"] for each in policy.policy()["spec"]["variables"]}
    assert set(PARAMETERS) | set(ALIASES) <= variables
