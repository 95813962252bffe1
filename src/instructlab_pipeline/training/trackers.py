"""TensorBoard and MLflow, for those who watch their training there; telemetry.jsonl has the same and more.

TensorBoard's files lie in the stage's work/tensorboard. MLflow is told where MLFLOW_TRACKING_URI is set; its other
variables (MLFLOW_EXPERIMENT_NAME, MLFLOW_TRACKING_TOKEN ...) work as everywhere.
"""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.training.job import TrainingJob

_TOLD = (  # of a job, to MLflow
    "epochs",
    "learning_rate",
    "schedule",
    "samples_per_step",
    "max_sample_tokens",
    "lora_rank",
    "seed",
)


_EXPERIMENT = "instructlab-pipeline"


class Tracker(Protocol):
    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class Trackers:
    """All that are wanted. One that fails is given up with a notice: nobody's training ends for a chart."""

    def __init__(self, job: TrainingJob, events: Events, *, speaks: bool = True) -> None:
        """Raises UsageError where one is asked for and not installed. Where nobody `speaks`, none is."""
        self._events = events
        self._open: dict[str, Tracker] = {}
        for name, wanted, start in (
            ("TensorBoard", job.tensorboard, _TensorBoard),
            ("MLflow", "MLFLOW_TRACKING_URI" in os.environ, _MLflow),
        ):
            if wanted and speaks:
                self._try(name, partial(self._begin, name, start, job))

    def _begin(self, name: str, start: Callable[[TrainingJob], Tracker], job: TrainingJob) -> None:
        self._open[name] = start(job)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Numbers among `values`, measured at `step`."""
        numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
        for name, tracker in list(self._open.items()):
            self._try(name, partial(tracker.log, numbers, step))

    def close(self) -> None:
        for name, tracker in list(self._open.items()):
            self._try(name, tracker.close)

    def _try(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a tracker does, training goes on
            self._open.pop(name, None)
            self._events.point("notice", message=f"{name} is told nothing more: {error or type(error).__name__}")


class _TensorBoard:
    def __init__(self, job: TrainingJob) -> None:
        try:
            from tensorboard.summary import Writer
        except ImportError as error:
            raise _missing("train_tensorboard", "tensorboard") from error
        self._writer = Writer(str(job.work / "tensorboard"))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """One run of MLflow for a phase, however often the phase was begun again."""

    def __init__(self, job: TrainingJob) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise _missing("MLFLOW_TRACKING_URI", "mlflow") from error
        self._client = MlflowClient()
        known = job.work / "mlflow-run"
        self._run = known.read_text() if known.exists() else self._begin(job, known)

    def _begin(self, job: TrainingJob, known: Path) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run: str = self._client.create_run(experiment_id, run_name=job.name).info.run_id
        for setting in _TOLD:
            self._client.log_param(run, setting, getattr(job, setting))
        known.write_text(run)
        return run

    def log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        self._client.log_batch(self._run, metrics=[Metric(name, value, now_ms, step) for name, value in values.items()])

    def close(self) -> None:
        self._client.set_terminated(self._run)


def _missing(asked: str, package: str) -> UsageError:
    return UsageError(
        f"{asked} asks for {package}, which is not installed", remedy="pip install 'instructlab-pipeline[trackers]'"
    )
