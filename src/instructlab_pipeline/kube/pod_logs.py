"""The logs of pods as they come: of the pods that there are, and of those to come."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty
from typing import Any
from urllib.parse import urlencode

from instructlab_pipeline.errors import PipelineError, ServiceError
from instructlab_pipeline.kube.connection import Cluster
from instructlab_pipeline.kube.watching import Collection, news_of

Tell = Callable[[str], None]
LOG_TAIL_S = 5.0  # for the last lines of the logs that are followed
AGAIN_AFTER_S = 2.0
BETWEEN_PODS_S = 60.0  # from the end of a step to the pods of the next


def follow_pods(
    cluster: Cluster, pods: Collection, tell: Tell, *, container: str, quiet_s: float = BETWEEN_PODS_S
) -> None:
    """Until none of these pods has been at work for `quiet_s`.

    Raises:
        PipelineError: they may not be seen.
    """
    follower = LogFollower(
        cluster=cluster, namespace=cluster.namespace, tell=tell, again_after_s=AGAIN_AFTER_S, container=container
    )
    found: Sequence[Any] = ()
    busy = time.monotonic()
    with news_of(cluster, {"pods": pods}, pause_s=AGAIN_AFTER_S) as news:
        while time.monotonic() - busy < quiet_s:
            with suppress(Empty):
                _, told = news.get(timeout=min(AGAIN_AFTER_S, quiet_s))
                if isinstance(told, list):
                    found = told
                elif not isinstance(told, ServiceError):
                    raise told
            follower.follow(found)
            if any(_is_at_work(pod) for pod in found):
                busy = time.monotonic()
    follower.finish()


@dataclass(kw_only=True)
class LogFollower:
    """Tells the pods' logs, line by line, each from its beginning, also of pods that were started anew.

    container: which one of a pod's, where it has several. again_after_s: before a connection that broke is made again.
    """

    cluster: Cluster
    namespace: str
    tell: Tell
    again_after_s: float
    container: str = ""
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _over: threading.Event = field(default_factory=threading.Event)

    def follow(self, pods: Any) -> None:
        """What pods there are now: logs of those that run go on."""
        phases = {_identity(pod): pod.get("status", {}).get("phase") for pod in pods}
        self._running = {identity for identity, phase in phases.items() if phase == "Running"}
        for pod in pods:
            identity = _identity(pod)
            if identity not in self._threads and phases[identity] in {"Running", "Succeeded", "Failed"}:
                name = pod["metadata"]["name"]
                thread = threading.Thread(
                    target=self._follow, args=(name, identity), daemon=True, name=f"log of {name}"
                )
                self._threads[identity] = thread
                thread.start()

    def finish(self) -> None:
        self._running = set()
        self._over.set()
        give_up = time.monotonic() + LOG_TAIL_S
        for thread in self._threads.values():
            thread.join(max(0.0, give_up - time.monotonic()))

    def _follow(self, name: str, identity: str) -> None:
        """A connection that breaks is made again; what was told is not told twice."""
        told = ""
        while True:
            for stamp, text in self._lines(name, told):
                self.tell(f"[{name}] {text}")
                told = stamp
            if identity not in self._running:
                return
            self._over.wait(self.again_after_s)

    def _lines(self, name: str, told: str) -> Iterator[tuple[str, str]]:
        """Each line with the time at which it was written, from after `told`."""
        with suppress(PipelineError):  # a pod that went away took its log along: its end is told by its job
            for line in self.cluster.lines(self._place(name, told)):
                stamp, _, text = line.partition(" ")
                if stamp > told:
                    yield stamp, text

    def _place(self, name: str, told: str) -> str:
        query = {"follow": "true", "timestamps": "true", "container": self.container, "sinceTime": told}
        asked = urlencode({key: value for key, value in query.items() if value})
        return f"/api/v1/namespaces/{self.namespace}/pods/{name}/log?{asked}"


def _is_at_work(pod: Any) -> bool:
    return pod.get("status", {}).get("phase") in {"Pending", "Running"}


def _identity(pod: Any) -> str:
    return str(pod["metadata"].get("uid") or pod["metadata"]["name"])
