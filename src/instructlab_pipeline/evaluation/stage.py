"""The door of the evaluation room: what a tuned model answers, against the base model, and the verdict.

`run_phase_1` informs; `run_final` decides. A verdict of "fail" is a result like any other: acting on it is for others.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from instructlab_pipeline.artifacts import Artifact, Facts, read_jsonl, write_atomically, write_jsonl
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.evaluation import comparison as layout
from instructlab_pipeline.evaluation.answers import Settings, answer, answer_budget
from instructlab_pipeline.evaluation.candidate import Candidate, base_candidate, require_trained, tuned_candidate
from instructlab_pipeline.evaluation.comparison import Comparison
from instructlab_pipeline.evaluation.contamination import Contamination, contamination
from instructlab_pipeline.evaluation.items import Item, choose, items_of
from instructlab_pipeline.evaluation.metrics import chosen
from instructlab_pipeline.evaluation.statistics import samples_for_clear_share
from instructlab_pipeline.evaluation.verdict import Verdict, decide
from instructlab_pipeline.stage import Context

VERDICT = "verdict.json"


@dataclass(frozen=True, kw_only=True)
class _EvaluationInputs:
    model: Artifact
    train_phase_1: Artifact
    sdg: Artifact
    eval_num_samples: int
    eval_batch_size: int
    eval_metrics: tuple[str, ...]
    eval_quality_threshold: float
    output_save_metrics: bool
    output_metrics_format: str


@dataclass(frozen=True, kw_only=True)
class EvalPhase1Inputs(_EvaluationInputs):
    """What informs after the first training phase."""


@dataclass(frozen=True, kw_only=True)
class EvalFinalInputs(_EvaluationInputs):
    """What decides in the end; `dataset` is there to prove that no question was trained on."""

    train_phase_2: Artifact
    dataset: Artifact


def run_phase_1(inputs: EvalPhase1Inputs, context: Context) -> Facts:
    """Compare the model of phase 1 with the base model; where phase 1 was skipped, say so.

    Raises:
        ParameterError: an unknown metric.
        SourceError: an empty evaluation set.
        WorkerError: the process that generates answers failed.
    """
    chosen(inputs.eval_metrics)
    tuned = tuned_candidate(inputs.train_phase_1)
    if tuned is None:
        reason = "train_phase_1 was skipped, so there is nothing to evaluate yet"
        _write_json(context, VERDICT, {"verdict": None, "skipped": reason})
        return {"skipped": reason}
    return _evaluate(inputs, tuned, context, extra={})


def run_final(inputs: EvalFinalInputs, context: Context) -> Facts:
    """Judge the model that training ended with.

    Raises:
        ParameterError: an unknown metric.
        SourceError: an empty evaluation set, nothing was trained, or a question was trained on.
        WorkerError: the process that generates answers failed.
    """
    chosen(inputs.eval_metrics)
    tuned = require_trained(tuned_candidate(inputs.train_phase_1, inputs.train_phase_2))
    found = contamination(_all_items(inputs.sdg), _trained_records(inputs.dataset))
    _require_no_leak(found)
    record = {
        "checked": found.checked,
        "records": found.records,
        "leaks": len(found.leaks),
        "near_duplicates": len(found.near_duplicates),
    }
    return _evaluate(inputs, tuned, context, extra={"contamination": record})


def _evaluate(inputs: _EvaluationInputs, tuned: Candidate, context: Context, *, extra: dict[str, Any]) -> Facts:
    base = base_candidate(inputs.model)
    every = _all_items(inputs.sdg)
    items = _chosen_items(every, inputs.eval_num_samples, context)
    settings = Settings(
        max_new_tokens=answer_budget((item.reference for item in every), base.folder),
        batch_size=inputs.eval_batch_size,
    )
    base_answers = answer(base, items, settings, context)
    tuned_answers = answer(tuned, items, settings, context)

    comparison = Comparison(
        items=items, base=base_answers.texts, tuned=tuned_answers.texts, metrics=chosen(inputs.eval_metrics)
    )
    verdict = decide(comparison.scores, inputs.eval_quality_threshold)
    _write_results(inputs, comparison, context)
    record = {
        **layout.verdict_record(comparison, verdict, inputs.eval_quality_threshold),
        **extra,
        "model": {"stage": tuned.stage, "digest": tuned.digest, "files": dict(sorted(tuned.files.items()))},
        "base": {"stage": base.stage, "digest": base.digest},
        "max_new_tokens": settings.max_new_tokens,
    }
    _write_json(context, VERDICT, record)
    _tell(comparison, verdict, inputs.eval_quality_threshold, context)
    return {
        "n": len(items),
        "metrics": {
            name: {"base": item["base"], "tuned": item["tuned"], "interval": item["interval"]}
            for name, item in record["metrics"].items()
        },
        "verdict": verdict.word,
        "clear": verdict.clear,
        "threshold": inputs.eval_quality_threshold,
        "generated": {"base": base_answers.generated, "tuned": tuned_answers.generated},
    }


def _all_items(sdg: Artifact) -> list[Item]:
    return items_of(read_jsonl(sdg / "evaluation.jsonl"))


def _trained_records(dataset: Artifact) -> Iterator[dict[str, Any]]:
    return chain.from_iterable(read_jsonl(dataset / name) for name in ("phase_1.jsonl", "phase_2.jsonl"))


def _require_no_leak(found: Contamination) -> None:
    if found.leaks:
        raise SourceError(
            f"{len(found.leaks)} of {found.checked} evaluation questions are among the training records "
            f"({', '.join(found.leaks[:5])}): a score on them would measure memory",
            remedy="delete the stages sdg and dataset of this run and run again, so that both are made anew",
        )


def _chosen_items(every: list[Item], count: int, context: Context) -> list[Item]:
    items = choose(every, count)
    if len(items) < count:
        message = f"eval_num_samples is {count}, but only {len(items)} questions were held out: all are asked"
        context.events.point("notice", message=message)
    return items


def _write_results(inputs: _EvaluationInputs, comparison: Comparison, context: Context) -> None:
    write_jsonl(context.folder / "answers.jsonl", layout.answer_records(comparison))
    if not inputs.output_save_metrics:
        return
    if inputs.output_metrics_format == "csv":
        with (context.folder / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, layout.CSV_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(layout.metrics_rows(comparison))
    else:
        _write_json(context, "metrics.json", layout.metrics_record(comparison))


def _tell(comparison: Comparison, verdict: Verdict, threshold: float, context: Context) -> None:
    for name, item in comparison.scores.items():
        context.events.metric(name, item.tuned, base=item.base, interval=layout.interval_record(item.interval))
        ruling = verdict.rulings[name]
        if not ruling.clear:
            context.events.point("notice", message=_unclear(name, item.tuned, threshold, len(comparison.items)))


def _unclear(name: str, value: float, threshold: float, n: int) -> str:
    message = f"{name} is {value:.3f} on {n} questions, too near {threshold} to be sure of the side it is on"
    needed = samples_for_clear_share(value, threshold)
    return message if needed is None else f"{message}; eval_num_samples of about {needed} would tell"


def _write_json(context: Context, name: str, value: Any) -> None:
    write_atomically(context.folder / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
