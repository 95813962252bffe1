"""The first step of the pipeline: the cluster's ConfigMap below the run's inputs, and secrets below both."""

import json

import pytest

from instructlab_pipeline.kube import configmap
from instructlab_pipeline.kube.inputs import arguments
from instructlab_pipeline.params.layers import resolve
from servers.command import command
from servers.config_map_api import ConfigMapApi
from servers.s3_server import s3_server

NAME = "instructlab-pipeline-params"
FILLED = {
    "sdg_base_model": "s3://models/base",
    "sdg_repo_url": "https://example.com/taxonomy.git",
    "output_oci_model_uri": "quay.io/team/model:1",
}
# As the step has them, from the secret that sdg_teacher_secret names.
SECRETS = {"SDG_TEACHER_ENDPOINT": "https://teacher.example.com/v1", "SDG_TEACHER_MODEL": "large"}


@pytest.fixture(scope="module")
def bucket():
    with s3_server() as server:
        server.create_bucket("runs")
        yield server


@pytest.fixture
def prepare(bucket, tmp_path):
    """Run the step on the overlay's ConfigMap, in which `changed` was patched, and on inputs at their defaults."""

    def run(*, inputs=(), **changed):
        data = {**configmap.texts_of(resolve(environment={})), **FILLED, **changed}
        values = {**arguments(resolve(environment={})), **dict(inputs)}
        (tmp_path / "inputs.json").write_text(
            json.dumps({name: value for name, value in values.items() if name not in {"run_dir", "params_configmap"}})
        )
        with ConfigMapApi({f"data-science-project/{NAME}": data}) as api:
            environment = {**bucket.environment, **SECRETS, "KUBECONFIG": api.kubeconfig(tmp_path)}
            environment["XDG_CACHE_HOME"] = str(tmp_path / "scratch")
            words = ("--run-dir", "s3://runs/team/one", "--profile", "dev", "--scratch", "gp3-csi 20Gi")
            files = ("--params-configmap", NAME, "--inputs", tmp_path / "inputs.json")
            return command("kube", "prepare", *words, *files, folder=tmp_path, environment=environment)

    return run


def recorded(tmp_path):
    (record,) = (tmp_path / "scratch").rglob("run.json")
    return json.loads(record.read_text())["parameters"]


def test_a_patched_configmap_takes_effect_and_the_secrets_fill_what_it_leaves_empty(prepare, tmp_path):
    done = prepare(train_num_workers="6", output_oci_registry_secret="other-login")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output_oci_registry_secret"] == "other-login"
    found = recorded(tmp_path)
    assert found["train_num_workers"] == {"value": 6, "origin": f"ConfigMap {NAME}"}
    assert found["sdg_teacher_endpoint"]["value"] == SECRETS["SDG_TEACHER_ENDPOINT"]


def test_an_input_wins_over_the_configmap_and_the_configmap_over_the_secret(prepare, tmp_path):
    done = prepare(inputs={"train_num_workers": 3}, train_num_workers="6", sdg_teacher_model="small")
    assert done.returncode == 0, done.stderr
    found = recorded(tmp_path)
    assert (found["train_num_workers"]["value"], found["sdg_teacher_model"]["value"]) == (3, "small")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"train_num_workers": "-3"}, f'train_num_workers: "-3" (ConfigMap {NAME}) is not above 0'),
        ({"k8s_storage_size": "50Gi"}, "50Gi is not what the package was compiled for"),
        ({"s3_secret": "other"}, "s3_secret: other (ConfigMap instructlab-pipeline-params) is not what the pipeline's"),
        ({"sdg_base_model": ""}, "sdg_base_model: missing"),
    ],
)
def test_what_cannot_take_effect_ends_the_run_before_anything_is_spent(prepare, changed, said, tmp_path):
    done = prepare(**changed)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list((tmp_path / "scratch").rglob("run.json"))
