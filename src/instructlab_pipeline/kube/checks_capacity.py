"""Whether the cluster has the volumes and the GPUs that the pods of a run ask for, as far as its API tells."""

from collections.abc import Mapping, Sequence
from typing import Any

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.health import WorthKnowing
from instructlab_pipeline.kube.connection import Cluster, NotFoundError, Objects
from instructlab_pipeline.kube.placement import node_selector, tolerations
from instructlab_pipeline.params.table import Parameters

# What the drivers of these classes are documented to give. The API itself has no field for it.
MODES_OF_DRIVERS: Mapping[str, str] = {
    "ebs.csi.aws.com": "ReadWriteOnce",
    "efs.csi.aws.com": "ReadWriteOnce, ReadWriteMany",
    "disk.csi.azure.com": "ReadWriteOnce",
    "file.csi.azure.com": "ReadWriteOnce, ReadWriteMany",
    "pd.csi.storage.gke.io": "ReadWriteOnce",
    "csi.vsphere.vmware.com": "ReadWriteOnce",
    "topolvm.io": "ReadWriteOnce",
    "openshift-storage.rbd.csi.ceph.com": "ReadWriteOnce",
    "openshift-storage.cephfs.csi.ceph.com": "ReadWriteOnce, ReadWriteMany",
}
NO_ROOM = ("NoSchedule", "NoExecute")


def storage_class(cluster: Cluster, name: str) -> str:
    try:
        found = cluster.get(f"/apis/storage.k8s.io/v1/storageclasses/{name}")
    except NotFoundError as error:
        raise UsageError(
            f"there is no storage class {name}", remedy="set k8s_storage_class_name to one of the cluster's"
        ) from error
    except UsageError as error:
        raise WorthKnowing(
            f"you may not look at storage class {name}: {error.message}",
            remedy="ask an administrator whether it exists",
        ) from error
    binding = found.get("volumeBindingMode", "Immediate")
    modes = _modes(cluster, name, found["provisioner"])
    return f"{name} by {found['provisioner']}, bound {binding}; {modes}; pods ask for ReadWriteOnce alone"


def _modes(cluster: Cluster, name: str, driver: str) -> str:
    """Access modes of the class, by what its volumes have, or else by what is known of its driver."""
    try:
        volumes = [
            *cluster.list(f"/api/v1/namespaces/{cluster.namespace}/persistentvolumeclaims"),
            *cluster.list("/api/v1/persistentvolumes"),
        ]
    except UsageError:  # not allowed to look
        volumes = []
    specs = [volume["spec"] for volume in volumes if volume["spec"].get("storageClassName") == name]
    if modes := sorted({mode for spec in specs for mode in spec.get("accessModes", ())}):
        return f"its volumes here have {', '.join(modes)}"
    if driver in MODES_OF_DRIVERS:
        return f"its driver gives {MODES_OF_DRIVERS[driver]}"
    return "its access modes are not told by the API: it has no volumes yet"


def gpus(cluster: Cluster, parameters: Parameters) -> str:
    """Whether the nodes on which the pods may run are enough, were they empty, and what the project's quota leaves."""
    name, each, pods = parameters.train_gpu_identifier, parameters.train_gpus_per_worker, parameters.train_num_workers
    if parameters.k8s_training_api == "none" and each:
        each, pods = pods, 1  # all workers are in the step's pod
    if each == 0:
        return "none needed: train_gpus_per_worker is 0"
    _require_quota(cluster, name, each * pods)
    selector = ",".join(f"{key}={value}" for key, value in node_selector(parameters).items())
    try:
        nodes = cluster.list("/api/v1/nodes", labelSelector=selector)
    except UsageError as error:
        raise WorthKnowing(f"you may not list nodes: {error.message}", remedy="ask an administrator") from error
    usable = [node for node in nodes if _may_run_on(node, tolerations(parameters))]
    room = sum(int(node["status"].get("allocatable", {}).get(name, "0")) // each for node in usable)
    told = f"{len(usable)} nodes have room for {room} of {pods} pods with {each} x {name}"
    if len(usable) < len(nodes):
        told += f"; {len(nodes) - len(usable)} more are cordoned, or have taints that k8s_tolerations does not name"
    if room < pods:
        raise UsageError(
            told, remedy="lower train_num_workers or train_gpus_per_worker, or mend k8s_node_selector, k8s_tolerations"
        )
    return f"{told}, if nobody else uses them"


def _require_quota(cluster: Cluster, name: str, wanted: int) -> None:
    """Raises UsageError where a quota of the project leaves fewer GPUs than `wanted`."""
    try:
        quotas: Objects = cluster.list(f"/api/v1/namespaces/{cluster.namespace}/resourcequotas")
    except UsageError:  # not allowed to look
        return
    key = f"requests.{name}"
    for quota in quotas:
        status = quota.get("status", {})
        if key in (hard := status.get("hard", {})):
            left = int(hard[key]) - int(status.get("used", {}).get(key, "0"))
            if left < wanted:
                raise UsageError(
                    f"quota {quota['metadata']['name']} leaves {left} of {wanted} x {name}",
                    remedy="lower train_num_workers or train_gpus_per_worker, or have the quota raised",
                )


def _may_run_on(node: Mapping[str, Any], tolerated: Sequence[Mapping[str, Any]]) -> bool:
    spec = node.get("spec", {})
    taints = [taint for taint in spec.get("taints", ()) if taint["effect"] in NO_ROOM]
    return not spec.get("unschedulable") and all(
        any(_tolerates(toleration, taint) for toleration in tolerated) for taint in taints
    )


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """By Kubernetes's rules: an empty key or effect stands for all of them, `Exists` for every value."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("operator", "Equal") == "Exists" and not toleration.get("key"):
        return True
    wants_value = toleration.get("operator", "Equal") == "Equal"
    same_value = str(toleration.get("value", "")) == str(taint.get("value", ""))
    return str(toleration.get("key")) == str(taint["key"]) and (same_value or not wants_value)
