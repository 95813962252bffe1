"""Who the pipeline is on the cluster, what it may do, and who may reach its pods."""

from collections.abc import Mapping
from typing import Any

from instructlab_pipeline.kube.access import PERMISSIONS, Permission
from instructlab_pipeline.kube.names import LABELS, NAME_LABEL, NAMESPACE, PIPELINE_RUNNER, SERVICE_ACCOUNT

# Where clouds hand their machines' credentials to whoever asks.
CLOUD_METADATA = "169.254.169.254/32"

Manifest = Mapping[str, Any]


def service_account() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": SERVICE_ACCOUNT},
        "automountServiceAccountToken": False,
    }


def role() -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": SERVICE_ACCOUNT},
        "rules": [_rule(permission) for permission in PERMISSIONS],
    }


def role_binding() -> Manifest:
    names = (SERVICE_ACCOUNT, PIPELINE_RUNNER)
    accounts = [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE} for name in names]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": SERVICE_ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": SERVICE_ACCOUNT},
        "subjects": accounts,
    }


def network_policy() -> Manifest:
    """Our pods hear one another and nobody else, and ask everybody but the cloud for credentials."""
    ours = {"matchLabels": {NAME_LABEL: LABELS[NAME_LABEL]}}
    everywhere = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [CLOUD_METADATA]}}, {"ipBlock": {"cidr": "::/0"}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": SERVICE_ACCOUNT},
        "spec": {
            "podSelector": ours,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": ours}]}],
            "egress": [{"to": everywhere}],
        },
    }


def _rule(permission: Permission) -> dict[str, Any]:
    names = {"resourceNames": list(permission.names)} if permission.names else {}
    return {
        "apiGroups": [permission.group],
        "resources": list(permission.resources),
        **names,
        "verbs": list(permission.verbs),
    }
