"""What `doctor --cluster` asks, in the namespace of the current context. No secret's value is ever shown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.health import Check, WorthKnowing
from instructlab_pipeline.kube.checks_access import permissions
from instructlab_pipeline.kube.checks_capacity import gpus, storage_class
from instructlab_pipeline.kube.connection import Cluster, NotFoundError
from instructlab_pipeline.kube.manifests_secrets import ENDPOINT_KEYS, S3_KEYS
from instructlab_pipeline.kube.names import CONFIGMAP
from instructlab_pipeline.kube.training_run import api_served
from instructlab_pipeline.params.table import Parameters

BASIC, SSH, DOCKER = "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/dockerconfigjson"
# By parameter: the types that the secret may have (none: any), each with its keys; and whether it may be absent.
Shapes = Mapping[str, Sequence[str]]
SECRETS: Mapping[str, tuple[Shapes, bool]] = {
    "s3_secret": ({"": S3_KEYS[:3]}, False),
    "sdg_teacher_secret": ({"": ENDPOINT_KEYS}, False),
    "eval_judge_secret": ({"": ENDPOINT_KEYS}, True),
    "output_oci_registry_secret": ({DOCKER: (".dockerconfigjson",)}, False),
    "output_signing_secret": ({"": ("cosign.key",)}, True),
    "notify_webhook_secret": ({"": ("url",)}, True),
    "sdg_repo_secret": ({BASIC: ("password",), SSH: ("ssh-privatekey",)}, True),
}


def cluster_checks(cluster: Cluster, parameters: Parameters) -> Iterator[tuple[str, Check]]:
    yield "cluster", lambda: _version(cluster)
    yield "training API", lambda: _training_api(cluster, parameters)
    yield "storage class", lambda: storage_class(cluster, parameters.k8s_storage_class_name)
    yield "cluster GPUs", lambda: gpus(cluster, parameters)
    yield "ConfigMap", lambda: _config_map(cluster)
    for parameter in SECRETS:
        yield parameter, lambda parameter=parameter: _secret(cluster, parameter, parameters)  # type: ignore[misc]
    yield "permissions", lambda: permissions(cluster, parameters.k8s_training_api)


def _version(cluster: Cluster) -> str:
    found = cluster.get("/version")
    place = f"{cluster.client.configuration.host}, namespace {cluster.namespace}"
    return f"Kubernetes {found['gitVersion']} at {place}"


def _training_api(cluster: Cluster, parameters: Parameters) -> str:
    if parameters.k8s_training_api == "none":
        return "not needed: k8s_training_api is none"
    api = api_served(cluster, parameters.k8s_training_api)
    return f"{api.kind} ({api.group}/{api.version})"


def _config_map(cluster: Cluster) -> str:
    if cluster.find(f"/api/v1/namespaces/{cluster.namespace}/configmaps/{CONFIGMAP}") is None:
        raise WorthKnowing(
            f"there is no {CONFIGMAP} in {cluster.namespace}", remedy="`kubectl apply -k` an overlay of deploy/"
        )
    return f"{CONFIGMAP} is in {cluster.namespace}"


def _secret(cluster: Cluster, parameter: str, parameters: Parameters) -> str:
    shapes, may_be_absent = SECRETS[parameter]
    name = getattr(parameters, parameter)
    try:
        found = cluster.get(f"/api/v1/namespaces/{cluster.namespace}/secrets/{name}")
    except NotFoundError as error:
        missing = f"there is no secret {name} in {cluster.namespace}"
        if may_be_absent:
            raise WorthKnowing(missing, remedy=f"make it if it is needed, or set {parameter}") from error
        raise UsageError(missing, remedy=f"make it as deploy/ shows, or set {parameter}") from error
    except UsageError as error:
        raise WorthKnowing(f"you may not look at secret {name}", remedy="ask an administrator") from error
    return _shaped(found, name, shapes)


def _shaped(secret: Mapping[str, Any], name: str, shapes: Shapes) -> str:
    kind = secret.get("type", "Opaque")
    keys = shapes.get(kind, shapes.get(""))
    if keys is None:
        raise UsageError(f"secret {name} has type {kind}, not {' or '.join(shapes)}", remedy="make it with that type")
    data = secret.get("data") or {}
    if missing := [key for key in keys if not data.get(key)]:
        raise UsageError(f"secret {name} lacks {', '.join(missing)}", remedy="add the keys that deploy/ shows")
    return f"{name} has {', '.join(keys)}"
