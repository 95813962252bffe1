"""The kinds of values that parameters take: how each is read from text, and what to say where it cannot be.

Text comes in without the space around it (people paste newlines). Numbers are read in ASCII digits and in the forms
that Python, YAML, JSON and Kubernetes agree on; nothing is rounded, clipped or guessed.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from instructlab_pipeline.params import kubernetes, uris
from instructlab_pipeline.params.quantities import size_fault

Value = int | float | bool | str | tuple[str, ...] | None

LARGEST_INTEGER = 2**53 - 1  # up to here every JSON reader keeps an integer exactly
METRICS = (
    "accuracy",
    "f1",
    "exact_match",
    "rouge_l",
    "mcq_accuracy",
    "judge_score",
    "judge_win_rate",
    "perplexity",
)
METRICS_FORMATS = ("json", "csv")
SWITCHES = ("auto", "true", "false")
TRAINING_APIS = ("auto", "trainjob", "pytorchjob", "none")

INTEGER_FORM = r"-?(?:0|[1-9][0-9]{0,18})"
FLOAT_FORM = r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
LONGEST_NAME = 128  # characters, of a model, and of its version, which becomes a tag
TOO_LONG_A_VERSION = f"is longer than {LONGEST_NAME} characters, the most that an image's tag has"
# The expression that semver.org suggests for version 2.0.0.
SEMANTIC_VERSION_FORM = (
    r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)"
    r"(?:-(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


@dataclass(frozen=True)
class Refusal:
    """Why a text is not a value of a kind, worded to follow it in a sentence: "is not above 0"."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One type of value. `valid` says in words what is; `schema` is what JSON Schema can say of the value.

    `conceals`: whoever knows the whole URL may use what it leads to, so it is shown without its path.
    """

    name: str
    valid: str
    read: Callable[[str], Value | Refusal]
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    empty_is_a_value: bool = False
    conceals: bool = False

    def shown(self, value: Value) -> Value:
        """The value as it may be recorded and printed."""
        return uris.without_path(value) if self.conceals and isinstance(value, str) and value else value


def text_of(value: Value) -> str:
    """A value as a person writes it in a parameter file; None is empty."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(value)
        case float():
            return re.sub(r"e([+-])0*", r"e\1", repr(value)).replace("e+", "e")
    return str(value)


def nearest(name: str, names: tuple[str, ...]) -> str:
    """The name that was probably meant, as the end of a sentence; empty where none is near."""
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}" if close else ""


def _integer(text: str) -> int | Refusal:
    if re.fullmatch(INTEGER_FORM, text) is None:
        has_zeros = re.fullmatch(r"-?0[0-9]+", text) is not None
        return Refusal("has zeros in front" if has_zeros else "is not an integer written in digits")
    return int(text) if abs(int(text)) <= LARGEST_INTEGER else Refusal("is beyond 2^53 - 1, where JSON rounds integers")


def _positive_integer(text: str) -> int | Refusal:
    value = _integer(text)
    return Refusal("is not above 0") if isinstance(value, int) and value <= 0 else value


def _whole_number(text: str) -> int | Refusal:
    value = _integer(text)
    return Refusal("is below 0") if isinstance(value, int) and value < 0 else value


def _float(text: str) -> float | Refusal:
    if re.fullmatch(FLOAT_FORM, text) is None:
        return Refusal("is not a number")
    value = float(text)
    if math.isinf(value):
        return Refusal("is too large for a number")
    if value == 0 and re.search(r"[1-9]", text.lower().partition("e")[0]):
        return Refusal("is too small to tell from 0")
    return value + 0.0  # -0.0 becomes 0.0


def _positive_float(text: str) -> float | Refusal:
    value = _float(text)
    return Refusal("is not above 0") if isinstance(value, float) and value <= 0 else value


def _unit_float(text: str) -> float | Refusal:
    value = _float(text)
    return Refusal("is not between 0 and 1") if isinstance(value, float) and not 0 <= value <= 1 else value


def _boolean(text: str) -> bool | Refusal:
    return {"true": True, "false": False}.get(text.lower(), Refusal("is neither true nor false"))


def _metrics(text: str) -> tuple[str, ...] | Refusal:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if not name:
            return Refusal("has an empty name between its commas")
        if name not in METRICS:
            return Refusal(f"names {name!r}, which is not a metric{nearest(name, METRICS)}")
        if names.count(name) > 1:
            return Refusal(f"names {name} twice")
    return names


def _paths(text: str) -> tuple[str, ...] | Refusal:
    paths = tuple(path.strip() for path in text.split(","))
    for path in paths:
        if not path or not path.isprintable():
            return Refusal("has an empty path between its commas" if not path else uris.CONTROL_CHARACTER)
        if paths.count(path) > 1:
            return Refusal(f"names {path} twice")
    return paths


def _choice(choices: tuple[str, ...]) -> Callable[[str], Value | Refusal]:
    return lambda text: text if text in choices else Refusal(f"is not one of {', '.join(choices)}")


def _unless(fault: Callable[[str], str | None]) -> Callable[[str], Value | Refusal]:
    """Read text as it is, unless a rule finds fault with it."""
    return lambda text: text if (reason := fault(text)) is None else Refusal(reason)


def _text_fault(text: str) -> str | None:
    return None if text.isprintable() else uris.CONTROL_CHARACTER


def _model_name_fault(text: str) -> str | None:
    """The name also names a folder for the run."""
    if len(text) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} characters"
    if text[0] in ".-" or "/" in text:
        return f"starts with {text[0]!r}" if text[0] in ".-" else "has a slash in it"
    return _text_fault(text)


def _version_fault(text: str) -> str | None:
    if len(text) > LONGEST_NAME:
        return TOO_LONG_A_VERSION
    if re.fullmatch(SEMANTIC_VERSION_FORM, text):
        return None
    if text[0] in "vV" and re.fullmatch(SEMANTIC_VERSION_FORM, text[1:]):
        return "starts with a v, which semantic versions do not"
    return "is not a semantic version"


def _json_schema(**extra: Any) -> Mapping[str, Any]:
    return {"type": "string", "contentMediaType": "application/json", **extra}


INTEGER = Kind(
    name="Integer",
    valid="an integer, such as 42",
    read=_integer,
    schema={"type": "integer", "minimum": -LARGEST_INTEGER, "maximum": LARGEST_INTEGER},
)
POSITIVE_INTEGER = Kind(
    name="Integer > 0",
    valid="an integer above 0, such as 4",
    read=_positive_integer,
    schema={"type": "integer", "minimum": 1, "maximum": LARGEST_INTEGER},
)
WHOLE_NUMBER = Kind(
    name="Integer >= 0",
    valid="an integer from 0, such as 16",
    read=_whole_number,
    schema={"type": "integer", "minimum": 0, "maximum": LARGEST_INTEGER},
)
POSITIVE_FLOAT = Kind(
    name="Float > 0",
    valid="a number above 0, such as 2e-5",
    read=_positive_float,
    schema={"type": "number", "exclusiveMinimum": 0},
)
UNIT_FLOAT = Kind(
    name="Float 0-1",
    valid="a number from 0 to 1, such as 0.7",
    read=_unit_float,
    schema={"type": "number", "minimum": 0, "maximum": 1},
)
BOOLEAN = Kind(name="Boolean", valid="true or false", read=_boolean, schema={"type": "boolean"})
MODEL_NAME = Kind(
    name="String",
    valid="a name of at most 128 characters without slashes, such as instructlab-model",
    read=_unless(_model_name_fault),
    schema={"type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": "^[^/.-][^/]*$"},
)
TEXT = Kind(
    name="String", valid="a text of one line", read=_unless(_text_fault), schema={"type": "string", "minLength": 1}
)
SEMANTIC_VERSION = Kind(
    name="Semantic version",
    valid="MAJOR.MINOR.PATCH after semver.org, such as 1.2.0 or 1.2.0-rc.1",
    read=_unless(_version_fault),
    schema={"type": "string", "maxLength": LONGEST_NAME, "pattern": f"^{SEMANTIC_VERSION_FORM}$"},
)
SIZE = Kind(
    name="Quantity of bytes",
    valid="a Kubernetes quantity of at least 1Mi, such as 120Gi or 500M",
    read=_unless(size_fault),
    schema={"type": "string", "pattern": r"^[0-9.]+([eE][+-]?[0-9]+|[kMGTPE]|[KMGTPE]i)?$"},
)
METRICS_LIST = Kind(
    name="Comma-separated list",
    valid=f"metrics with commas between them, out of {', '.join(METRICS)}",
    read=_metrics,
    schema={"type": "array", "items": {"enum": list(METRICS)}, "minItems": 1, "uniqueItems": True},
)
PATHS = Kind(
    name="Comma-separated list",
    valid="paths of files with commas between them, such as questions.jsonl,more/questions.jsonl",
    read=_paths,
    schema={"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True},
)
METRICS_FORMAT = Kind(
    name="Choice",
    valid=" or ".join(METRICS_FORMATS),
    read=_choice(METRICS_FORMATS),
    schema={"enum": list(METRICS_FORMATS)},
)
SWITCH = Kind(name="Choice", valid="auto, true or false", read=_choice(SWITCHES), schema={"enum": list(SWITCHES)})
TRAINING_API = Kind(
    name="Choice",
    valid=", ".join(TRAINING_APIS[:-1]) + f" or {TRAINING_APIS[-1]}",
    read=_choice(TRAINING_APIS),
    schema={"enum": list(TRAINING_APIS)},
)
MODEL_URI = Kind(
    name="S3 URI",
    valid="s3://BUCKET/PREFIX, hf://ORGANIZATION/NAME@REVISION, oci://REGISTRY/REPOSITORY:TAG, or file:PATH for a "
    "folder on this machine",
    read=_unless(uris.model_uri_fault),
    schema={"type": "string", "pattern": "^(s3://[^/]+|hf://[^/]+/[^/]+|oci://[^/]+/.|file:.)"},
)
GIT_URL = Kind(
    name="Git URL",
    valid="https://HOST/PATH, ssh://, git:// or file:// URLs, git@HOST:PATH, or a path that starts with / or ./",
    read=_unless(uris.git_url_fault),
    schema={"type": "string", "pattern": "^[^-]"},
)
GIT_REVISION = Kind(
    name="Git revision",
    valid="a branch, a tag, a commit, or a ref such as refs/pull/7/head",
    read=_unless(uris.git_revision_fault),
    schema={"type": "string", "pattern": "^[^-]"},
)
IMAGE = Kind(
    name="OCI URI",
    valid="REGISTRY/REPOSITORY:TAG, such as quay.io/org/model:1.0, or oci:DIRECTORY:TAG for an OCI layout on disk",
    read=_unless(uris.image_fault),
    schema={"type": "string", "pattern": "^(oci:.|[^@]+/[^@]+$)"},
)
BASE_IMAGE = Kind(
    name="OCI URI",
    valid="REGISTRY/REPOSITORY:TAG, REGISTRY/REPOSITORY@sha256:DIGEST, or oci:DIRECTORY:TAG",
    read=_unless(uris.base_image_fault),
    schema={"type": "string", "pattern": "^(oci:.|[^@]+/[^@]+(@sha256:[0-9a-f]{64})?$)"},
)
ENDPOINT = Kind(
    name="Endpoint URL",
    valid=f"the base URL of an OpenAI-compatible API, such as https://HOST/v1, or {uris.BUILTIN_TEACHER}",
    read=_unless(uris.endpoint_fault),
    schema={"type": "string", "pattern": f"^(https?://.|{uris.BUILTIN_TEACHER}$)"},
)
WEB_ADDRESS = Kind(
    name="URL",
    valid="an http or https URL without credentials, such as https://HOST/PATH",
    read=_unless(uris.webhook_fault),
    schema={"type": "string", "pattern": "^https?://."},
)
WEBHOOK = replace(WEB_ADDRESS, conceals=True)
REMOTE_ENDPOINT = Kind(
    name="Endpoint URL",
    valid="the base URL of an OpenAI-compatible API, such as https://HOST/v1",
    read=_unless(uris.webhook_fault),
    schema={"type": "string", "pattern": "^https?://."},
)
KUBERNETES_NAME = Kind(
    name="Kubernetes name",
    valid="lower-case letters, digits, '-' and '.', such as gp3-csi or oci-registry-secret",
    read=_unless(kubernetes.name_fault),
    schema={"type": "string", "maxLength": kubernetes.LONGEST_SUBDOMAIN, "pattern": f"^{kubernetes.SUBDOMAIN}$"},
)
EXTENDED_RESOURCE = Kind(
    name="Resource name",
    valid="a device's resource name with its domain, such as nvidia.com/gpu or amd.com/gpu",
    read=_unless(kubernetes.extended_resource_fault),
    schema={"type": "string", "pattern": f"^{kubernetes.SUBDOMAIN}/{kubernetes.LABEL}$"},
)
NODE_SELECTOR = Kind(
    name="JSON string",
    valid='nothing, or a JSON object of node labels, such as {"node-role.kubernetes.io/gpu":""}',
    read=_unless(kubernetes.node_selector_fault),
    schema=_json_schema(),
    empty_is_a_value=True,
)
TOLERATIONS = Kind(
    name="JSON string",
    valid='nothing, or a JSON array of tolerations, such as [{"key":"nvidia.com/gpu","operator":"Exists"}]',
    read=_unless(kubernetes.tolerations_fault),
    schema=_json_schema(),
    empty_is_a_value=True,
)
WORKER_RESOURCES = Kind(
    name="JSON string",
    valid='a JSON object of resources, such as {"cpu":"4","memory":"120Gi"}',
    read=_unless(kubernetes.worker_resources_fault),
    schema=_json_schema(minLength=2),
)
