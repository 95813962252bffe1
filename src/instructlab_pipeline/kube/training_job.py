"""The job in which a training stage runs on a cluster: a TrainJob with a TrainingRuntime of its own, or a PyTorchJob.

Every pod runs `instructlab-pipeline stage NAME` on the run in its bucket: the first of them seals what they make
together. Bodies are dicts made by pure functions. The two APIs differ in where things stand, not in what is asked for.

A pod whose exit code says that trying again cannot help ends its job at once. One that was preempted, evicted or killed
is started again, and goes on from the recovery checkpoint in the bucket.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.errors import EXIT_BUG, GateError, SourceError, UsageError
from instructlab_pipeline.kube import security

Body = dict[str, Any]

RESTARTS = 3
KEPT_FOR_S = 24 * 3600  # a finished job, for people to look at
SHARED_MEMORY = "shared-memory"
FINAL_EXITS = tuple(sorted((UsageError.exit_code, SourceError.exit_code, GateError.exit_code, EXIT_BUG)))


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is asked for, whichever API is to do it. `resources` and `gpus` are those of one node (pod).

    owner: the object that takes the job along when it goes, as an owner reference.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    owner: Mapping[str, Any] | None
    image: str
    command: Sequence[str]
    secret: str
    nodes: int
    gpus: int
    resources: Mapping[str, str]
    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, Any]]
    storage_class: str
    storage_size: str
    deadline_s: int

    @property
    def processes(self) -> int:
        """One worker a GPU; without GPUs, one a pod."""
        return max(1, self.gpus)


@dataclass(frozen=True, kw_only=True)
class Api:
    """Where a kind of job lives, how it tells its end, and how its pods are found."""

    kind: str
    group: str
    version: str
    plural: str
    succeeded: str
    pod_label: str

    def path(self, namespace: str, name: str = "", *, plural: str = "") -> str:
        place = f"/apis/{self.group}/{self.version}/namespaces/{namespace}/{plural or self.plural}"
        return f"{place}/{name}".rstrip("/")


TRAIN_JOB = Api(
    kind="TrainJob",
    group="trainer.kubeflow.org",
    version="v1alpha1",
    plural="trainjobs",
    succeeded="Complete",
    pod_label="jobset.sigs.k8s.io/jobset-name",
)
PYTORCH_JOB = Api(
    kind="PyTorchJob",
    group="kubeflow.org",
    version="v1",
    plural="pytorchjobs",
    succeeded="Succeeded",
    pod_label="training.kubeflow.org/job-name",
)
RUNTIMES = "trainingruntimes"


def train_job(training: Training) -> Body:
    spec = {
        "runtimeRef": {"apiGroup": TRAIN_JOB.group, "kind": "TrainingRuntime", "name": training.name},
        "activeDeadlineSeconds": training.deadline_s,
        "trainer": {
            "image": training.image,
            "command": list(training.command),
            "numNodes": training.nodes,
            "numProcPerNode": training.processes,
            "resourcesPerNode": _resources(training),
        },
    }
    return _object(training, f"{TRAIN_JOB.group}/{TRAIN_JOB.version}", "TrainJob", spec)


def training_runtime(training: Training) -> Body:
    """Volumes, selectors and tolerations stand here: the field to override them has another name in each release."""
    job = {
        "backoffLimit": RESTARTS * training.nodes,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": "node", "operator": "In", "values": list(FINAL_EXITS)},
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {"metadata": {"labels": dict(training.labels)}, "spec": _pod(training, "node", restart="Never")},
    }
    replicated = {
        "name": "node",
        "replicas": 1,
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": job,
        },
    }
    job_set = {
        "failurePolicy": {
            "maxRestarts": RESTARTS,
            "rules": [
                {"name": "final", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]},
            ],
        },
        "ttlSecondsAfterFinished": KEPT_FOR_S,
        "replicatedJobs": [replicated],
    }
    spec = {"mlPolicy": {"numNodes": training.nodes, "torch": {}}, "template": {"spec": job_set}}
    body = _object(training, f"{TRAIN_JOB.group}/{TRAIN_JOB.version}", "TrainingRuntime", spec)
    body["metadata"]["labels"] = {**training.labels, "trainer.kubeflow.org/framework": "torch"}
    return body


def pytorch_job(training: Training) -> Body:
    """`ExitCode`: pods that a signal ended are started again, others fail the job."""
    replica = {
        "restartPolicy": "ExitCode",
        "template": {
            "metadata": {"labels": dict(training.labels)},
            "spec": _pod(training, "pytorch", variables={"PET_NNODES": str(training.nodes)}, resources=True),
        },
    }
    replicas: Body = {"Master": {"replicas": 1, **replica}}
    if training.nodes > 1:
        replicas["Worker"] = {"replicas": training.nodes - 1, **replica}
    spec = {
        "nprocPerNode": str(training.processes),
        "runPolicy": {
            "activeDeadlineSeconds": training.deadline_s,
            "backoffLimit": RESTARTS,
            "cleanPodPolicy": "Running",
            "ttlSecondsAfterFinished": KEPT_FOR_S,
        },
        "pytorchReplicaSpecs": replicas,
    }
    return _object(training, f"{PYTORCH_JOB.group}/{PYTORCH_JOB.version}", "PyTorchJob", spec)


def _object(training: Training, version: str, kind: str, spec: Body) -> Body:
    metadata: Body = {"name": training.name, "namespace": training.namespace, "labels": dict(training.labels)}
    if training.owner is not None:
        metadata["ownerReferences"] = [dict(training.owner)]
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _pod(
    training: Training,
    container: str,
    *,
    restart: str = "",
    variables: Mapping[str, str] | None = None,
    resources: bool = False,
) -> Body:
    """`resources`: said here, where the API has no other place for them."""
    memory = {"name": SHARED_MEMORY, "emptyDir": {"medium": "Memory"}}
    workers: Body = {
        "name": container,
        "image": training.image,
        "command": list(training.command),
        "env": [{"name": name, "value": value} for name, value in (variables or {}).items()],
        "envFrom": [{"secretRef": {"name": training.secret}}],
        "volumeMounts": [{"name": SHARED_MEMORY, "mountPath": "/dev/shm"}],  # noqa: S108 - where NCCL wants it
    }
    if resources:
        workers["resources"] = _resources(training)
    pod: Body = {"containers": [workers], "volumes": [memory], "terminationGracePeriodSeconds": 60}
    optional = {
        "restartPolicy": restart,
        "nodeSelector": dict(training.node_selector),
        "tolerations": [dict(each) for each in training.tolerations],
    }
    pod |= {name: value for name, value in optional.items() if value}
    return security.hardened(pod, scratch=security.scratch_source(training.storage_class, training.storage_size))


def _resources(training: Training) -> Body:
    """Requests equal limits, so that nothing is taken from a pod while it trains."""
    return {"requests": dict(training.resources), "limits": dict(training.resources)}
