"""Every pod is held to the restricted standard, whatever it says itself."""

import kubernetes_validate
import pytest

from instructlab_pipeline.kube.security import ENVIRONMENT, SCRATCH, hardened, scratch_source

SCRATCH_50 = scratch_source("gp3-csi", "50Gi")


def pod(**extra):
    container = {"name": "main", "image": "quay.io/org/image:1", **extra}
    return {"containers": [container], "initContainers": [{**container, "name": "first"}]}


def as_manifest(spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}


def test_a_hardened_pod_is_one_that_kubernetes_knows():
    kubernetes_validate.validate(as_manifest(hardened(pod(), scratch=SCRATCH_50)), "1.32", strict=True)


@pytest.mark.parametrize("group", ["containers", "initContainers"])
def test_every_container_drops_all_that_the_restricted_standard_forbids(group):
    (container,) = hardened(pod(securityContext={"privileged": True, "runAsUser": 0}), scratch=SCRATCH_50)[group]
    context = container["securityContext"]
    assert not context["privileged"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["runAsNonRoot"]
    assert context["readOnlyRootFilesystem"]


def test_no_user_is_asked_for_so_that_openshift_gives_a_random_one():
    assert "runAsUser" not in str(hardened(pod(), scratch=SCRATCH_50))


def test_all_that_writes_is_led_to_the_scratch_volume():
    (container,) = hardened(pod(), scratch=SCRATCH_50)["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert {"HOME", "HF_HOME", "XDG_CACHE_HOME", "TRITON_CACHE_DIR"} <= set(variables)
    assert all(value.startswith(SCRATCH) for name, value in variables.items() if name != "USER")
    assert {each["mountPath"] for each in container["volumeMounts"]} == {SCRATCH, "/tmp"}


def test_the_scratch_volume_goes_with_its_pod():
    spec = hardened(pod(), scratch=SCRATCH_50)
    claim = next(each for each in spec["volumes"] if each["name"] == "scratch")["ephemeral"]["volumeClaimTemplate"][
        "spec"
    ]
    assert claim["storageClassName"] == "gp3-csi"
    assert claim["resources"]["requests"]["storage"] == "50Gi"
    assert claim["accessModes"] == ["ReadWriteOnce"]


def test_a_token_is_given_only_to_a_pod_that_talks_to_kubernetes():
    assert not hardened(pod(), scratch=SCRATCH_50)["automountServiceAccountToken"]
    assert hardened(pod(), scratch=SCRATCH_50, talks_to_kubernetes=True)["automountServiceAccountToken"]


def test_a_pod_s_own_environment_and_volumes_stay():
    own = pod(env=[{"name": "HOME", "value": "/own"}], volumeMounts=[{"name": "shm", "mountPath": "/dev/shm"}])
    spec = hardened({**own, "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}]}, scratch=SCRATCH_50)
    (container,) = spec["containers"]
    assert [each["value"] for each in container["env"] if each["name"] == "HOME"] == ["/own"]
    assert len(container["env"]) == len(ENVIRONMENT)
    assert [each["name"] for each in spec["volumes"]] == ["shm", "scratch", "temporary"]


def test_hardening_twice_changes_nothing():
    once = hardened(pod(), scratch=SCRATCH_50)
    assert hardened(once, scratch=SCRATCH_50) == once
