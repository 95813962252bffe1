"""What `deploy/` holds: made from the table, valid, and put together by kustomize as its users would."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from instructlab_pipeline.cli.kube import kube
from instructlab_pipeline.kube import configmap
from instructlab_pipeline.kube.access import PERMISSIONS
from instructlab_pipeline.kube.manifests import files
from instructlab_pipeline.params.layers import resolve_layers
from instructlab_pipeline.params.table import PARAMETERS, PROFILES

DEPLOY = Path(__file__).parents[3] / "deploy"
PAGE = DEPLOY.parent / "docs" / "kubernetes.md"
FILES = files()
NOT_IN_CORE = {"Kustomization", "Component", "DataSciencePipelinesApplication", "ServiceMonitor"}
EXCERPTS = {
    "dev": ["sdg_batch_size=16", "sdg_num_workers=4", "train_num_workers=2", "train_memory_per_worker=120Gi"],
    "prod": ["sdg_batch_size=32", "sdg_num_workers=8", "train_num_workers=4", "train_memory_per_worker=200Gi"],
}


def kustomize():
    """The command that builds a folder; None where there is none, or one from before kustomize 4."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if not shutil.which("kubectl"):
        return None
    told = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, timeout=300, check=False)
    return ["kubectl", "kustomize"] if "Kustomize Version" in told.stdout else None


KUSTOMIZE = kustomize()
needs_kustomize = pytest.mark.skipif(KUSTOMIZE is None, reason="neither kustomize nor a kubectl with it is installed")


def loaded(name):
    return yaml.safe_load(FILES[name])


def built(folder):
    """What `kubectl apply -k` would send, by kind and name."""
    done = subprocess.run([*KUSTOMIZE, str(folder)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(done.stdout)}


@pytest.fixture
def deploy(tmp_path):
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    return tmp_path / "deploy"


def test_the_folder_is_what_the_program_makes():
    made = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}
    assert {name for name in made if not name.startswith("image/")} == set(FILES), "run `make docs`"
    for name, text in FILES.items():
        assert (DEPLOY / name).read_text(encoding="utf-8") == text, f"{name} is not up to date: run `make docs`"


def test_the_command_writes_them_where_it_is_told(tmp_path):
    done = CliRunner().invoke(kube, ["manifests", "--output", str(tmp_path / "deploy")])
    assert done.exit_code == 0, done.output
    assert {str(path.relative_to(tmp_path / "deploy")) for path in tmp_path.rglob("*") if path.is_file()} == set(FILES)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".yaml")])
def test_every_manifest_is_one_that_kubernetes_knows(name):
    manifest = loaded(name)
    if manifest["kind"] not in NOT_IN_CORE:
        kubernetes_validate.validate(manifest, "1.32", strict=True)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_overlay_lists_every_parameter_of_its_environment(profile):
    (generator,) = loaded(f"overlays/{profile}/kustomization.yaml")["configMapGenerator"]
    assert generator["name"] == "instructlab-pipeline-params"
    assert generator["behavior"] == "merge"
    texts = dict(literal.split("=", 1) for literal in generator["literals"])
    assert texts == configmap.texts_of(resolve_layers(profile, []))
    both = ["k8s_storage_class_name=gp3-csi", "train_gpu_identifier=nvidia.com/gpu"]
    assert {*EXCERPTS[profile], *both} <= set(generator["literals"])


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith("kustomization.yaml")])
def test_what_a_kustomization_lists_is_there(name):
    listed = loaded(name)
    generated = [file for generator in listed.get("configMapGenerator", ()) for file in generator.get("files", ())]
    for place in (*listed["resources"], *generated):
        assert (DEPLOY / name).parent.joinpath(place).exists()


@needs_kustomize
@pytest.mark.parametrize("profile", PROFILES)
def test_the_built_configmap_has_no_hash_in_its_name_so_that_it_can_be_patched(profile):
    made = built(DEPLOY / "overlays" / profile)
    config_map = made["ConfigMap", "instructlab-pipeline-params"]
    assert config_map["metadata"]["namespace"] == "data-science-project"
    assert set(config_map["data"]) == set(PARAMETERS)
    for manifest in made.values():
        kubernetes_validate.validate(manifest, "1.32", strict=True)


@needs_kustomize
def test_a_copied_overlay_with_other_literals_just_works(deploy):
    shutil.copytree(deploy / "overlays" / "dev", deploy / "overlays" / "lab")
    file = deploy / "overlays" / "lab" / "kustomization.yaml"
    text = file.read_text().replace("train_num_workers=2", "train_num_workers=6")
    file.write_text(text.replace("data-science-project", "lab"))
    made = built(file.parent)
    assert made["ConfigMap", "instructlab-pipeline-params"]["data"]["train_num_workers"] == "6"
    assert {each["metadata"]["namespace"] for each in made.values()} == {"lab"}
    subjects = made["RoleBinding", "instructlab-pipeline"]["subjects"]
    assert {each["name"]: each["namespace"] for each in subjects} == {
        "instructlab-pipeline": "lab",
        "pipeline-runner-dspa": "lab",
    }


@needs_kustomize
def test_the_specification_s_excerpt_alone_is_an_overlay(deploy):
    folder = deploy / "overlays" / "excerpt"
    folder.mkdir()
    generator = {"name": "instructlab-pipeline-params", "behavior": "merge", "literals": EXCERPTS["prod"]}
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["../../base"], "configMapGenerator": [generator]})
    )
    data = built(folder)["ConfigMap", "instructlab-pipeline-params"]["data"]
    assert data == dict(literal.split("=") for literal in EXCERPTS["prod"])


@needs_kustomize
def test_the_page_s_monitoring_can_be_added_to_an_overlay(deploy):
    (excerpt,) = re.findall(r"^```yaml\n(components:.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    file = deploy / "overlays" / "dev" / "kustomization.yaml"
    file.write_text(file.read_text() + excerpt.replace("REGISTRY", "registry.example.com/team"))
    (container,) = built(file.parent)["Deployment", "instructlab-pipeline-metrics"]["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"].startswith("registry.example.com/team/instructlab-pipeline:")


@needs_kustomize
def test_components_can_be_added_to_an_overlay_and_find_one_another(deploy):
    file = deploy / "overlays" / "dev" / "kustomization.yaml"
    file.write_text(file.read_text() + "components: [../../components/monitoring, ../../components/pipelines-server]\n")
    made = built(file.parent)
    name = "instructlab-pipeline-metrics"
    labels = made["Service", name]["metadata"]["labels"]
    assert made["ServiceMonitor", name]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    pods = made["Deployment", name]["spec"]["template"]["metadata"]["labels"]
    assert made["Service", name]["spec"]["selector"].items() <= pods.items()
    assert json.loads(made["ConfigMap", "instructlab-pipeline-dashboard"]["data"]["dashboard.json"])["panels"]
    assert ("DataSciencePipelinesApplication", "dspa") in made


@needs_kustomize
def test_the_admission_policy_is_built_without_a_namespace():
    assert not any("namespace" in each["metadata"] for each in built(DEPLOY / "admission-policy").values())


def test_the_secrets_templates_have_the_names_of_the_parameters_and_no_values():
    names = ("sdg_teacher_secret", "eval_judge_secret", "output_oci_registry_secret", "sdg_repo_secret", "s3_secret")
    for parameter in (*names, "output_signing_secret"):
        secret = loaded(f"secrets/{PARAMETERS[parameter].defaults['dev']}.yaml")
        assert secret["kind"] == "Secret"
        assert set(secret["stringData"].values()) <= {"", '{"auths":{}}'}


def test_the_s3_secret_has_the_form_of_openshift_ai_s_connections():
    secret = loaded("secrets/s3-connection.yaml")
    assert secret["metadata"]["labels"] == {"opendatahub.io/dashboard": "true"}
    assert secret["metadata"]["annotations"]["opendatahub.io/connection-type"] == "s3"
    assert set(secret["stringData"]) == {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_S3_ENDPOINT",
        "AWS_S3_BUCKET",
        "AWS_DEFAULT_REGION",
    }


def test_the_role_allows_no_more_than_the_permissions_that_are_asked_for():
    rules = loaded("base/role.yaml")["rules"]
    assert len(rules) == len(PERMISSIONS)
    everything = {each for rule in rules for key in ("apiGroups", "resources", "verbs") for each in rule[key]}
    assert "*" not in everything
    assert "secrets" not in everything
    assert "pods/exec" not in everything


def test_no_pod_of_ours_gets_a_token_that_it_does_not_need():
    assert not loaded("base/service-account.yaml")["automountServiceAccountToken"]
    assert not loaded("components/monitoring/deployment.yaml")["spec"]["template"]["spec"][
        "automountServiceAccountToken"
    ]


def test_the_pods_of_a_run_are_reached_by_one_another_only():
    spec = loaded("base/network-policy.yaml")["spec"]
    (ingress,) = spec["ingress"]
    assert ingress["from"] == [{"podSelector": spec["podSelector"]}]
