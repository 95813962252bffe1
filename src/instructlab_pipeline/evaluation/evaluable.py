"""What the evaluation could only fail at, found before anything is spent. No server is asked."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from instructlab_pipeline.errors import ParameterError
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.lm_eval import require_tasks
from instructlab_pipeline.evaluation.metrics import Metric, Scale, chosen
from instructlab_pipeline.evaluation.questions import own_items
from instructlab_pipeline.evaluation.statistics import samples_for_clear_pass


class EvaluationParameters(Protocol):
    """Those that can be found impossible."""

    @property
    def eval_num_samples(self) -> int: ...
    @property
    def eval_metrics(self) -> tuple[str, ...]: ...
    @property
    def eval_quality_threshold(self) -> float: ...
    @property
    def eval_require_clear(self) -> bool: ...
    @property
    def eval_questions(self) -> tuple[str, ...] | None: ...
    @property
    def eval_lm_eval_tasks(self) -> tuple[str, ...] | None: ...
    @property
    def eval_judge_endpoint(self) -> str | None: ...


def require_evaluable(parameters: EvaluationParameters) -> None:
    """Refuse what no model could pass, or what cannot be used.

    Raises:
        ParameterError: a metric that is unknown or needs a judge that is not there, or a pass that no model can reach.
        SourceError: a question set or task file of the user's own cannot be used. UsageError: lm-eval is not there.
    """
    require_tasks(parameters.eval_lm_eval_tasks or ())
    metrics = chosen(parameters.eval_metrics, judged=parameters.eval_judge_endpoint is not None)
    own = own_items(parameters.eval_questions or ())
    complaints = list(_never_clear(parameters, metrics, own)) if parameters.eval_require_clear else []
    if complaints:
        raise ParameterError(complaints)


def _never_clear(parameters: EvaluationParameters, metrics: Mapping[str, Metric], own: Sequence[Item]) -> Iterator[str]:
    """A sentence for each metric that cannot pass clearly, however good the model."""
    threshold = parameters.eval_quality_threshold
    for name, metric in metrics.items():
        needed = samples_for_clear_pass(threshold, is_share=metric.scale is Scale.SHARE)
        asked = parameters.eval_num_samples + sum(bool(item.choices) == metric.wants_choices for item in own)
        if metric.decides and (needed is None or asked < needed):
            enough = "no number of questions is enough for that" if needed is None else f"that takes at least {needed}"
            yield (
                f"eval_require_clear: with {asked} questions not even a model without a fault passes a threshold of "
                f"{threshold} clearly by {name}; {enough}"
            )
