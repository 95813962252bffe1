"""What an evaluation leaves behind and tells: answers.jsonl, metrics.json or metrics.csv, verdict.json, notices."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.artifacts import Facts, write_atomically, write_jsonl
from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.evaluation import comparison as layout
from instructlab_pipeline.evaluation.comparison import Comparison
from instructlab_pipeline.evaluation.published import compared_to_published
from instructlab_pipeline.evaluation.statistics import samples_for_clear_share
from instructlab_pipeline.evaluation.verdict import Verdict
from instructlab_pipeline.stage import Context

VERDICT = "verdict.json"
Published = Callable[[], Mapping[str, Any] | None]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What an evaluation came to."""

    comparison: Comparison
    verdict: Verdict
    threshold: float


def write(ending: Ending, more: Mapping[str, Any], *, metrics_format: str | None, context: Context) -> None:
    """All files; `more` is what the verdict says besides what follows from the grades."""
    comparison = ending.comparison
    write_jsonl(context.folder / "answers.jsonl", layout.answer_records(comparison))
    if metrics_format == "csv":
        with (context.folder / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, layout.CSV_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(layout.metrics_rows(comparison))
    elif metrics_format == "json":
        write_json(context, "metrics.json", layout.metrics_record(comparison))
    write_json(context, VERDICT, {**layout.verdict_record(comparison, ending.verdict, ending.threshold), **more})


def write_json(context: Context, name: str, value: Any) -> None:
    write_atomically(context.folder / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def facts(ending: Ending) -> Facts:
    record = layout.verdict_record(ending.comparison, ending.verdict, ending.threshold)
    return {
        "n": record["n"],
        "metrics": {
            name: {"base": item["base"], "tuned": item["tuned"], "interval": item["interval"]}
            for name, item in record["metrics"].items()
        },
        "verdict": record["verdict"],
        "clear": record["clear"],
        "reasons": record["reasons"],
        "threshold": ending.threshold,
    }


def tell(ending: Ending, context: Context) -> None:
    """Each metric, and what a reader of its number alone would miss."""
    answers = ending.comparison.evidence.tuned.texts.values()
    if empty := sum(not answer for answer in answers):
        _notice(context, f"{empty} of {len(answers)} answers of the tuned model are empty")
    for name, item in ending.comparison.scores.items():
        context.events.metric(name, item.tuned, base=item.base, interval=layout.interval_record(item.interval))
        if item.ungraded:
            _notice(
                context,
                f"{name}: the judge gave no usable opinion on {item.ungraded} of {item.n} questions; they are in no "
                "mean, and the interval reaches as far as if all of them were wrong, or right",
            )
        if item.is_significantly_worse:
            _notice(context, f"{name} is {item.tuned:.3f}, and {item.base:.3f} of the base model: tuning did harm")
    for name, ruling in ending.verdict.rulings.items():
        if not ruling.clear:
            item = ending.comparison.scores[name]
            _notice(context, _unclear(name, item.tuned, ending.threshold, item.n))
    for name, leaves in ending.comparison.regressions.items():
        _notice(context, f"{name}: tuning did harm in {', '.join(leaves)}")


def compare_to_published(ending: Ending, published: Published, context: Context) -> dict[str, Any]:
    """See `published.py`; where the version out there cannot be asked about, that is said, and nothing is compared."""
    try:
        found = published()
    except (ServiceError, SourceError) as error:
        _notice(context, f"no comparison with the published version: {error.message}")
        return {}
    compared = compared_to_published(found or {}, ending.comparison.scores)
    for name, each in compared.items():
        if each["worse"]:
            _notice(
                context,
                f"{name} is {each['tuned']:.3f}, and {each['published']:.3f} in the published version: significantly "
                "worse than what would be replaced",
            )
    return compared


def tell_shortfall(wanted: int, there: int, context: Context) -> None:
    _notice(context, f"eval_num_samples is {wanted}, but only {there} questions were held out: all are asked")


def _unclear(name: str, value: float, threshold: float, n: int) -> str:
    message = f"{name} is {value:.3f} on {n} questions, too near {threshold} to be sure of the side it is on"
    needed = samples_for_clear_share(value, threshold)
    return message if needed is None or needed <= n else f"{message}; eval_num_samples of about {needed} would tell"


def _notice(context: Context, message: str) -> None:
    context.events.point("notice", message=message)
