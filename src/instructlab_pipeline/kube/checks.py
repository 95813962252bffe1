"""What `doctor --cluster` asks, in the namespace of the current context. No secret's value is ever shown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.health import Check, WorthKnowing
from instructlab_pipeline.kube.access import PERMISSIONS, Permission
from instructlab_pipeline.kube.connection import Cluster, NotFoundError
from instructlab_pipeline.kube.manifests_secrets import ENDPOINT_KEYS, S3_KEYS
from instructlab_pipeline.kube.names import CONFIGMAP
from instructlab_pipeline.kube.placement import node_selector
from instructlab_pipeline.kube.training_job import PYTORCH_JOB, TRAIN_JOB
from instructlab_pipeline.kube.training_run import api_served
from instructlab_pipeline.params.table import Parameters

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
GROUPS_OF_JOBS = {TRAIN_JOB.group: "trainjob", PYTORCH_JOB.group: "pytorchjob"}
BASIC, SSH, DOCKER = "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/dockerconfigjson"
# By parameter: the types that the secret may have (none: any), each with its keys; and whether it may be absent.
Shapes = Mapping[str, Sequence[str]]
SECRETS: Mapping[str, tuple[Shapes, bool]] = {
    "s3_secret": ({"": S3_KEYS[:3]}, False),
    "sdg_teacher_secret": ({"": ENDPOINT_KEYS}, False),
    "eval_judge_secret": ({"": ENDPOINT_KEYS}, True),
    "output_oci_registry_secret": ({DOCKER: (".dockerconfigjson",)}, False),
    "sdg_repo_secret": ({BASIC: ("password",), SSH: ("ssh-privatekey",)}, True),
}


def cluster_checks(cluster: Cluster, parameters: Parameters) -> Iterator[tuple[str, Check]]:
    yield "training API", lambda: _training_api(cluster, parameters)
    yield "storage class", lambda: _storage_class(cluster, parameters.k8s_storage_class_name)
    yield "cluster GPUs", lambda: _gpus(cluster, parameters)
    yield "ConfigMap", lambda: _config_map(cluster)
    for parameter in SECRETS:
        yield parameter, lambda parameter=parameter: _secret(cluster, parameter, parameters)  # type: ignore[misc]
    yield "permissions", lambda: _permissions(cluster, parameters)


def _training_api(cluster: Cluster, parameters: Parameters) -> str:
    if parameters.k8s_training_api == "none":
        return "not needed: k8s_training_api is none"
    api = api_served(cluster, parameters.k8s_training_api)
    return f"{api.kind} ({api.group}/{api.version})"


def _storage_class(cluster: Cluster, name: str) -> str:
    found = cluster.find(f"/apis/storage.k8s.io/v1/storageclasses/{name}")
    if found is None:
        raise UsageError(
            f"there is no storage class {name}", remedy="set k8s_storage_class_name to one of the cluster's"
        )
    binding = found.get("volumeBindingMode", "Immediate")
    return f"{name} by {found['provisioner']}, bound {binding}; ReadWriteOnce is all that is asked of it"


def _gpus(cluster: Cluster, parameters: Parameters) -> str:
    """Whether the nodes that the selector allows are enough, were they empty."""
    name, each, pods = parameters.train_gpu_identifier, parameters.train_gpus_per_worker, parameters.train_num_workers
    if each == 0:
        return "none needed: train_gpus_per_worker is 0"
    selector = ",".join(f"{key}={value}" for key, value in node_selector(parameters).items())
    try:
        nodes = cluster.list("/api/v1/nodes", labelSelector=selector)
    except UsageError as error:
        raise WorthKnowing(f"you may not list nodes: {error.message}", remedy="ask an administrator") from error
    room = sum(int(node["status"].get("allocatable", {}).get(name, "0")) // each for node in nodes)
    told = f"{len(nodes)} nodes have room for {room} of {pods} pods with {each} x {name}"
    if room < pods:
        raise UsageError(told, remedy="lower train_num_workers or train_gpus_per_worker, or mend k8s_node_selector")
    return f"{told}, if nobody else uses them"


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


def _permissions(cluster: Cluster, parameters: Parameters) -> str:
    wish = parameters.k8s_training_api
    wanted = [each for each in PERMISSIONS if wish == "auto" or GROUPS_OF_JOBS.get(each.group, wish) == wish]
    asked = [
        (permission, resource, verb)
        for permission in wanted
        for resource in permission.resources
        for verb in permission.verbs
    ]
    refused = [
        f"{verb} {resource}" for permission, resource, verb in asked if not _may(cluster, permission, resource, verb)
    ]
    if refused:
        raise UsageError(
            f"not allowed in {cluster.namespace}: {', '.join(refused)}", remedy="apply deploy/, or ask for its role"
        )
    return f"all {len(asked)} that a training step needs"


def _may(cluster: Cluster, permission: Permission, resource: str, verb: str) -> bool:
    plural, _, part = resource.partition("/")
    attributes = {"namespace": cluster.namespace, "group": permission.group, "resource": plural, "verb": verb}
    attributes |= {"subresource": part} if part else {}
    attributes |= {"name": permission.names[0]} if permission.names else {}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return bool(cluster.create(REVIEWS, review)["status"]["allowed"])
