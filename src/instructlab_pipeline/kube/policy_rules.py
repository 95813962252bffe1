"""The rules of `params/rules.py` in CEL, for a ConfigMap that holds the parameters that a rule looks at."""

from collections.abc import Mapping

from instructlab_pipeline.kube.cel import bind, finds, listed, quoted, sentence
from instructlab_pipeline.kube.names import CONFIGMAP
from instructlab_pipeline.kube.policy_quantities import amount
from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.table import PARAMETERS

ORIGIN = f" (ConfigMap {CONFIGMAP})"


def warnings() -> Mapping[str, str]:
    """By rule: an expression of what to warn of, or ''."""
    return {
        "tag_is_implied": _tag_is_implied(),
        "checkpoint_frequency_is_idle": _idle("output_checkpoint_frequency", "output_save_checkpoints"),
        "checkpoints_come_too_late": _checkpoints_come_too_late(),
        "metrics_format_is_idle": _idle("output_metrics_format", "output_save_metrics"),
        "learning_rate_is_idle": _learning_rate_is_idle(),
        "plain_http_is_idle": _plain_http_is_idle(),
        "cpus_disagree": _disagree("train_cpu_limit", "cpu"),
        "memory_disagrees": _disagree("train_memory_per_worker", "memory"),
    }


def _tag_is_implied() -> str:
    image = "output_oci_model_uri"
    message = sentence(quoted(f"{image}="), _text(image), quoted(" has no tag: the model is published as latest"))
    untagged = f"{_text(image)} != '' && !{finds(_text(image), '^(oci:)?(.*/)?[^/:]*:[^/]*$')}"
    return _where([image], f"({untagged} || {finds(_text(image), '^oci:[^/:]*$')})", message)


def _idle(name: str, switch: str) -> str:
    message = sentence(quoted(f"{name}="), _text(name), quoted(f"{ORIGIN} has no effect: {switch} is false{ORIGIN}"))
    return _where([name, switch], f"{_is_chosen(name)} && {_text(switch)}.lowerAscii() == 'false'", message)


def _checkpoints_come_too_late() -> str:
    name, switch = "output_checkpoint_frequency", "output_save_checkpoints"
    phases = ("train_epochs_phase_1", "train_epochs_phase_2")
    late = " && ".join(f"int({_text(name)}) > int({_text(phase)})" for phase in phases)
    message = sentence(quoted(f"{name}="), _text(name), quoted(f"{ORIGIN} keeps none: no phase has so many epochs"))
    return _where([name, switch, *phases], f"{_text(switch)}.lowerAscii() == 'true' && {late}", message)


def _learning_rate_is_idle() -> str:
    name, phases = "train_learning_rate", ("train_learning_rate_phase_1", "train_learning_rate_phase_2")
    own = " && ".join(f"{_text(phase)} != ''" for phase in phases)
    message = sentence(
        quoted(f"{name}="), _text(name), quoted(f"{ORIGIN} has no effect: both phases have their own learning rate")
    )
    return _where([name, *phases], f"{_is_chosen(name)} && {own}", message)


def _plain_http_is_idle() -> str:
    switch, image = "output_registry_insecure", "output_oci_model_uri"
    idle = f"{_text(switch)}.lowerAscii() == 'true' && {finds(_text(image), '^oci:([^/]|/[^/])')}"
    message = sentence(quoted(f"{switch}=true has no effect: "), _text(image), quoted(" is a folder, not a registry"))
    return _where([switch, image], idle, message)


def _disagree(name: str, resource: str) -> str:
    """What k8s_worker_resources gives its pods, and what training pods are told by `name`, are two values."""
    resources = "k8s_worker_resources"
    found = f'"{resource}"\\s*:\\s*("[^"]*"|[0-9.eE+-]+)'
    given = f"({_text(resources)}.find(r'''{found}''') + ':').split(':')[1].find('[0-9.][^\"]*')"
    differ = f"{_is_chosen(resources)} && g != '' && {amount('g')} != {amount(_text(name))}"
    winner = f"({_is_chosen(name)} ? {_text(name)} : g)"
    message = sentence(
        quoted(f"{name}="),
        _text(name),
        quoted(f"{ORIGIN} and {resources} with {resource} "),
        "g",
        quoted(f"{ORIGIN} disagree: training pods get "),
        winner,
    )
    return _where([name, resources], "true", bind("g", given, f"({differ} ? {message} : '')"))


def _where(names: list[str], condition: str, message: str) -> str:
    """The message where the ConfigMap has all of `names` and the condition holds."""
    present = f"{listed(names)}.all(n, n in variables.data)"
    return f"{present} && {condition} ? {message} : ''"


def _text(name: str) -> str:
    return f"variables.data[{quoted(name)}].trim()"


def _is_chosen(name: str) -> str:
    """Whether it is no profile's default, which a ConfigMap lists without anybody having chosen it."""
    defaults = sorted({text_of(default) for default in PARAMETERS[name].defaults.values()})
    return f"!({_text(name)} in {listed(defaults)})"
