"""`doctor` against servers that are well, and against what is wrong with them."""

import json
from base64 import b64encode
from pathlib import Path

import pytest

from servers.command import command
from servers.kube_api import TRAINING, KubeApi
from servers.small_world import TEACHER_KEY, small_world
from servers.teacher_server import MODEL

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with small_world(tmp_path_factory.mktemp("world")) as servers:
        yield servers


def secrets(world):
    """Name -> type and data, of the secrets that open the world."""
    given = world.environment
    s3 = {name: value for name, value in given.items() if name.startswith("AWS_")}
    teacher = {"api_token": f"{TEACHER_KEY}\n", "model_name": MODEL, "endpoint": world.teacher.url}
    login = {".dockerconfigjson": Path(given["REGISTRY_AUTH_FILE"]).read_text()}
    return {
        "s3-connection": ("Opaque", s3),
        "teacher-secret": ("Opaque", teacher),
        "oci-registry-secret": ("kubernetes.io/dockerconfigjson", login),
        "taxonomy-repo-secret": ("kubernetes.io/ssh-auth", {"ssh-privatekey": "key"}),
    }


@pytest.fixture
def cluster(world):
    """Everything that a run asks of a cluster."""
    with KubeApi() as api:
        api.put("storageclasses", "gp3-csi", provisioner="ebs.csi.aws.com", volumeBindingMode="WaitForFirstConsumer")
        api.put("serviceaccounts", "pipeline-runner-dspa")
        api.put("configmaps", "instructlab-pipeline-params", data={})
        for number in range(2):
            api.put("nodes", f"node-{number}", status={"allocatable": {"nvidia.com/gpu": "2"}}, spec={})
        for name, (kind, data) in secrets(world).items():
            encoded = {key: b64encode(text.encode()).decode() for key, text in data.items()}
            api.put("secrets", name, type=kind, data=encoded)
        yield api


def doctor(world, *words, **changed):
    done = command("doctor", "--json", *words, folder=world.folder, environment={**world.environment, **changed})
    return done, {each["name"]: each for each in json.loads(done.stdout)["checks"]}


def test_a_world_that_is_well_has_no_failure_and_nothing_is_spent(world):
    asked = len(world.teacher.requests)
    done, found = doctor(world, "--run-dir", "s3://models/runs/one")
    assert done.returncode == 0, done.stderr
    assert {each["status"] for each in found.values()} <= {"ok", "warn"}
    assert {"base model", "taxonomy", "teacher", "judge", "registry", "run folder"} <= set(found)
    assert [request for request in world.teacher.requests[asked:] if "messages" in request] == []
    assert not [secret for secret in world.secrets if secret in done.stdout + done.stderr]


def test_everything_that_is_wrong_is_said_at_once_with_what_to_do(world):
    wrong = {
        "SDG_BASE_MODEL": "s3://models/nothing",
        "SDG_TEACHER_ENDPOINT": "http://127.0.0.1:9/v1",
        "REGISTRY_AUTH_FILE": "/nowhere",
    }
    done, found = doctor(world, **wrong)
    assert done.returncode == 3
    failed = {name for name, each in found.items() if each["status"] == "fail"}
    assert failed == {"base model", "teacher", "judge", "registry"}
    assert all(found[name]["remedy"] for name in failed)


def test_a_cluster_that_has_everything_is_well(world, cluster):
    done, found = doctor(world, "--cluster", KUBECONFIG=cluster.kubeconfig(world.folder))
    assert done.returncode == 0, done.stderr
    assert found["training API"]["told"] == "TrainJob (trainer.kubeflow.org/v1alpha1)"
    assert "WaitForFirstConsumer; its driver gives ReadWriteOnce;" in found["storage class"]["told"]
    assert found["eval_judge_secret"]["status"] == "warn"
    assert found["permissions"]["told"].startswith("pipeline-runner-dspa has all")
    assert found["cluster"]["told"].startswith("Kubernetes v1.32.0 at http://127.0.0.1:")
    assert not [secret for secret in world.secrets if secret in done.stdout + done.stderr]


def test_a_cluster_s_secrets_open_what_its_pods_will_ask(world, cluster):
    kept = {name: world.environment[name] for name in ("SDG_BASE_MODEL", "SDG_REPO_URL", "OUTPUT_OCI_MODEL_URI")}
    given = {**kept, "OUTPUT_REGISTRY_INSECURE": "true", "KUBECONFIG": cluster.kubeconfig(world.folder)}
    words = ("doctor", "--cluster", "--run-dir", "s3://models/runs/one", "--json")
    done = command(*words, folder=world.folder, environment=given)
    found = {each["name"]: each["status"] for each in json.loads(done.stdout)["checks"]}
    assert {found[name] for name in ("base model", "teacher", "judge", "registry", "run folder")} == {"ok"}
    assert not [secret for secret in world.secrets if secret in done.stdout + done.stderr]


def test_what_a_cluster_lacks_is_named(world, cluster):
    cluster.served = {"v1", "storage.k8s.io/v1", "authorization.k8s.io/v1"}
    account = "system:serviceaccount:data-science-project:pipeline-runner-dspa"
    cluster.forbidden_to[account] = {("create", "pytorchjobs"), ("get", "pods/log")}
    del cluster.objects["storageclasses", "gp3-csi"]
    cluster.objects["secrets", "s3-connection"]["data"]["AWS_S3_ENDPOINT"] = ""
    cluster.objects["secrets", "oci-registry-secret"]["type"] = "Opaque"
    given = {"KUBECONFIG": cluster.kubeconfig(world.folder), "TRAIN_NUM_WORKERS": "5", "K8S_TRAINING_API": "pytorchjob"}
    done, found = doctor(world, "--cluster", **given)
    assert done.returncode == 2
    said = {name: each["told"] for name, each in found.items() if each["status"] == "fail"}
    assert "does not serve PyTorchJob" in said["training API"]
    assert "there is no storage class gp3-csi" in said["storage class"]
    assert "room for 4 of 5 pods" in said["cluster GPUs"]
    assert "lacks AWS_S3_ENDPOINT" in said["s3_secret"]
    assert "has type Opaque" in said["output_oci_registry_secret"]
    assert "create pytorchjobs" in said["permissions"]
    assert "get pods/log" in said["permissions"]
    assert TRAINING not in cluster.served


def test_whoever_may_not_ask_for_the_pipeline_s_account_hears_what_they_themselves_may(world, cluster):
    cluster.forbidden = {
        ("create", "localsubjectaccessreviews"),
        ("create", "trainjobs"),
        *(("list", plural) for plural in ("nodes", "serviceaccounts", "persistentvolumes", "resourcequotas")),
        ("get", "storageclasses"),
        ("get", "secrets"),
    }
    done, found = doctor(world, "--cluster", KUBECONFIG=cluster.kubeconfig(world.folder))
    assert done.returncode == 0, done.stderr
    assert "you lack create trainjobs" in found["permissions"]["told"]
    assert "--as system:serviceaccount:data-science-project:pipeline-runner-dspa" in found["permissions"]["remedy"]
    asked = {name for name, each in found.items() if each["status"] == "warn"}
    assert {"permissions", "cluster GPUs", "storage class", "s3_secret"} <= asked


def test_gpus_count_where_pods_may_run_and_a_quota_lets_them(world, cluster):
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    cluster.put("nodes", "node-0", spec={"taints": [taint]})
    cluster.put("nodes", "node-1", spec={"unschedulable": True})
    at = {"KUBECONFIG": cluster.kubeconfig(world.folder), "TRAIN_NUM_WORKERS": "2"}
    _, found = doctor(world, "--cluster", **at)
    assert found["cluster GPUs"]["told"].startswith("0 nodes have room for 0 of 2 pods with 1 x nvidia.com/gpu; 2 more")
    tolerated = {"K8S_TOLERATIONS": '[{"key":"gpu","operator":"Exists"}]'}
    _, found = doctor(world, "--cluster", **at, **tolerated)
    assert found["cluster GPUs"]["status"] == "ok"
    _, found = doctor(world, "--cluster", **at, **tolerated, TRAIN_GPUS_PER_WORKER="3", K8S_TRAINING_API="none")
    assert "room for 1 of 1 pods with 2 x" in found["cluster GPUs"]["told"]
    key = "requests.nvidia.com/gpu"
    cluster.put("resourcequotas", "compute", status={"hard": {key: "4"}, "used": {key: "3"}})
    _, found = doctor(world, "--cluster", **at, **tolerated)
    assert found["cluster GPUs"]["told"] == "quota compute leaves 1 of 2 x nvidia.com/gpu"


def test_the_access_modes_of_a_class_are_those_of_its_volumes(world, cluster):
    spec = {"storageClassName": "gp3-csi", "accessModes": ["ReadWriteOncePod"]}
    cluster.put("persistentvolumes", "volume-1", spec=spec)
    cluster.put("persistentvolumes", "volume-2", spec={**spec, "storageClassName": "other", "accessModes": ["x"]})
    _, found = doctor(world, "--cluster", KUBECONFIG=cluster.kubeconfig(world.folder))
    assert "its volumes here have ReadWriteOncePod;" in found["storage class"]["told"]
