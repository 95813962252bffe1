"""Whether the pipeline may do what it does on the cluster: asked for the account that its steps run as."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.health import WorthKnowing
from instructlab_pipeline.kube.access import PERMISSIONS, Permission
from instructlab_pipeline.kube.connection import Cluster
from instructlab_pipeline.kube.names import PIPELINE_RUNNER, SERVICE_ACCOUNT
from instructlab_pipeline.kube.training_job import PYTORCH_JOB, TRAIN_JOB

VERSION = "authorization.k8s.io/v1"
GROUPS_OF_JOBS = {TRAIN_JOB.group: "trainjob", PYTORCH_JOB.group: "pytorchjob"}
RUNNERS = "pipeline-runner"  # how the accounts of pipelines servers begin; the rest is the server's name


def permissions(cluster: Cluster, wish: str) -> str:
    """`wish`: k8s_training_api. For the steps' account, or else for the caller, which then is said."""
    questions = list(_questions(cluster, wish))
    account = _account(cluster)
    try:
        refused = [each.words for each in questions if not _may_account(cluster, account, each)]
    except UsageError as error:
        refused = [each.words for each in questions if not _may_caller(cluster, each)]
        told = f"you lack {', '.join(refused)}" if refused else f"you have all {len(questions)} that steps need"
        raise WorthKnowing(
            f"whether {account} may could not be asked ({error.message}); {told}",
            remedy=f"ask somebody who may: `oc auth can-i --list --as {_user(cluster, account)}`",
        ) from error
    if refused:
        raise UsageError(
            f"{account} may not in {cluster.namespace}: {', '.join(refused)}",
            remedy="apply deploy/, whose role has all of it, and name the account in its binding",
        )
    return f"{account} has all {len(questions)} that steps need"


@dataclass(frozen=True, kw_only=True)
class Question:
    """`words`: what is asked for, for people. `attributes`: the same, for the API."""

    words: str
    attributes: dict[str, str]


def _questions(cluster: Cluster, wish: str) -> Iterator[Question]:
    wanted = [each for each in PERMISSIONS if wish == "auto" or GROUPS_OF_JOBS.get(each.group, wish) == wish]
    for permission in wanted:
        for resource in permission.resources:
            for verb in permission.verbs:
                attributes = _attributes(permission, resource, verb)
                yield Question(words=f"{verb} {resource}", attributes={"namespace": cluster.namespace, **attributes})


def _attributes(permission: Permission, resource: str, verb: str) -> dict[str, str]:
    plural, _, part = resource.partition("/")
    found = {"group": permission.group, "resource": plural, "verb": verb}
    found |= {"subresource": part} if part else {}
    return found | ({"name": permission.names[0]} if permission.names else {})


def _account(cluster: Cluster) -> str:
    """That of the pipelines server here, where there is one; steps that name no account run as it."""
    try:
        found = cluster.list(f"/api/v1/namespaces/{cluster.namespace}/serviceaccounts")
    except UsageError:  # not allowed to look
        return PIPELINE_RUNNER
    names: Sequence[str] = sorted(each["metadata"]["name"] for each in found)
    return next((name for name in names if name.startswith(RUNNERS)), SERVICE_ACCOUNT)


def _may_account(cluster: Cluster, account: str, question: Question) -> bool:
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{cluster.namespace}", "system:authenticated"]
    spec = {"user": _user(cluster, account), "groups": groups, "resourceAttributes": question.attributes}
    place = f"/apis/{VERSION}/namespaces/{cluster.namespace}/localsubjectaccessreviews"
    metadata = {"namespace": cluster.namespace}
    return _allowed(cluster, place, {"kind": "LocalSubjectAccessReview", "metadata": metadata, "spec": spec})


def _may_caller(cluster: Cluster, question: Question) -> bool:
    spec = {"resourceAttributes": question.attributes}
    return _allowed(
        cluster, f"/apis/{VERSION}/selfsubjectaccessreviews", {"kind": "SelfSubjectAccessReview", "spec": spec}
    )


def _allowed(cluster: Cluster, place: str, review: dict[str, Any]) -> bool:
    return bool(cluster.create(place, {"apiVersion": VERSION, **review})["status"]["allowed"])


def _user(cluster: Cluster, account: str) -> str:
    return f"system:serviceaccount:{cluster.namespace}:{account}"
