"""The page of a run: what came of it first, then why one may believe it, down to single answers and parameters.

Self-contained HTML without scripts, so that it opens from a disk, a bucket, a mail, and Kubeflow's sandboxed viewer.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from instructlab_pipeline.evaluation.verdict import Grades, Score, score
from instructlab_pipeline.events import duration
from instructlab_pipeline.pipeline import STAGE_NAMES
from instructlab_pipeline.report import charts
from instructlab_pipeline.report.charts import Change, Span
from instructlab_pipeline.report.findings import Findings, grades_by_leaf

MOST_ANSWERS = 200
SAMPLES_PER_LEAF = 3
REJECTS_PER_REASON = 3
MOST_LEAVES = 60  # a chart of more is no picture any more; the files have them all


def page_of(run: Path) -> str:
    """The whole page as HTML."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("instructlab_pipeline.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["duration"] = duration
    return environment.get_template("page.html.jinja").render(sections(Findings(run))) + "\n"


def sections(found: Findings) -> dict[str, Any]:
    """Everything that the template shows, by name."""
    return {
        "name": found.parameter("output_model_name") or found.path.name,
        "version": found.parameter("output_model_version"),
        "outcome": _outcome(found),
        "verdict": found.verdict,
        "certainty": _certainty(found.verdict) if _missing(found) in (None, "publish") else "",
        "image": found.facts("publish"),
        "metrics_chart": _metrics_chart(found.verdict),
        "leaves": _leaves(found),
        "contamination": found.verdict.get("contamination", {}),
        "published": found.facts("eval_final").get("published") or {},
        "lm_eval": found.verdict.get("lm_eval") or {},
        "answers": _answers(found),
        "generation": found.facts("sdg"),
        "funnel": found.funnel,
        "funnel_kinds": _kinds(found.funnel),
        "funnel_chart": _funnel_chart(found.funnel),
        "samples": _samples(found),
        "rejected": _rejected(found),
        "loss_charts": _loss_charts(found),
        "training": {phase: found.facts(phase) for phase in ("train_phase_1", "train_phase_2") if found.facts(phase)},
        "timeline": _timeline(found),
        "origins": _origins(found),
        "parameters": found.record.get("parameters", {}),
        "program_version": found.record.get("version"),
        "command": found.record.get("command"),
        "notices": _notices(found),
    }


def _outcome(found: Findings) -> dict[str, str]:
    """`state` is a class of the style sheet, `words` what a person wants to know first."""
    missing = _missing(found)
    if missing is None:
        return {"state": "good", "words": "published"}
    if missing == "publish" and found.verdict.get("verdict") == "fail":
        return {"state": "bad", "words": "not published: the quality gate said no"}
    ended = [event for event in found.events if event["event"] == "end"]
    if ended and not ended[-1].get("ok") and ended[-1]["name"] not in found.sealed:
        return {"state": "bad", "words": f"stopped in {ended[-1]['name']}: {ended[-1].get('error', '')}"}
    return {"state": "open", "words": f"not finished: {missing} comes next"}


def _missing(found: Findings) -> str | None:
    """The first stage that is not finished; what later ones have left is of an earlier attempt."""
    return next((name for name in STAGE_NAMES if name not in found.sealed), None)


def _certainty(verdict: Mapping[str, Any]) -> str:
    """How sure the verdict is, in a sentence; empty where there is none."""
    if verdict.get("verdict") not in ("pass", "fail"):
        return ""
    passed, threshold = verdict["verdict"] == "pass", verdict["threshold"]
    if verdict.get("clear"):
        side = "every interval lies above" if passed else "an interval lies wholly below"
        return f"The quality gate said {verdict['verdict']}, and clearly: {side} the threshold of {threshold}."
    unsure = [name for name, metric in verdict["metrics"].items() if metric.get("clear") is False]
    return (
        f"The quality gate said {verdict['verdict']}, but not clearly: the interval of {', '.join(unsure)} reaches "
        f"across the threshold of {threshold}. More questions (eval_num_samples) would tell."
    )


def _metrics_chart(verdict: Mapping[str, Any]) -> str:
    shares = [
        Change(
            label=name,
            base=metric.get("base"),
            tuned=metric["tuned"],
            interval=tuple(metric["interval"]) if metric.get("interval") else None,
            threshold=metric.get("threshold"),
        )
        for name, metric in verdict.get("metrics", {}).items()
        if _is_share(metric.get("tuned")) and _is_share(metric.get("base") or 0)
    ]
    return charts.changes(shares) if shares else ""


def _leaves(found: Findings) -> dict[str, dict[str, Any]]:
    """By metric: a chart of its leaves and their scores, the weakest first; nothing where there is one leaf alone."""
    answers = list(found.answers())
    drawn: dict[str, dict[str, Any]] = {}
    for name, metric in found.verdict.get("metrics", {}).items():
        if _is_share(metric.get("tuned")):
            leaves = grades_by_leaf(answers, name)
            weakest = sorted(leaves, key=lambda leaf: (_mean_tuned(leaves[leaf]), leaf))[:MOST_LEAVES]
            scores = {leaf: own for leaf in weakest if (own := score(leaves[leaf])) is not None}
            if len(scores) > 1:
                rows = [_leaf_change(leaf, own, metric.get("threshold")) for leaf, own in scores.items()]
                drawn[name] = {"chart": charts.changes(rows), "scores": scores}
    return drawn


def _mean_tuned(grades: Grades) -> float:
    known = [grade for grade in grades.tuned if grade is not None]
    return sum(known) / len(known) if known else 0.0


def _leaf_change(leaf: str, own: Score, threshold: float | None) -> Change:
    interval = own.interval.low, own.interval.high
    return Change(label=leaf, base=own.base, tuned=own.tuned, interval=interval, threshold=threshold)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _answers(found: Findings) -> dict[str, Any]:
    """Wrong answers first: they are what a person can do something about."""
    every = list(found.answers())
    metric = next(iter(found.verdict.get("metrics", {})), None)
    every.sort(key=lambda answer: (_grade(answer, metric), answer["leaf"], answer["id"]))
    return {"shown": every[:MOST_ANSWERS], "total": len(every), "metric": metric}


def _grade(answer: Mapping[str, Any], metric: str | None) -> float:
    grade = answer["grades"].get(metric) or {}
    return float(grade.get("tuned") or 0)


def _kinds(funnel: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What candidates become, the commonest reason for a rejection first."""
    reasons: Counter[str] = Counter()
    for leaf in funnel.values():
        reasons.update(leaf["rejected"])
    return [
        "accepted",
        "evaluation",
        *(reason for reason, _ in sorted(reasons.items(), key=lambda it: (-it[1], it[0]))),
    ]


def _funnel_chart(funnel: Mapping[str, Mapping[str, Any]]) -> str:
    rows = {
        path: {"accepted": leaf["accepted"], "evaluation": leaf["evaluation"], **leaf["rejected"]}
        for path, leaf in islice(funnel.items(), MOST_LEAVES)
    }
    return charts.stacks(rows, _kinds(funnel)) if rows else ""


def _samples(found: Findings) -> dict[str, list[dict[str, Any]]]:
    """The first few of each leaf, for as many leaves as a chart has."""
    chosen: dict[str, list[dict[str, Any]]] = {}
    for sample in found.samples():
        if sample["leaf"] not in chosen and len(chosen) == MOST_LEAVES:
            continue
        some = chosen.setdefault(sample["leaf"], [])
        if len(some) < SAMPLES_PER_LEAF:
            some.append(sample)
    return chosen


def _rejected(found: Findings) -> dict[str, list[dict[str, Any]]]:
    chosen: dict[str, list[dict[str, Any]]] = {}
    for candidate in found.rejected():
        some = chosen.setdefault(candidate["reason"], [])
        if len(some) < REJECTS_PER_REASON:
            some.append(candidate)
    return dict(sorted(chosen.items()))


def _loss_charts(found: Findings) -> dict[str, str]:
    drawn: dict[str, str] = {}
    for phase in ("train_phase_1", "train_phase_2"):
        for axis, points in found.losses(phase).items():
            drawn[phase] = charts.lines({phase: points}, x=axis, y="loss (nats per token)")
    return drawn


def _timeline(found: Findings) -> str:
    """Each stage's last attempt, one after another: the nights between two attempts are not work."""
    ends = {event["name"]: event for event in found.events if event["event"] == "end" and event["name"] in STAGE_NAMES}
    spans, now = [], 0.0
    for name in STAGE_NAMES:
        if end := ends.get(name):
            state = "good" if end.get("ok") else "bad"
            until = now + end["seconds"]
            spans.append(Span(label=name, start=now, end=until, state=state, words=duration(end["seconds"])))
            now = until
    return charts.timeline(spans) if spans else ""


def _origins(found: Findings) -> list[tuple[str, str]]:
    """The chain from the image back to what people wrote; each link is named by its digest."""
    links = {
        "image": (found.facts("publish").get("reference"), found.facts("publish").get("digest")),
        "verdict": (found.verdict.get("verdict"), _digest(found, "eval_final")),
        "trained on": (f"{found.facts('sdg').get('samples', 0):,} samples", _digest(found, "dataset")),
        "teacher": (found.facts("sdg").get("teacher"), None),
        "taxonomy": (found.facts("taxonomy").get("url"), found.facts("taxonomy").get("commit")),
        "base model": (found.facts("model").get("uri"), _digest(found, "model")),
    }
    return [(name, " · ".join(str(part) for part in parts if part)) for name, parts in links.items() if any(parts)]


def _digest(found: Findings, stage: str) -> str | None:
    return found.sealed[stage].digest if stage in found.sealed else None


def _notices(found: Findings) -> list[str]:
    """Each once, in the order in which they came."""
    told = (event.get("message") for event in found.events if event.get("name") == "notice")
    return list(dict.fromkeys(message for message in told if message))
