"""What the state of a job, its pods and their events comes to: whether it goes on, is done, failed, or is stuck."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from instructlab_pipeline.errors import PipelineError, ServiceError, SourceError, UsageError, WorkerError
from instructlab_pipeline.kube.training_job import Api

Object = Mapping[str, Any]

# A container that waits for one of these reasons waits for a person. Source: kubelet's images and container packages.
HOPELESS = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
)
FAILED = "Failed"  # the condition, for both kinds of job
UNDER_WAY = ("ContainerCreating", "PodInitializing")  # a node was found; images and volumes take their time
MOST_EVENTS = 10
OF_EXIT_CODE: Mapping[int, type[PipelineError]] = {
    kind.exit_code: kind for kind in (UsageError, SourceError, ServiceError)
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One look at a job. `job` is None when somebody deleted it; `events` are asked for where they are to explain."""

    job: Object | None
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()

    @property
    def conditions(self) -> Mapping[str, Object]:
        """Of the job, by type, as far as they hold."""
        status = (self.job or {}).get("status", {})
        return {each["type"]: each for each in status.get("conditions", ()) if each.get("status") == "True"}

    @property
    def is_deleted(self) -> bool:
        return self.job is None or "deletionTimestamp" in self.job["metadata"]


@dataclass(frozen=True, kw_only=True)
class State:
    """`waits`: what its pods wait for, in a sentence; empty where nothing is in the way.

    `hopeless`: only a person can help. `under_way`: nothing is wrong so far.
    """

    phase: Literal["going", "done", "failed"]
    waits: str = ""
    hopeless: bool = False
    under_way: bool = False


def state_of(seen: Seen, api: Api) -> State:
    if api.succeeded in seen.conditions:
        return State(phase="done")
    if seen.is_deleted or FAILED in seen.conditions:
        return State(phase="failed")
    if "Suspended" in seen.conditions:
        return State(phase="going")  # a queue holds it back: that is no fault
    waits = list(_waits(seen))
    return State(
        phase="going",
        waits="; ".join(dict.fromkeys(sentence for sentence, _ in waits)),
        hopeless=any(reason in HOPELESS for _, reason in waits),
        under_way=all(reason in UNDER_WAY for _, reason in waits),
    )


def stuck(seen: Seen, state: State, minutes: float) -> PipelineError:
    """The error for a job whose pods do not start."""
    told = f"the training job did not start within {minutes:g} minutes: {state.waits}{_explained(seen.events)}"
    if state.hopeless:
        return UsageError(told, remedy="mend what the events name: the image, its pull secret, or a missing secret")
    return WorkerError(
        told,
        remedy="free GPUs or nodes, or ask for less: train_num_workers, train_gpu_identifier, train_memory_per_worker, "
        "k8s_node_selector, k8s_tolerations",
    )


def failure(seen: Seen) -> PipelineError:
    """Why the job failed: in the terms of the pod that ended first, with the events that explain it."""
    if FAILED not in seen.conditions:
        return WorkerError("the training job was deleted", remedy="run the same step again: it goes on")
    condition = seen.conditions[FAILED]
    ends = sorted(_ends(seen.pods), key=lambda end: end.finished)
    because = ": ".join(word for word in (condition.get("reason"), condition.get("message")) if word)
    told = "".join(f"\n  {end.sentence}" for end in ends)
    kind = next((OF_EXIT_CODE[end.exit_code] for end in ends if end.exit_code in OF_EXIT_CODE), WorkerError)
    return kind(
        f"the training job failed ({because}){told}{_explained(seen.events)}",
        remedy="read the workers' log above; training goes on from its last checkpoint when the step runs again",
    )


@dataclass(frozen=True, kw_only=True)
class _End:
    finished: str
    exit_code: int
    sentence: str


def _ends(pods: Iterable[Object]) -> Iterator[_End]:
    """How each pod that failed ended: by its container's exit, or by the cluster (evicted, preempted, shut down)."""
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status", {})
        if status.get("reason"):
            words = f"pod {name}: {status['reason']}: {status.get('message', '')}".rstrip(": ")
            yield _End(finished="", exit_code=0, sentence=words)
            continue
        for container in status.get("containerStatuses", ()):
            ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
            if ended and ended.get("exitCode"):
                reason = f" ({ended['reason']})" if ended.get("reason") else ""
                yield _End(
                    finished=ended.get("finishedAt", ""),
                    exit_code=ended["exitCode"],
                    sentence=f"pod {name} ended with exit code {ended['exitCode']}{reason}",
                )


def _waits(seen: Seen) -> Iterator[tuple[str, str]]:
    """What each pod waits for, in a sentence, and the reason as the cluster names it."""
    if not seen.pods:
        yield "it has no pods", "NoPods"
    for pod in seen.pods:
        status = pod.get("status", {})
        if status.get("phase") != "Pending":
            continue
        name = pod["metadata"]["name"]
        for condition in status.get("conditions", ()):
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                told = condition.get("message") or condition.get("reason")
                yield f"pod {name} cannot be scheduled: {told}", "Unschedulable"
        for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            if waiting := container.get("state", {}).get("waiting"):
                reason = waiting.get("reason", "")
                yield f"pod {name} waits: {reason}: {waiting.get('message', '')}".rstrip(": "), reason


def _explained(events: Sequence[Object]) -> str:
    """The warnings, newest last, each once."""
    warnings = [event for event in events if event.get("type") == "Warning"]
    warnings.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    told = dict.fromkeys(map(_event_in_words, warnings))
    return "".join(f"\n  event: {line}" for line in list(told)[-MOST_EVENTS:])


def _event_in_words(event: Object) -> str:
    about, message = event["involvedObject"], " ".join((event.get("message") or "").split())
    return f"{about.get('kind', '')} {about.get('name', '')}: {event.get('reason')}: {message}"
