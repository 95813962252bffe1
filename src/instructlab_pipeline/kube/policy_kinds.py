"""The kinds of `params/kinds.py` in CEL: for each, the fault of a text that has no space around it."""

from collections.abc import Callable, Mapping, Sequence

from instructlab_pipeline.kube import policy_json, policy_uris
from instructlab_pipeline.kube.cel import (
    NO_FAULT,
    finds,
    first_fault,
    first_in,
    in_quotes,
    listed,
    matches,
    quoted,
    sentence,
)
from instructlab_pipeline.kube.policy_quantities import size_fault
from instructlab_pipeline.params import kinds, readers
from instructlab_pipeline.params.kubernetes import LABEL, LONGEST_SUBDOMAIN, SUBDOMAIN

# Where a mantissa that is not 0 cannot be told from 0, or is beyond all numbers.
_TINY = r"-?[0-9.]*[1-9][0-9.]*[eE]-0*(3(2[4-9]|[3-9][0-9])|[4-9][0-9]{2}|[0-9]{4,})"
_HUGE = r"-?[0-9.]*[1-9][0-9.]*[eE][+]?0*(3(09|[1-9][0-9])|[4-9][0-9]{2}|[0-9]{4,})"


def faults_of(kind: kinds.Kind, value: str) -> list[str]:
    """The faults of `value`, an expression of a text that is not empty; each is asked where those before it are ''."""
    return [fault(value) for fault in FAULTS.get((kind.name, kind.valid), (_anything,))]


def _integer(value: str, *more: tuple[str, str]) -> str:
    return first_fault(
        (matches(value, "-?0[0-9]+"), quoted("has zeros in front")),
        (f"!{matches(value, readers.INTEGER_FORM)}", quoted("is not an integer written in digits")),
        (_is_beyond(value), quoted("is beyond 2^53 - 1, where JSON rounds integers")),
        *more,
    )


def _is_beyond(value: str) -> str:
    largest = readers.LARGEST_INTEGER
    return f"({finds(value, '[0-9]{17}')} || int({value}) > {largest} || int({value}) < -{largest})"


def _positive_integer(value: str) -> str:
    return _integer(value, (f"int({value}) <= 0", quoted("is not above 0")))


def _whole_number(value: str) -> str:
    return _integer(value, (f"int({value}) < 0", quoted("is below 0")))


def _float(value: str, *more: tuple[str, str]) -> str:
    return first_fault(
        (f"!{matches(value, readers.FLOAT_FORM)}", quoted("is not a number")),
        (matches(value, _HUGE), quoted("is too large for a number")),
        (matches(value, _TINY), quoted("is too small to tell from 0")),
        *more,
    )


def _positive_float(value: str) -> str:
    return _float(value, (f"double({value}) <= 0.0", quoted("is not above 0")))


def _unit_float(value: str) -> str:
    return _float(value, (f"(double({value}) < 0.0 || double({value}) > 1.0)", quoted("is not between 0 and 1")))


def _boolean(value: str) -> str:
    return first_fault((f"!({value}.lowerAscii() in ['true', 'false'])", quoted("is neither true nor false")))


def _anything(_value: str) -> str:
    """A kind without a rule here is left to the command line; a test asks for the rule."""
    return NO_FAULT


def _paths(value: str) -> str:
    paths = f"{value}.split(',').map(n, n.trim())"
    fault = first_fault(
        ("n == ''", quoted("has an empty path between its commas")),
        policy_uris.control_character("n"),
        (f"{paths}.filter(m, m == n).size() > 1", sentence(quoted("names "), "n", quoted(" twice"))),
    )
    return first_in(f"{paths}.map(n, {fault})")


def _metrics(value: str) -> str:
    """The first name that is at fault says why."""
    names = f"{value}.split(',').map(n, n.trim())"
    known = listed(readers.METRICS)
    fault = first_fault(
        ("n == ''", quoted("has an empty name between its commas")),
        (f"!(n in {known})", sentence(quoted("names "), in_quotes("n"), quoted(", which is not a metric"))),
        (f"{names}.filter(m, m == n).size() > 1", sentence(quoted("names "), "n", quoted(" twice"))),
    )
    return first_in(f"{names}.map(n, {fault})")


def _metrics_format(value: str) -> str:
    return _choice(value, kinds.METRICS_FORMATS)


def _switch(value: str) -> str:
    return _choice(value, kinds.SWITCHES)


def _training_api(value: str) -> str:
    return _choice(value, kinds.TRAINING_APIS)


def _choice(value: str, choices: Sequence[str]) -> str:
    return first_fault((f"!({value} in {listed(choices)})", quoted(f"is not one of {', '.join(choices)}")))


def _model_name(value: str) -> str:
    return first_fault(
        (f"{value}.size() > {readers.LONGEST_NAME}", quoted(f"is longer than {readers.LONGEST_NAME} characters")),
        (finds(value, "^[.-]"), sentence(quoted("starts with "), in_quotes(f"{value}.charAt(0)"))),
        (finds(value, "/"), quoted("has a slash in it")),
        policy_uris.control_character(value),
    )


def _text(value: str) -> str:
    return first_fault(policy_uris.control_character(value))


def _semantic_version(value: str) -> str:
    form = readers.SEMANTIC_VERSION_FORM
    return first_fault(
        (f"{value}.size() > {readers.LONGEST_NAME}", quoted(readers.TOO_LONG_A_VERSION)),
        (matches(value, f"[vV]{form}"), quoted("starts with a v, which semantic versions do not")),
        (f"!{matches(value, form)}", quoted("is not a semantic version")),
    )


def _kubernetes_name(value: str) -> str:
    return first_fault(
        (f"{value}.size() > {LONGEST_SUBDOMAIN}", quoted(f"is longer than {LONGEST_SUBDOMAIN} characters")),
        (f"!{matches(value, SUBDOMAIN)}", quoted("is not a Kubernetes name")),
    )


def _extended_resource(value: str) -> str:
    domain, name = f"{value}.split('/')[0]", f"{value}.substring({value}.indexOf('/') + 1)"
    no_domain = sentence(
        quoted("has the domain "), in_quotes(domain), quoted(", which is not a domain name in lower case")
    )
    no_resource = sentence(quoted("has the resource "), in_quotes(name), quoted(", which is not a resource name"))
    return first_fault(
        (f"!{value}.contains('/')", quoted("has no domain in front of the resource")),
        (f"!{matches(domain, SUBDOMAIN)}", no_domain),
        (finds(domain, r"(^|\.)kubernetes\.io$"), quoted("is in a domain that Kubernetes keeps for itself")),
        (f"!{matches(name, LABEL)}", no_resource),
    )


# A kind is told by what it says of itself.
FAULTS: Mapping[tuple[str, str], Sequence[Callable[[str], str]]] = {
    (kind.name, kind.valid): faults
    for kind, *faults in (
        (kinds.INTEGER, _integer),
        (kinds.POSITIVE_INTEGER, _positive_integer),
        (kinds.WHOLE_NUMBER, _whole_number),
        (kinds.POSITIVE_FLOAT, _positive_float),
        (kinds.UNIT_FLOAT, _unit_float),
        (kinds.BOOLEAN, _boolean),
        (kinds.MODEL_NAME, _model_name),
        (kinds.TEXT, _text),
        (kinds.SEMANTIC_VERSION, _semantic_version),
        (kinds.SIZE, size_fault),
        (kinds.METRICS_LIST, _metrics),
        (kinds.PATHS, _paths),
        (kinds.METRICS_FORMAT, _metrics_format),
        (kinds.TRAINING_API, _training_api),
        (kinds.SWITCH, _switch),
        (kinds.MODEL_URI, policy_uris.model_uri_fault),
        (kinds.GIT_URL, policy_uris.git_url_fault),
        (kinds.GIT_REVISION, policy_uris.git_revision_fault),
        (kinds.IMAGE, policy_uris.image_fault),
        (kinds.BASE_IMAGE, policy_uris.base_image_fault),
        (kinds.ENDPOINT, policy_uris.endpoint_fault),
        (kinds.WEBHOOK, policy_uris.webhook_fault),
        (kinds.REMOTE_ENDPOINT, policy_uris.webhook_fault),
        (kinds.KUBERNETES_NAME, _kubernetes_name),
        (kinds.EXTENDED_RESOURCE, _extended_resource),
        (kinds.NODE_SELECTOR, policy_json.node_selector_fault),
        (kinds.TOLERATIONS, policy_json.tolerations_fault),
        (kinds.WORKER_RESOURCES, policy_json.worker_resources_fault, policy_json.worker_quantities_fault),
    )
}
