"""The ConfigMap on a cluster: the specification's patch, `params patch`, and `--from-configmap`, over real HTTP."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from instructlab_pipeline.cli.params import params
from instructlab_pipeline.errors import ParameterError, ServiceError, UsageError
from instructlab_pipeline.kube import configmap_live, policy
from instructlab_pipeline.kube.connection import connected
from servers.admission import Policy
from servers.config_map_api import ConfigMapApi

KEY = "data-science-project/instructlab-pipeline-params"
NAME = "instructlab-pipeline-params"
SPECIFIED_PATCH = (
    "oc patch configmap instructlab-pipeline-params -n data-science-project --type merge "
    """-p '{"data":{"train_num_workers":"6"}}'"""
)


@pytest.fixture
def api(monkeypatch, tmp_path):
    with ConfigMapApi({KEY: {"train_num_workers": "2", "k8s_storage_size": "50Gi"}}) as server:
        monkeypatch.setenv("KUBECONFIG", server.kubeconfig(tmp_path))
        yield server


def call(*arguments):
    return CliRunner().invoke(params, arguments)


def shown(*arguments):
    done = call("show", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_patch_shows_old_and_new_and_the_server_has_it(api):
    done = call("patch", "train_num_workers=6", "sdg_batch_size=8")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "train_num_workers: 2 -> 6",
        "sdg_batch_size: (not there) -> 8",
        "changed ConfigMap instructlab-pipeline-params in data-science-project",
    ]
    assert api.config_maps[KEY] == {"train_num_workers": "6", "sdg_batch_size": "8", "k8s_storage_size": "50Gi"}


def test_a_patch_is_the_merge_patch_of_the_specification(api):
    call("patch", "train_num_workers=6")
    method, path, content_type, body = api.requests[-1]
    assert (method, path) == ("PATCH", f"/api/v1/namespaces/data-science-project/configmaps/{NAME}")
    assert content_type == "application/merge-patch+json"
    assert json.loads(body) == {"data": {"train_num_workers": "6"}}


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_the_specification_s_own_patch_takes_effect_in_what_is_read_next(api, tmp_path):
    api.anonymous = True
    assert SPECIFIED_PATCH in (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    command = ["kubectl", *shlex.split(SPECIFIED_PATCH)[1:]]
    environment = {
        "KUBECONFIG": api.kubeconfig(tmp_path),
        "HOME": str(tmp_path),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    values = shown("--from-configmap", NAME)
    assert values["train_num_workers"] == {"value": 6, "origin": f"ConfigMap {NAME}"}


def test_nonsense_is_refused_before_the_cluster_is_asked(api):
    done = call("patch", "train_num_workers=-3", "sdg_batchsize=4")
    assert isinstance(done.exception, ParameterError)
    assert done.exception.complaints == (
        'train_num_workers: "-3" (command line) is not above 0; valid: an integer above 0, such as 4',
        "sdg_batchsize (command line) is not a parameter; did you mean sdg_batch_size",
    )
    assert not api.requests


def test_a_change_without_an_equals_sign_is_refused(api):
    assert isinstance(call("patch", "train_num_workers").exception, UsageError)


def test_a_patch_that_has_no_effect_gets_a_note(api):
    api.config_maps[KEY]["output_save_checkpoints"] = "false"
    done = call("patch", "output_checkpoint_frequency=2")
    assert done.exit_code == 0
    assert "note: output_checkpoint_frequency=2 (ConfigMap" in done.stderr
    assert "has no effect" in done.stderr
    assert not call("patch", "train_num_workers=6").stderr


def test_whoever_does_not_check_first_hears_the_policy_s_sentence_from_the_api_server(api):
    api.admit = Policy(policy.policy()).refusals
    with pytest.raises(UsageError) as raised:
        configmap_live.patch(connected(), NAME, "data-science-project", {"train_num_workers": "-3"})
    assert raised.value.message.endswith(
        f'denied request: train_num_workers: "-3" (ConfigMap {NAME}) is not above 0; '
        "valid: an integer above 0, such as 4"
    )
    configmap_live.patch(connected(), NAME, "data-science-project", {"train_num_workers": "6"})
    assert api.config_maps[KEY]["train_num_workers"] == "6"


def test_a_dry_run_lets_the_server_check_and_keeps_nothing(api):
    done = call("patch", "train_num_workers=6", "--dry-run")
    assert done.stdout.splitlines()[0] == "train_num_workers: 2 -> 6"
    assert "would change" in done.stdout
    assert api.requests[-1][1].endswith("?dryRun=All")
    assert api.config_maps[KEY]["train_num_workers"] == "2"


def test_another_namespace_and_another_name_can_be_patched(api):
    api.config_maps["lab/own"] = {}
    call("patch", "-n", "lab", "--configmap", "own", "train_num_workers=1")
    assert api.config_maps["lab/own"] == {"train_num_workers": "1"}


def test_what_the_server_s_policy_refuses_is_told_in_its_words(api):
    api.admit = lambda _config_map: ["train_num_workers: too many for this project"]
    error = call("patch", "train_num_workers=6").exception
    assert isinstance(error, UsageError)
    assert error.message.endswith("denied request: train_num_workers: too many for this project")
    assert api.config_maps[KEY]["train_num_workers"] == "2"


def test_the_live_configmap_is_a_layer_below_the_environment(api, monkeypatch):
    monkeypatch.setenv("K8S_STORAGE_SIZE", "70Gi")
    values = shown("--from-configmap", f"data-science-project/{NAME}", "--sdg_batch_size", "3")
    assert values["train_num_workers"]["origin"] == f"ConfigMap {NAME}"
    assert values["k8s_storage_size"] == {"value": "70Gi", "origin": "environment K8S_STORAGE_SIZE"}
    assert values["sdg_batch_size"]["value"] == 3


def test_wrong_values_in_the_live_configmap_are_complaints_that_name_it(api):
    api.config_maps[KEY] = {"train_num_workers": "many", "no_such": "1"}
    error = call("show", "--from-configmap", NAME).exception
    assert isinstance(error, ParameterError)
    assert f'train_num_workers: "many" (ConfigMap {NAME}) is not an integer' in error.message
    assert f"no_such (ConfigMap {NAME}) is not a parameter" in error.message


def test_a_configmap_that_is_not_there_is_a_usage_error_with_its_name(api):
    error = call("show", "--from-configmap", "lab/other").exception
    assert isinstance(error, UsageError)
    assert "/api/v1/namespaces/lab/configmaps/other" in error.message
    assert "not found" in error.message


def test_whoever_is_not_logged_in_is_told_so(api, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig(tmp_path, token="old"))
    error = call("patch", "train_num_workers=6").exception
    assert isinstance(error, UsageError)
    assert "not allowed" in error.message


def test_an_api_server_that_fails_is_a_service_error(api):
    api.broken = True
    assert isinstance(call("patch", "train_num_workers=6").exception, ServiceError)


def test_an_api_server_that_is_away_is_a_service_error(api, monkeypatch, tmp_path):
    api.port = 9
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig(tmp_path))
    error = call("patch", "train_num_workers=6").exception
    assert isinstance(error, ServiceError)
    assert "does not answer" in error.message


def test_without_a_cluster_the_error_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    error = call("patch", "train_num_workers=6").exception
    assert isinstance(error, UsageError)
    assert "oc login" in error.remedy
