"""What a run came to: a JSON object from the stages' facts, and the same in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from instructlab_pipeline.events import duration
from instructlab_pipeline.pipeline import StageResult

LEAVES_SHOWN = 5


def outcome(results: Sequence[StageResult]) -> dict[str, Any]:
    """Metrics, verdict, image, places and generation, as far as the run came."""
    by_name = {result.name: result for result in results}
    found: dict[str, Any] = {}
    if sdg := by_name.get("sdg"):
        found["generation"] = _generation(sdg)
    if final := by_name.get("eval_final"):
        facts = final.artifact.facts
        found["evaluation"] = {
            name: facts[name] for name in ("metrics", "verdict", "clear", "reasons", "threshold", "n")
        }
        found["answers"] = f"{final.place}/answers.jsonl"
    if publish := by_name.get("publish"):
        facts = publish.artifact.facts
        found["image"] = {name: facts[name] for name in ("reference", "digest", "size_bytes")}
    return found


def _generation(sdg: StageResult) -> dict[str, Any]:
    """What the teacher was asked in this very run: nothing, where the stage was reused."""
    facts = sdg.artifact.facts
    asked = {path: leaf["made"] for path, leaf in facts["leaves"].items()} if sdg.status == "made" else {}
    return {
        "samples": f"{sdg.place}/samples.jsonl",
        "accepted": facts["samples"],
        "target": facts["target"],
        "teacher": facts["teacher"],
        "leaves": len(facts["leaves"]),
        "leaves_asked_for": sorted(path for path, made in asked.items() if made),
        "calls_made": sum(asked.values()),
        "calls_reused": facts["calls"]["reused"] + (0 if sdg.status == "made" else facts["calls"]["made"]),
    }


def in_words(report: Mapping[str, Any]) -> str:
    parts = [
        _metrics_in_words(report.get("evaluation")),
        _places_in_words(report),
        _stages_in_words(report["stages"]),
    ]
    return "\n" + "\n\n".join("\n".join(lines) for lines in parts if lines)


def _metrics_in_words(evaluation: Mapping[str, Any] | None) -> list[str]:
    if evaluation is None:
        return []
    lines = [f"{'':<16}{'base':>8}{'tuned':>8}   95% interval"]
    for name, metric in evaluation["metrics"].items():
        low, high = metric["interval"]
        lines.append(f"{name:<16}{metric['base']:>8.3f}{metric['tuned']:>8.3f}   {low:.3f} to {high:.3f}")
    clear = ", clear" if evaluation["clear"] else ", not clear: an interval holds the threshold"
    asked = f"on {evaluation['n']} questions that are not in the training data"
    return [*lines, f"{'verdict':<16}{evaluation['verdict']}{clear}; threshold {evaluation['threshold']}, {asked}"]


def _places_in_words(report: Mapping[str, Any]) -> list[str]:
    rows: list[tuple[str, str]] = []
    if image := report.get("image"):
        rows += [("image", image["reference"]), ("digest", image["digest"])]
    if generation := report.get("generation"):
        rows += [
            ("samples", f"{generation['samples']} ({generation['accepted']} of {generation['target']})"),
            ("leaves", _leaves_in_words(generation)),
            ("teacher", _teacher_in_words(generation)),
        ]
    if answers := report.get("answers"):
        rows.append(("answers", answers))
    if report.get("stages"):
        rows.append(("report", report["report"]))
    return [f"{name:<16}{value}" for name, value in rows]


def _leaves_in_words(generation: Mapping[str, Any]) -> str:
    asked = generation["leaves_asked_for"]
    if not asked:
        return f"all {generation['leaves']} reused"
    if len(asked) == generation["leaves"]:
        return f"all {len(asked)} generated"
    named = ", ".join(asked[:LEAVES_SHOWN]) + (", ..." if len(asked) > LEAVES_SHOWN else "")
    return f"{len(asked)} of {generation['leaves']} generated anew, the others reused: {named}"


def _teacher_in_words(generation: Mapping[str, Any]) -> str:
    nature = ", a rule-based writer and not a language model" if generation["teacher"].startswith("builtin") else ""
    calls = f"{generation['calls_made']} calls made, {generation['calls_reused']} reused"
    return f"{generation['teacher']}{nature}: {calls}"


def _stages_in_words(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for stage in stages:
        skipped = ", skipped" if stage["facts"].get("skipped") else ""
        lines.append(f"{stage['stage']:<16}{stage['status'] + skipped:<16}{duration(stage['seconds']):>10}")
    total = sum(stage["seconds"] for stage in stages)
    return [*lines, f"{'all':<32}{duration(total):>10}"]
