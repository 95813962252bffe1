"""Runs a training job to its end: makes it or finds it, follows its log, tells why it failed, takes it away.

A job's name is a digest of what it makes. So a step that is tried again finds the job that is at work instead of
starting a second one, and a job for other parameters is another job.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from queue import Empty
from typing import Any

from instructlab_pipeline.errors import PipelineError, ServiceError, UsageError
from instructlab_pipeline.kube.connection import Cluster
from instructlab_pipeline.kube.pod_logs import LogFollower, Tell
from instructlab_pipeline.kube.training_job import (
    PYTORCH_JOB,
    RUNTIMES,
    TRAIN_JOB,
    Api,
    Training,
    pytorch_job,
    train_job,
    training_runtime,
)
from instructlab_pipeline.kube.training_state import Seen, State, failure, state_of, stuck
from instructlab_pipeline.kube.watching import Collection, news_of

DELETED_WITHIN_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """`again_after_s`: before a watch that ended, or a question that failed, is tried again.

    How many minutes pods may wait: for a node or for a person, and once on a node for their images and volumes. And how
    many the API server may be away: masters are upgraded one after the other.
    """

    again_after_s: float = 2.0
    start_within_minutes: float = 10.0
    create_within_minutes: float = 30.0
    away_for_minutes: float = 5.0


def api_served(cluster: Cluster, wish: str) -> Api:
    """The API to use: that which `k8s_training_api` names, or by discovery TrainJob before PyTorchJob.

    Raises:
        UsageError: the cluster has it not.
    """
    wished = {"trainjob": [TRAIN_JOB], "pytorchjob": [PYTORCH_JOB]}.get(wish, [TRAIN_JOB, PYTORCH_JOB])
    for api in wished:
        served = cluster.find(f"/apis/{api.group}/{api.version}") or {}
        if api.plural in {each["name"] for each in served.get("resources", ())}:
            return api
    names = " or ".join(f"{api.kind} ({api.group}/{api.version})" for api in wished)
    raise UsageError(
        f"the cluster does not serve {names}",
        remedy="have the training operator installed, or choose another k8s_training_api",
    )


def run_job(training: Training, api: Api, cluster: Cluster, *, tell: Tell, patience: Patience) -> None:
    """Until the job is done.

    Raises:
        PipelineError: it failed, could not start, or was deleted; the message has the events that explain it.
        ServiceError: the API server was away for too long.
    """
    follower = LogFollower(
        cluster=cluster, namespace=training.namespace, tell=tell, again_after_s=patience.again_after_s
    )
    with _taken_along(training, api, cluster):
        _make_or_find(training, api, cluster, tell)
        waiting = Waiting(tell=tell)
        for seen in _looks(training, api, cluster, patience):
            follower.follow(seen.pods)
            state = state_of(seen, api)
            if state.phase != "going":
                break
            minutes = patience.create_within_minutes if state.under_way else patience.start_within_minutes
            if waiting.seconds(state) > minutes * 60:
                explained = _explained(seen, training, cluster)
                _remove(training, api, cluster)
                raise stuck(explained, state, minutes)
    last = _at_the_end(seen, training, api, cluster)
    follower.follow(last.pods)
    follower.finish()
    if state.phase == "failed":
        raise failure(_explained(last, training, cluster))


def remove_jobs(cluster: Cluster, namespace: str, selector: str) -> list[str]:
    """Delete what jobs with these labels are left, of either API; says which."""
    gone = []
    for api, plural in ((TRAIN_JOB, TRAIN_JOB.plural), (TRAIN_JOB, RUNTIMES), (PYTORCH_JOB, PYTORCH_JOB.plural)):
        with suppress(UsageError):  # not served, or not ours to see
            for found in cluster.list(api.path(namespace, plural=plural), labelSelector=selector):
                cluster.delete(api.path(namespace, found["metadata"]["name"], plural=plural))
                gone.append(f"{plural}/{found['metadata']['name']}")
    return gone


def _make_or_find(training: Training, api: Api, cluster: Cluster, tell: Tell) -> None:
    found = cluster.find(api.path(training.namespace, training.name))
    if found is not None and state_of(Seen(job=found), api).phase == "going":
        tell(f"{api.kind} {training.name} is at work already: going on with it")
        return
    for place in _places(training, api):  # of an earlier attempt, perhaps with other nodes or volumes
        if cluster.find(place) is not None:
            cluster.delete(place)
            _wait_until_gone(place, cluster)
    if api is TRAIN_JOB:
        cluster.create(api.path(training.namespace, plural=RUNTIMES), training_runtime(training))
        cluster.create(api.path(training.namespace), train_job(training))
    else:
        cluster.create(api.path(training.namespace), pytorch_job(training))
    tell(f"{api.kind} {training.name}: {training.nodes} pods of {training.processes} workers")


def _remove(training: Training, api: Api, cluster: Cluster) -> None:
    for place in _places(training, api):
        cluster.delete(place)


def _places(training: Training, api: Api) -> list[str]:
    """The job, and then what it uses, which goes only after it."""
    plurals = [TRAIN_JOB.plural, RUNTIMES] if api is TRAIN_JOB else [api.plural]
    return [api.path(training.namespace, training.name, plural=plural) for plural in plurals]


def _wait_until_gone(place: str, cluster: Cluster) -> None:
    give_up = time.monotonic() + DELETED_WITHIN_S
    while cluster.find(place) is not None:
        if time.monotonic() > give_up:
            raise ServiceError(f"{place} is not deleted", remedy="look for what holds it: a finalizer, a pod")
        time.sleep(1)


@contextmanager
def _taken_along(training: Training, api: Api, cluster: Cluster) -> Iterator[None]:
    """Whoever ends this step, ends its job."""
    try:
        yield
    except KeyboardInterrupt:
        with suppress(PipelineError):
            _remove(training, api, cluster)
        raise


def _looks(training: Training, api: Api, cluster: Cluster, patience: Patience) -> Iterator[Seen]:
    """What is known of the job, whenever that changes; and now and then, as waiting too is something to see.

    An API server that is away for a while is waited for.
    """
    known: dict[str, list[Any]] = {}
    away_since: dict[str, float] = {}
    with news_of(cluster, _collections(training, api), pause_s=patience.again_after_s) as news:
        while True:
            with suppress(Empty):
                name, found = news.get(timeout=patience.again_after_s)
                if isinstance(found, list):
                    known[name] = found
                    away_since.pop(name, None)
                elif not isinstance(found, ServiceError) or _is_over(away_since, name, patience):
                    raise found
            if known.keys() == {"job", "pods"}:
                yield Seen(job=next(iter(known["job"]), None), pods=known["pods"])


def _is_over(away_since: dict[str, float], name: str, patience: Patience) -> bool:
    """Whether the API server has been away for too long; however long it was silent before is no part of it."""
    now = time.monotonic()
    return now - away_since.setdefault(name, now) > patience.away_for_minutes * 60


def _collections(training: Training, api: Api) -> dict[str, Collection]:
    return {
        "job": Collection(
            path=api.path(training.namespace), selectors={"fieldSelector": f"metadata.name={training.name}"}
        ),
        "pods": Collection(
            path=f"/api/v1/namespaces/{training.namespace}/pods",
            selectors={"labelSelector": f"{api.pod_label}={training.name}"},
        ),
    }


def _at_the_end(seen: Seen, training: Training, api: Api, cluster: Cluster) -> Seen:
    """With its pods as they are now: the end of the job may be known before that of its pods."""
    pods = _collections(training, api)["pods"]
    with suppress(ServiceError):
        return replace(seen, pods=cluster.list(pods.path, **pods.selectors) or seen.pods)
    return seen


def _explained(seen: Seen, training: Training, cluster: Cluster) -> Seen:
    """With the events about the job, and about what it consists of: all of their names begin with its own."""
    names = {pod["metadata"]["name"] for pod in seen.pods}
    with suppress(ServiceError):
        events = cluster.list(f"/api/v1/namespaces/{training.namespace}/events")
        about = [(event, event["involvedObject"].get("name", "")) for event in events]
        told = [event for event, name in about if name in names or f"{name}-".startswith(f"{training.name}-")]
        return replace(seen, events=told)
    return seen


@dataclass(kw_only=True)
class Waiting:
    """For how long its pods have been waiting; each reason is told once."""

    tell: Tell
    _since: float | None = None
    _told: str = ""

    def seconds(self, state: State) -> float:
        if not state.waits:
            self._since = None
            return 0.0
        if state.waits != self._told:
            self._told = state.waits
            self.tell(f"waiting: {state.waits}")
        self._since = self._since or time.monotonic()
        return time.monotonic() - self._since
