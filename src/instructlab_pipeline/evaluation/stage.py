"""The door of the evaluation room: what a tuned model answers, against the base model, and the verdict.

`run_phase_1` informs; `run_final` decides. A verdict of "fail" is a result like any other: acting on it is for others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from instructlab_pipeline.artifacts import Artifact, Facts, digest_of, read_jsonl
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.evaluation import report
from instructlab_pipeline.evaluation.answers import Settings, answer_budget
from instructlab_pipeline.evaluation.candidate import Candidate, base_candidate, require_trained, tuned_candidate
from instructlab_pipeline.evaluation.comparison import Comparison
from instructlab_pipeline.evaluation.contamination import contamination, giveaways, require_no_leak
from instructlab_pipeline.evaluation.endpoint import Address, model_of
from instructlab_pipeline.evaluation.evidence import Examination, examine
from instructlab_pipeline.evaluation.items import Item, choose, item_of, require_items
from instructlab_pipeline.evaluation.judging import Judge, judge_at
from instructlab_pipeline.evaluation.lm_eval import task_results
from instructlab_pipeline.evaluation.metrics import Metric, Source, chosen
from instructlab_pipeline.evaluation.questions import content_digest, own_items
from instructlab_pipeline.evaluation.verdict import decide
from instructlab_pipeline.stage import Context, unkeyed

MULTIPLE_CHOICE = "multiple_choice.jsonl"
MEMORIES = ("answers", "judgements", "lm_eval")  # of the shared cache

Published = report.Published


@dataclass(frozen=True, kw_only=True)
class _EvaluationInputs:
    model: Artifact
    train_phase_1: Artifact
    sdg: Artifact
    eval_num_samples: int
    eval_batch_size: int
    eval_metrics: tuple[str, ...]
    eval_quality_threshold: float
    eval_questions: tuple[str, ...] | None
    eval_judge_model: str | None
    eval_judge_endpoint: str | None = unkeyed()
    output_save_metrics: bool
    output_metrics_format: str

    @property
    def judge(self) -> Address | None:
        if self.eval_judge_endpoint is None:
            return None
        return Address(role="judge", endpoint=self.eval_judge_endpoint, model=self.eval_judge_model)


@dataclass(frozen=True, kw_only=True)
class EvalPhase1Inputs(_EvaluationInputs):
    """What informs after the first training phase."""


@dataclass(frozen=True, kw_only=True)
class EvalFinalInputs(_EvaluationInputs):
    """What decides in the end; `dataset` is there to prove that no question was trained on."""

    train_phase_2: Artifact
    dataset: Artifact
    eval_require_clear: bool
    eval_lm_eval_tasks: tuple[str, ...] | None
    eval_candidate_model: str | None
    eval_candidate_endpoint: str | None = unkeyed()
    output_oci_model_uri: str = unkeyed()
    output_registry_insecure: bool = unkeyed()

    @property
    def served(self) -> Address | None:
        if self.eval_candidate_endpoint is None:
            return None
        return Address(role="candidate", endpoint=self.eval_candidate_endpoint, model=self.eval_candidate_model)


def fingerprint(inputs: EvalPhase1Inputs | EvalFinalInputs) -> str:
    """What stands behind names: the content of the user's own questions, the judge's model, the served model.

    Raises:
        SourceError: a question set is not there. UsageError, ServiceError: see `endpoint.model_of`.
    """
    judge = inputs.judge
    served = inputs.served if isinstance(inputs, EvalFinalInputs) else None
    tasks = (inputs.eval_lm_eval_tasks or ()) if isinstance(inputs, EvalFinalInputs) else ()
    known = [
        content_digest(inputs.eval_questions or ()),
        content_digest(tasks, parameter="eval_lm_eval_tasks"),
        *(model_of(each) for each in (judge, served) if each is not None),
    ]
    return digest_of(known) if any(known) else ""


def given_away(sdg: Artifact, eval_questions: Sequence[str] | None) -> Callable[[Mapping[str, Any]], str | None]:
    """Tells of a training record which question of the evaluation it would give away, if any.

    Raises:
        SourceError: a question set of the user's own cannot be used, or there is no question.
    """
    return giveaways(_questions(sdg, eval_questions).every)


def run_phase_1(inputs: EvalPhase1Inputs, context: Context) -> Facts:
    """Compare the model of phase 1 with the base model; where phase 1 was skipped, say so.

    Raises:
        ParameterError: an unknown metric.
        SourceError: an empty evaluation set.
        WorkerError: the process that generates answers failed. ServiceError: the judge did.
    """
    metrics = _metrics(inputs)
    tuned = tuned_candidate(inputs.train_phase_1)
    if tuned is None:
        reason = "train_phase_1 was skipped, so there is nothing to evaluate yet"
        report.write_json(context, report.VERDICT, {"verdict": None, "skipped": reason})
        return {"skipped": reason}
    asked = _examination(inputs, _questions(inputs.sdg, inputs.eval_questions), metrics, context)
    return _evaluate(inputs, tuned, asked, context, extra={}, published=nothing_published)


def run_final(inputs: EvalFinalInputs, context: Context, *, published: Published) -> Facts:
    """Judge the model that training ended with.

    published: asks for the evaluation of the version that is published; what it says stands in the facts alone, so
    that what is sealed depends on the inputs and not on what is out there at the moment.

    Raises:
        ParameterError: an unknown metric.
        SourceError: an empty evaluation set, nothing was trained, or a question was trained on.
        WorkerError: the process that generates answers failed. ServiceError: the judge or the served model did.
    """
    metrics = _metrics(inputs)
    tuned = require_trained(tuned_candidate(inputs.train_phase_1, inputs.train_phase_2))
    questions = _questions(inputs.sdg, inputs.eval_questions)
    found = contamination(questions.every, _trained_records(inputs.dataset))
    require_no_leak(found)
    record = {
        "checked": found.checked,
        "records": found.records,
        "leaks": len(found.leaks),
    }
    asked = _examination(inputs, questions, metrics, context)
    tasks = task_results(
        base_candidate(inputs.model), tuned, inputs.eval_lm_eval_tasks or (), inputs.eval_batch_size, context
    )
    extra = {"contamination": record, "lm_eval": tasks}
    return _evaluate(inputs, tuned, asked, context, extra=extra, published=published)


def _metrics(inputs: _EvaluationInputs) -> dict[str, Metric]:
    return chosen(inputs.eval_metrics, judged=inputs.judge is not None)


@dataclass(frozen=True, kw_only=True)
class _Questions:
    generated: list[Item]
    own: list[Item]

    @property
    def every(self) -> list[Item]:
        return [*self.generated, *self.own]


def _questions(sdg: Artifact, own: Sequence[str] | None) -> _Questions:
    """The generated questions, those with choices too where there are some, and the user's own."""
    open_ones = require_items([item_of(record) for record in read_jsonl(sdg / "evaluation.jsonl")])
    choices = sdg / MULTIPLE_CHOICE
    with_choices = [item_of(record) for record in read_jsonl(choices)] if choices.exists() else []
    return _Questions(generated=[*open_ones, *with_choices], own=own_items(own or ()))


def _examination(
    inputs: _EvaluationInputs, questions: _Questions, metrics: dict[str, Metric], context: Context
) -> Examination:
    references = (item.reference for item in questions.every if not item.choices)
    kinds = {metric.wants_choices for metric in metrics.values()}
    return Examination(
        items=[
            item
            for with_choices in sorted(kinds)
            for item in _asked(inputs.eval_num_samples, questions, context, with_choices=with_choices)
        ],
        metrics=metrics,
        settings=Settings(
            max_new_tokens=answer_budget(references, base_candidate(inputs.model).folder),
            batch_size=inputs.eval_batch_size,
        ),
        judge=_judge(inputs, metrics),
        served=inputs.served if isinstance(inputs, EvalFinalInputs) else None,
    )


def _asked(count: int, questions: _Questions, context: Context, *, with_choices: bool) -> list[Item]:
    """Of the generated questions at most `count`, and all of the user's own, by leaf."""
    generated = [item for item in questions.generated if bool(item.choices) == with_choices]
    own = [item for item in questions.own if bool(item.choices) == with_choices]
    if not generated and not own:
        raise SourceError(
            "mcq_accuracy has nothing to grade: there is no question with choices",
            remedy="leave it out of eval_metrics, or give questions with choices by eval_questions",
        )
    if len(generated) < count and not with_choices:
        report.tell_shortfall(count, len(generated), context)
    return sorted([*choose(generated, count), *own], key=lambda item: (item.leaf, item.id))


def _judge(inputs: _EvaluationInputs, metrics: dict[str, Metric]) -> Judge | None:
    """Where a metric needs one; the chosen metrics do only where one is configured."""
    wanted = {metric.source for metric in metrics.values()} & {Source.JUDGE, Source.PREFERENCE}
    if inputs.judge is None or not wanted:
        return None
    return judge_at(inputs.judge, at_once=inputs.eval_batch_size)


def nothing_published() -> None:
    """Where no earlier version is asked for."""


def _evaluate(
    inputs: _EvaluationInputs,
    tuned: Candidate,
    asked: Examination,
    context: Context,
    *,
    extra: dict[str, Any],
    published: Published,
) -> Facts:
    base = base_candidate(inputs.model)
    findings = examine(base, tuned, asked, context)
    comparison = Comparison(evidence=findings.evidence, metrics=asked.metrics)
    strict = isinstance(inputs, EvalFinalInputs) and inputs.eval_require_clear
    verdict = decide(comparison.scores, inputs.eval_quality_threshold, require_clear=strict)
    ending = report.Ending(comparison=comparison, verdict=verdict, threshold=inputs.eval_quality_threshold)
    more = {
        **extra,
        "require_clear": strict,
        "model": {"stage": tuned.stage, "digest": tuned.digest, "files": dict(sorted(tuned.files.items()))},
        "base": {"stage": base.stage, "digest": base.digest},
        "judge": None if asked.judge is None else asked.judge.model,
        "served_by": None if asked.served is None else model_of(asked.served),
        "max_new_tokens": asked.settings.max_new_tokens,
    }
    metrics_format = inputs.output_metrics_format if inputs.output_save_metrics else None
    report.write(ending, more, metrics_format=metrics_format, context=context)
    report.tell(ending, context)
    compared = report.compare_to_published(ending, published, context)
    return {**report.facts(ending), "generated": dict(findings.made), "published": compared}


def _trained_records(dataset: Artifact) -> Iterator[dict[str, Any]]:
    return chain.from_iterable(read_jsonl(dataset / name) for name in ("phase_1.jsonl", "phase_2.jsonl"))
