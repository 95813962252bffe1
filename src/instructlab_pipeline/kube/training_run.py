"""Runs a training job to its end: makes it or finds it, follows its log, tells why it failed, takes it away.

A job's name is a digest of what it makes. So a step that is tried again finds the job that is at work instead of
starting a second one, and a job for other parameters is another job.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from instructlab_pipeline.errors import PipelineError, ServiceError, UsageError
from instructlab_pipeline.kube.connection import Cluster
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
from instructlab_pipeline.kube.training_state import Seen, State, state_of, stuck

Tell = Callable[[str], None]
MOST_OUTAGE_S = 300.0  # an API server may be away for so long: masters are upgraded one after the other
LOG_TAIL_S = 2.0  # for the last lines of a log that is followed


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often to look, and how long pods may fail to start."""

    look_every_s: float = 5.0
    start_within_minutes: float = 10.0


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
    follower = LogFollower(cluster=cluster, namespace=training.namespace, tell=tell)
    _make_or_find(training, api, cluster, tell)
    with _taken_along(training, api, cluster):
        waiting = Waiting(tell=tell)
        for seen in _looks(training, api, cluster, patience):
            follower.follow(seen.pods)
            state = state_of(seen, api)
            if state.phase != "going":
                break
            if waiting.seconds(state) > patience.start_within_minutes * 60:
                _remove(training, api, cluster)
                raise stuck(seen, state, patience.start_within_minutes)
    follower.finish()
    if state.error is not None:
        raise state.error


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
    place = api.path(training.namespace, training.name)
    found = cluster.find(place)
    if found is not None and not found["metadata"].get("deletionTimestamp"):
        state = state_of(Seen(job=found, pods=(), events=()), api)
        if state.phase == "going":
            tell(f"{api.kind} {training.name} is at work already: going on with it")
            return
    if found is not None:
        _remove(training, api, cluster)
        _wait_until_gone(place, cluster)
    if api is TRAIN_JOB:
        runtimes = api.path(training.namespace, plural=RUNTIMES)
        if cluster.find(f"{runtimes}/{training.name}") is None:
            cluster.create(runtimes, training_runtime(training))
        cluster.create(api.path(training.namespace), train_job(training))
    else:
        cluster.create(api.path(training.namespace), pytorch_job(training))
    tell(f"{api.kind} {training.name}: {training.nodes} pods of {training.processes} workers")


def _remove(training: Training, api: Api, cluster: Cluster) -> None:
    cluster.delete(api.path(training.namespace, training.name))
    if api is TRAIN_JOB:
        cluster.delete(api.path(training.namespace, training.name, plural=RUNTIMES))


def _wait_until_gone(place: str, cluster: Cluster) -> None:
    give_up = time.monotonic() + MOST_OUTAGE_S
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
    """One look after another; an API server that is away for a while is waited for."""
    last = time.monotonic()
    while True:
        try:
            seen = _look(training, api, cluster)
        except ServiceError:
            if time.monotonic() - last > MOST_OUTAGE_S:
                raise
        else:
            last = time.monotonic()
            yield seen
        time.sleep(patience.look_every_s)


def _look(training: Training, api: Api, cluster: Cluster) -> Seen:
    core = f"/api/v1/namespaces/{training.namespace}"
    job = cluster.find(api.path(training.namespace, training.name))  # first, so that at its end all its pods are seen
    pods = cluster.list(f"{core}/pods", labelSelector=f"{api.pod_label}={training.name}")
    names = {training.name, *(pod["metadata"]["name"] for pod in pods)}
    events = [
        event
        for event in cluster.list(f"{core}/events")
        if event["involvedObject"].get("name", "") in names
        or event["involvedObject"].get("name", "").startswith(f"{training.name}-")
    ]
    return Seen(job=job, pods=pods, events=events)


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


@dataclass(kw_only=True)
class LogFollower:
    """Tells the pods' logs, line by line, each from its beginning, also of pods that were started anew."""

    cluster: Cluster
    namespace: str
    tell: Tell
    _threads: dict[str, threading.Thread] = field(default_factory=dict)

    def follow(self, pods: Any) -> None:
        for pod in pods:
            key = pod["metadata"].get("uid") or pod["metadata"]["name"]
            if key not in self._threads and pod.get("status", {}).get("phase") in {"Running", "Succeeded", "Failed"}:
                name = pod["metadata"]["name"]
                thread = threading.Thread(target=self._follow, args=(name,), daemon=True, name=f"log of {name}")
                self._threads[key] = thread
                thread.start()

    def finish(self) -> None:
        for thread in self._threads.values():
            thread.join(LOG_TAIL_S)

    def _follow(self, name: str) -> None:
        with suppress(PipelineError):  # a pod that went away took its log along: its end is told by its job
            for line in self.cluster.lines(f"/api/v1/namespaces/{self.namespace}/pods/{name}/log?follow=true"):
                self.tell(f"[{name}] {line}")
