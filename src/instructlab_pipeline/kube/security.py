"""What every pod of ours is held to: the "restricted" pod security standard, and a user without name or home.

OpenShift runs a pod as a random user of group 0, whose home cannot be written and who is in no passwd file. So whatever
writes (homes, caches, temporary files) is pointed to the scratch volume, the root file system is read-only, and the
user gets a name. No user id is asked for here: OpenShift refuses one outside of its range; elsewhere the image's is
taken. Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/, restricted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

SCRATCH = "/scratch"
SCRATCH_VOLUME = "scratch"
TEMPORARY_VOLUME = "temporary"

POD_CONTEXT: Mapping[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_CONTEXT: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# Where a program that asks for a home, a cache or its user's name is led; USER is what Python's getpass reads.
ENVIRONMENT: Mapping[str, str] = {
    "HOME": SCRATCH,
    "HF_HOME": f"{SCRATCH}/.cache/huggingface",
    "TORCHINDUCTOR_CACHE_DIR": f"{SCRATCH}/.cache/inductor",
    "TRITON_CACHE_DIR": f"{SCRATCH}/.cache/triton",
    "USER": "instructlab",
    "XDG_CACHE_HOME": f"{SCRATCH}/.cache",
}


def hardened(
    pod: Mapping[str, Any], *, scratch: Mapping[str, Any], talks_to_kubernetes: bool = False
) -> dict[str, Any]:
    """A pod's spec held to all of this; what it says itself of environment, mounts and volumes stays in front.

    scratch: the source of the scratch volume, as `scratch_source` makes it.
    talks_to_kubernetes: only then does the pod get its service account's token.
    """
    volumes = [{"name": SCRATCH_VOLUME, **scratch}, {"name": TEMPORARY_VOLUME, "emptyDir": {}}]
    containers = {
        name: [_contained(each) for each in pod[name]] for name in ("initContainers", "containers") if name in pod
    }
    return {
        **pod,
        **containers,
        "automountServiceAccountToken": talks_to_kubernetes,
        "securityContext": {**pod.get("securityContext", {}), **POD_CONTEXT},
        "volumes": _joined(pod.get("volumes", ()), volumes),
    }


def scratch_source(storage_class: str, size: str) -> dict[str, Any]:
    """A generic ephemeral volume: made with its pod, gone with it, so that no claim is ever left behind."""
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "storageClassName": storage_class,
    }
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


def environment() -> list[dict[str, str]]:
    """`ENVIRONMENT` as a container has it."""
    return [{"name": name, "value": value} for name, value in ENVIRONMENT.items()]


def _contained(container: Mapping[str, Any]) -> dict[str, Any]:
    mounts = [{"name": SCRATCH_VOLUME, "mountPath": SCRATCH}, {"name": TEMPORARY_VOLUME, "mountPath": "/tmp"}]  # noqa: S108 - a volume of its own
    return {
        **container,
        "env": _joined(container.get("env", ()), environment()),
        "securityContext": dict(CONTAINER_CONTEXT),
        "volumeMounts": _joined(container.get("volumeMounts", ()), mounts),
    }


def _joined(own: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Both lists of named things; where both have a name, `own` has it."""
    taken = {each["name"] for each in own}
    return [*map(dict, own), *(dict(each) for each in ours if each["name"] not in taken)]
