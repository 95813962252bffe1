"""Rules across parameters: what is worth a notice although each value is valid by itself.

A rule looks at all settings and returns a sentence, or None.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from instructlab_pipeline.evaluation.metrics import METRICS, Scale
from instructlab_pipeline.evaluation.statistics import samples_for_clear_pass
from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.quantities import amount
from instructlab_pipeline.params.readers import Value
from instructlab_pipeline.params.uris import has_tag, is_layout


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value with its origin. `explicit`: somebody gave it, it is not the profile's."""

    value: Value
    origin: str
    explicit: bool = False


Settings = Mapping[str, Setting]
Rule = Callable[[Settings], str | None]


def notices_on(settings: Settings) -> list[str]:
    return [notice for rule in RULES if (notice := rule(settings)) is not None]


def tag_is_implied(settings: Settings) -> str | None:
    image = settings["output_oci_model_uri"].value
    if not isinstance(image, str) or has_tag(image):
        return None
    return f"output_oci_model_uri={image} has no tag: the model is published as latest"


def checkpoint_frequency_is_idle(settings: Settings) -> str | None:
    return _idle(settings, "output_checkpoint_frequency", "output_save_checkpoints")


def metrics_format_is_idle(settings: Settings) -> str | None:
    return _idle(settings, "output_metrics_format", "output_save_metrics")


def checkpoints_come_too_late(settings: Settings) -> str | None:
    frequency = settings["output_checkpoint_frequency"]
    epochs = max(_number(settings, "train_epochs_phase_1"), _number(settings, "train_epochs_phase_2"))
    if not settings["output_save_checkpoints"].value or _number(settings, "output_checkpoint_frequency") <= epochs:
        return None
    return f"output_checkpoint_frequency={frequency.value} ({frequency.origin}) keeps none: no phase has so many epochs"


def learning_rate_is_idle(settings: Settings) -> str | None:
    rate = settings["train_learning_rate"]
    phases = (settings["train_learning_rate_phase_1"], settings["train_learning_rate_phase_2"])
    if not rate.explicit or not all(phase.explicit for phase in phases):
        return None
    return f"train_learning_rate={_shown(rate)} has no effect: both phases have their own learning rate"


def plain_http_is_idle(settings: Settings) -> str | None:
    image = settings["output_oci_model_uri"].value
    if settings["output_registry_insecure"].value is not True or not isinstance(image, str) or not is_layout(image):
        return None
    return f"output_registry_insecure=true has no effect: {image} is a folder, not a registry"


def no_verdict_can_be_a_clear_pass(settings: Settings) -> str | None:
    threshold = _number(settings, "eval_quality_threshold")
    samples, metrics = settings["eval_num_samples"], settings["eval_metrics"].value
    is_share = not any(METRICS[name].scale is Scale.UNIT for name in (metrics if isinstance(metrics, tuple) else ()))
    needed = samples_for_clear_pass(threshold, is_share=is_share)
    has_others = settings["eval_questions"].value is not None
    if needed is None or has_others or _number(settings, "eval_num_samples") >= needed:
        return None
    return (
        f"eval_num_samples={_shown(samples)} is too few to tell: at eval_quality_threshold={threshold} not even a "
        f"model without a fault passes clearly on fewer than {needed} questions"
    )


def cpus_disagree(settings: Settings) -> str | None:
    return _resources_disagree(settings, "train_cpu_limit", "cpu")


def memory_disagrees(settings: Settings) -> str | None:
    return _resources_disagree(settings, "train_memory_per_worker", "memory")


RULES: tuple[Rule, ...] = (
    tag_is_implied,
    checkpoint_frequency_is_idle,
    checkpoints_come_too_late,
    metrics_format_is_idle,
    learning_rate_is_idle,
    plain_http_is_idle,
    no_verdict_can_be_a_clear_pass,
    cpus_disagree,
    memory_disagrees,
)


def _idle(settings: Settings, name: str, switch: str) -> str | None:
    setting = settings[name]
    if not setting.explicit or settings[switch].value is True:
        return None
    return f"{name}={_shown(setting)} has no effect: {switch} is false ({settings[switch].origin})"


def _resources_disagree(settings: Settings, name: str, resource: str) -> str | None:
    """Whether somebody gave k8s_worker_resources something else than what training pods are told by `name`."""
    training, workers = settings[name], settings["k8s_worker_resources"]
    given = json.loads(str(workers.value)).get(resource)
    if not workers.explicit or given is None or amount(str(given)) == amount(text_of(training.value)):
        return None
    winner = text_of(training.value) if training.explicit else str(given)
    return (
        f"{name}={_shown(training)} and k8s_worker_resources with {resource} {given} ({workers.origin}) disagree: "
        f"training pods get {winner}"
    )


def _shown(setting: Setting) -> str:
    return f"{text_of(setting.value)} ({setting.origin})"


def _number(settings: Settings, name: str) -> float:
    value = settings[name].value
    assert isinstance(value, int | float)
    return value
