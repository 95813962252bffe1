"""Parameter files in both forms."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.params.files import env_layer, file_layer, yaml_layer
from instructlab_pipeline.params.layers import resolve

SPECIFICATION_EXAMPLE = """\
# Example parameter file: pipeline-parameters.env
SDG_BASE_MODEL="s3://your-bucket/instructlab-base-model"
SDG_REPO_URL="https://github.com/your-organization/taxonomy.git"
OUTPUT_OCI_MODEL_URI="quay.io/your-org/instructlab-model:latest"
TRAIN_NUM_WORKERS="4"
TRAIN_MEMORY_PER_WORKER="200Gi"
"""
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: instructlab-pipeline-params
data:
  k8s_storage_class_name: gp3-csi
  train_gpu_identifier: nvidia.com/gpu
  sdg_batch_size: "32"
  train_num_workers: "6"
"""


def texts(layer):
    assert not layer.complaints
    return {each.name: each.text for each in layer.given}


def test_the_example_of_the_specification_is_valid(tmp_path):
    path = tmp_path / "pipeline-parameters.env"
    path.write_text(SPECIFICATION_EXAMPLE)
    resolved = resolve(files=[str(path)], environment={})
    assert not resolved.complaints
    assert not resolved.notices
    assert resolved.parameters.train_num_workers == 4
    assert resolved.parameters.train_memory_per_worker == "200Gi"
    assert resolved.origins["train_memory_per_worker"] == f"{path}:6"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("SDG_REPO_REVISION=main", "main"),
        ("sdg_repo_revision=main", "main"),
        ("export SDG_REPO_REVISION=main", "main"),
        ("  SDG_REPO_REVISION = main  ", "main"),
        ("SDG_REPO_REVISION=main # the branch", "main"),
        ("SDG_REPO_REVISION=main#1", "main#1"),
        ("SDG_REPO_REVISION='main' # the branch", "main"),
        ('SDG_REPO_REVISION="main"# the branch', "main"),
        ("SDG_REPO_REVISION= # nothing", ""),
        ("SDG_REPO_REVISION=", ""),
        ("SDG_REPO_REVISION=''", ""),
        ("SDG_REPO_REVISION='a $HOME # b'", "a $HOME # b"),
        (r'SDG_REPO_REVISION="{\"a\":\"\$b\"}"', '{"a":"$b"}'),
        (r'SDG_REPO_REVISION="a\nb"', r"a\nb"),
        ('SDG_REPO_REVISION={"cpu":"4","memory":"8Gi"}', '{"cpu":"4","memory":"8Gi"}'),
        ("SDG_REPO_REVISION=a=b", "a=b"),
        ("SDG_REPO_REVISION=main\r", "main"),
    ],
)
def test_a_line_of_an_env_file_is_read_as_shells_and_docker_read_it(line, value):
    assert texts(env_layer(f"\n# comment\n\n{line}\n", "x.env")) == {"sdg_repo_revision": value}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("SDG_BATCH_SIZE", 'is not NAME="value"'),
        ("= 4", 'is not NAME="value"'),
        ("4=SDG_BATCH_SIZE", 'is not NAME="value"'),
        ("set SDG_BATCH_SIZE=4", 'is not NAME="value"'),
        ('SDG_BATCH_SIZE="4', "is not closed"),
        ("SDG_BATCH_SIZE='4", "is not closed"),
        ('SDG_BATCH_SIZE="4" 5', "after the closing quote"),
        ("SDG_BATCH_SIZE=$SIZE", "not expanded"),
        ('SDG_BATCH_SIZE="${SIZE}"', "not expanded"),
        ("SDG_BATCH_SIZE=$(nproc)", "not expanded"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_complaint_with_its_number_and_without_its_text(line, reason):
    layer = env_layer(f"SDG_SCALE_FACTOR=1\n{line}\nSDG_NUM_WORKERS=1\n", "x.env")
    (complaint,) = layer.complaints
    assert complaint.startswith("x.env:2: ")
    assert reason in complaint
    assert line not in complaint
    assert [each.name for each in layer.given] == ["sdg_scale_factor", "sdg_num_workers"]


def quoted(text):
    escaped = "".join(f"\\{letter}" if letter in '"\\$`' else letter for letter in text)
    return f'"{escaped}"'


ONE_LINE = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))


@given(text=ONE_LINE)
def test_any_text_survives_double_quotes(text):
    assert texts(env_layer(f"SDG_TEACHER_MODEL={quoted(text)}\n", "x.env")) == {"sdg_teacher_model": text}


@given(text=ONE_LINE.filter(lambda text: "'" not in text))
def test_any_text_survives_single_quotes(text):
    assert texts(env_layer(f"SDG_TEACHER_MODEL='{text}' # comment\n", "x.env")) == {"sdg_teacher_model": text}


@given(text=st.text())
def test_any_file_is_read_or_complained_about_line_by_line(text):
    for read, name in ((env_layer, "x.env"), (yaml_layer, "x.yaml")):
        layer = read(text, name)
        assert all(complaint.startswith(name) for complaint in layer.complaints)
        assert all("\n" not in complaint for complaint in layer.complaints)


def test_yaml_scalars_are_taken_as_written():
    text = (
        "output_model_version: 1.10\nsdg_quality_threshold: 0.70\noutput_save_checkpoints: TRUE\nSDG_RANDOM_SEED: 010\n"
    )
    assert texts(yaml_layer(text, "x.yaml")) == {
        "output_model_version": "1.10",
        "sdg_quality_threshold": "0.70",
        "output_save_checkpoints": "TRUE",
        "sdg_random_seed": "010",
    }


def test_yaml_may_write_lists_and_mappings_as_such(tmp_path):
    path = tmp_path / "parameters.yaml"
    path.write_text(
        "eval_metrics: [accuracy, f1]\n"
        "k8s_node_selector: {node-role.kubernetes.io/gpu: ''}\n"
        "k8s_tolerations:\n- {key: gpu, effect: NoExecute, tolerationSeconds: 300}\n"
        "sdg_teacher_model:\n"
    )
    resolved = resolve(files=[str(path)], environment={})
    assert not resolved.faults
    assert resolved.values["eval_metrics"] == ("accuracy", "f1")
    assert resolved.values["k8s_node_selector"] == '{"node-role.kubernetes.io/gpu":""}'
    assert resolved.values["k8s_tolerations"] == '[{"key":"gpu","effect":"NoExecute","tolerationSeconds":300}]'
    assert resolved.values["sdg_teacher_model"] is None
    assert resolved.origins["k8s_tolerations"] == f"{path}:3"


def test_a_config_map_gives_its_data():
    layer = yaml_layer(CONFIG_MAP, "configmap.yaml")
    assert texts(layer) == yaml.safe_load(CONFIG_MAP)["data"]
    assert layer.given[-1].origin == "configmap.yaml:9"
    assert not yaml_layer("kind: ConfigMap\n", "configmap.yaml").given


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [1\n", "x.yaml:2: not YAML that can be read"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2: not YAML that can be read"),
        ("- a\n", "x.yaml: a parameter file in YAML is one mapping"),
        ("? [a]\n: b\n", "x.yaml: a parameter file in YAML is one mapping"),
        ("k8s_node_selector: {since: 2026-01-01}\n", "x.yaml: the value that starts in line 1 is not JSON"),
        ("k8s_tolerations: &a [*a]\n", "x.yaml:1: not YAML that can be read"),
        ("k8s_tolerations: !!python/object:os.system [x]\n", "x.yaml:1: not YAML that can be read"),
        ("a: \x00\n", "x.yaml: a control character"),
        ("[" * 100_000, "x.yaml: nested too deeply"),
    ],
)
def test_yaml_that_cannot_be_used_is_a_complaint(text, complaint):
    (said,) = yaml_layer(text, "x.yaml").complaints
    assert said.startswith(complaint)


def test_an_empty_file_gives_nothing():
    assert not yaml_layer("", "x.yaml").given
    assert not env_layer("", "x.env").given


def test_a_name_that_is_twice_in_yaml_with_different_values_is_a_complaint(tmp_path):
    path = tmp_path / "parameters.yml"
    path.write_text("sdg_batch_size: 4\nSDG_BATCH_SIZE: 5\n")
    (fault,) = resolve(files=[str(path)], environment={}).faults
    assert f"({path}:2) contradicts" in fault


def test_a_file_that_cannot_be_read_is_a_complaint_that_names_it(tmp_path):
    binary = tmp_path / "binary.env"
    binary.write_bytes(b"SDG_BATCH_SIZE=\xff\n")
    for path, reason in [
        (str(tmp_path / "missing.env"), "No such file or directory"),
        (str(tmp_path), "Is a directory"),
        (str(binary), "is not text in UTF-8"),
        ("a\x00b.env", "is not a path"),
    ]:
        (complaint,) = file_layer(path).complaints
        assert reason in complaint
        assert repr(path)[1:-1] in complaint


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "windows.env"
    path.write_bytes(b"\xef\xbb\xbfSDG_BATCH_SIZE=4\r\nSDG_NUM_WORKERS=2\r\n")
    assert texts(file_layer(str(path))) == {"sdg_batch_size": "4", "sdg_num_workers": "2"}
