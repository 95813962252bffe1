"""Tasks of lm-evaluation-harness, from files of the user's own, for both models: they inform.

lm-eval is an optional extra and runs in a process of its own, on local files alone. Its results are kept by model and
tasks, so that the base model is asked once.
"""

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import write_atomically
from instructlab_pipeline.errors import SourceError, UsageError
from instructlab_pipeline.evaluation.answers import worker_environment
from instructlab_pipeline.evaluation.candidate import Candidate
from instructlab_pipeline.evaluation.questions import content_digest
from instructlab_pipeline.processes import run_worker
from instructlab_pipeline.stage import Context

EXTRA = "instructlab-pipeline[lm-eval]"
PARAMETER = "eval_lm_eval_tasks"
_DEFINING = frozenset({"task", "group", "include"})
_UNKNOWN = "N/A"  # what lm-eval writes for an error that it cannot estimate


def require_tasks(paths: Sequence[str]) -> None:
    """Refuse what lm-eval could only fail at, after all the training.

    Raises:
        UsageError: lm-eval is not installed. SourceError: a file is not there, or is no task, or its data is not there.
    """
    if not paths:
        return
    if importlib.util.find_spec("lm_eval") is None:
        raise UsageError("eval_lm_eval_tasks needs lm-eval, which is not installed", remedy=f"pip install '{EXTRA}'")
    require_task_files(paths)


def require_task_files(paths: Sequence[str]) -> None:
    """Raises: see `require_tasks`."""
    content_digest(paths, parameter=PARAMETER)
    faults = [f"{path}: {fault}" for path in paths if (fault := _fault(Path(path))) is not None]
    if faults:
        raise SourceError(
            f"{PARAMETER} cannot be used:\n" + "\n".join(faults),
            remedy="mend these files; lm-evaluation-harness describes them in docs/new_task_guide.md",
        )


def task_results(
    base: Candidate, tuned: Candidate, paths: Sequence[str], batch_size: int, context: Context
) -> dict[str, Any]:
    """`{TASK: {METRIC: {"base", "tuned", "stderr": {"base", "tuned"}}}}`, and nothing where no task is given.

    Raises:
        WorkerError: lm-eval failed. SourceError: what it wrote cannot be read.
    """
    if not paths:
        return {}
    sides = {"base": base, "tuned": tuned}
    found = {side: _results(candidate, paths, batch_size, context) for side, candidate in sides.items()}
    return {
        task: {metric: _both(found, task, metric) for metric in metrics} for task, metrics in found["tuned"].items()
    }


def measured(record: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float | None]]]:
    """By task and metric `value` and `stderr`, from a results file of lm-eval.

    Its keys are `METRIC,FILTER`, with `METRIC_stderr,FILTER` beside them; the filter is shown where it is one.
    """
    return {task: dict(_metrics(values)) for task, values in sorted(record["results"].items())}


def _fault(path: Path) -> str | None:
    """What can be told of a task file without lm-eval, which takes long to start."""
    import yaml

    class Tolerant(yaml.SafeLoader):
        """Passes over the functions that a task may name (`!function`)."""

    Tolerant.add_multi_constructor("!", lambda *_: None)
    try:
        task = yaml.load(path.read_bytes(), Tolerant)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        return f"is not YAML: {' '.join(str(error).split())}"
    if not isinstance(task, dict) or task.keys().isdisjoint(_DEFINING):
        return "defines no task: one mapping with the key task is expected"
    settings = task.get("dataset_kwargs")
    files = settings.get("data_files") if isinstance(settings, dict) else None
    absent = [name for name in _names(files) if not _is_there(name)]
    return f"its data is not there: {', '.join(absent)}" if absent else None


def _names(files: Any) -> list[str]:
    """`data_files` as datasets takes it: a path, several, or either by split."""
    if isinstance(files, dict):
        return [name for each in files.values() for name in _names(each)]
    if isinstance(files, list):
        return [name for each in files for name in _names(each)]
    return [files] if isinstance(files, str) else []


def _is_there(name: str) -> bool:
    return "*" in name or "://" in name or Path(name).exists()


def _metrics(values: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float | None]]]:
    for key, value in values.items():
        metric, _, chosen = key.partition(",")
        if not chosen or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        error = values.get(f"{metric}_stderr,{chosen}", _UNKNOWN)
        name = metric if chosen == "none" else f"{metric} ({chosen})"
        yield name, {"value": float(value), "stderr": float(error) if isinstance(error, int | float) else None}


def _both(found: Mapping[str, Any], task: str, metric: str) -> dict[str, Any]:
    sides = {side: results[task][metric] for side, results in found.items()}
    return {
        **{side: each["value"] for side, each in sides.items()},
        "stderr": {side: each["stderr"] for side, each in sides.items()},
    }


def _results(candidate: Candidate, paths: Sequence[str], batch_size: int, context: Context) -> Any:
    digest = content_digest(paths, parameter=PARAMETER)
    kept = context.cache / "lm_eval" / f"{candidate.digest}-{digest}.json"
    if not kept.exists():
        write_atomically(kept, json.dumps(_run(candidate, paths, batch_size, context)))
    return json.loads(kept.read_text())


def _run(candidate: Candidate, paths: Sequence[str], batch_size: int, context: Context) -> Any:
    output = context.work / f"lm-eval-of-{candidate.stage}"
    shutil.rmtree(output, ignore_errors=True)
    run_worker(
        [
            *(sys.executable, "-m", "lm_eval", "run", "--model", "hf"),
            *("--model_args", json.dumps({"pretrained": str(candidate.folder.resolve())})),
            *("--tasks", ",".join(str(Path(path).resolve()) for path in paths)),
            *("--batch_size", str(batch_size), "--apply_chat_template", "--output_path", str(output)),
        ],
        log=output.with_suffix(".log"),
        environment={
            **worker_environment(candidate.folder),
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(context.work / "huggingface"),
        },
        doing=f"running {len(paths)} tasks of lm-eval on the model of stage {candidate.stage}",
    )
    files = sorted(output.rglob("results_*.json"))
    if not files:
        raise SourceError(
            f"lm-eval ended well and left no results in {output}",
            remedy=f"see whether the task files define a task; its words are in {output.with_suffix('.log')}",
        )
    return measured(json.loads(files[-1].read_text()))
