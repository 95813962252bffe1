"""The kinds of values that parameters take: how each is read from text, what is valid, and how it is shown."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from instructlab_pipeline.params import kubernetes, readers, uris
from instructlab_pipeline.params.quantities import size_fault
from instructlab_pipeline.params.readers import (
    LARGEST_INTEGER,
    LONGEST_NAME,
    METRICS,
    SEMANTIC_VERSION_FORM,
    Refusal,
    Value,
    unless,
)

METRICS_FORMATS = ("json", "csv")
SWITCHES = ("auto", "true", "false")
TRAINING_APIS = ("auto", "trainjob", "pytorchjob", "none")


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


def _json_schema(**extra: Any) -> Mapping[str, Any]:
    return {"type": "string", "contentMediaType": "application/json", **extra}


INTEGER = Kind(
    name="Integer",
    valid="an integer, such as 42",
    read=readers.integer,
    schema={"type": "integer", "minimum": -LARGEST_INTEGER, "maximum": LARGEST_INTEGER},
)
POSITIVE_INTEGER = Kind(
    name="Integer > 0",
    valid="an integer above 0, such as 4",
    read=readers.positive_integer,
    schema={"type": "integer", "minimum": 1, "maximum": LARGEST_INTEGER},
)
WHOLE_NUMBER = Kind(
    name="Integer >= 0",
    valid="an integer from 0, such as 16",
    read=readers.whole_number,
    schema={"type": "integer", "minimum": 0, "maximum": LARGEST_INTEGER},
)
POSITIVE_FLOAT = Kind(
    name="Float > 0",
    valid="a number above 0, such as 2e-5",
    read=readers.positive_float,
    schema={"type": "number", "exclusiveMinimum": 0},
)
UNIT_FLOAT = Kind(
    name="Float 0-1",
    valid="a number from 0 to 1, such as 0.7",
    read=readers.unit_float,
    schema={"type": "number", "minimum": 0, "maximum": 1},
)
BOOLEAN = Kind(name="Boolean", valid="true or false", read=readers.boolean, schema={"type": "boolean"})
MODEL_NAME = Kind(
    name="String",
    valid="a name of at most 128 characters without slashes, such as instructlab-model",
    read=unless(readers.model_name_fault),
    schema={"type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": "^[^/.-][^/]*$"},
)
TEXT = Kind(
    name="String",
    valid="a text of one line",
    read=unless(readers.text_fault),
    schema={"type": "string", "minLength": 1},
)
SEMANTIC_VERSION = Kind(
    name="Semantic version",
    valid="MAJOR.MINOR.PATCH after semver.org, such as 1.2.0 or 1.2.0-rc.1",
    read=unless(readers.version_fault),
    schema={"type": "string", "maxLength": LONGEST_NAME, "pattern": f"^{SEMANTIC_VERSION_FORM}$"},
)
SIZE = Kind(
    name="Quantity of bytes",
    valid="a Kubernetes quantity of at least 1Mi, such as 120Gi or 500M",
    read=unless(size_fault),
    schema={"type": "string", "pattern": r"^[0-9.]+([eE][+-]?[0-9]+|[kMGTPE]|[KMGTPE]i)?$"},
)
METRICS_LIST = Kind(
    name="Comma-separated list",
    valid=f"metrics with commas between them, out of {', '.join(METRICS)}",
    read=readers.metrics,
    schema={"type": "array", "items": {"enum": list(METRICS)}, "minItems": 1, "uniqueItems": True},
)
PATHS = Kind(
    name="Comma-separated list",
    valid="paths of files with commas between them, such as questions.jsonl,more/questions.jsonl",
    read=readers.paths,
    schema={"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True},
)
METRICS_FORMAT = Kind(
    name="Choice",
    valid=" or ".join(METRICS_FORMATS),
    read=readers.choice(METRICS_FORMATS),
    schema={"enum": list(METRICS_FORMATS)},
)
SWITCH = Kind(
    name="Choice", valid="auto, true or false", read=readers.choice(SWITCHES), schema={"enum": list(SWITCHES)}
)
TRAINING_API = Kind(
    name="Choice",
    valid=", ".join(TRAINING_APIS[:-1]) + f" or {TRAINING_APIS[-1]}",
    read=readers.choice(TRAINING_APIS),
    schema={"enum": list(TRAINING_APIS)},
)
MODEL_URI = Kind(
    name="S3 URI",
    valid="s3://BUCKET/PREFIX, hf://ORGANIZATION/NAME@REVISION, oci://REGISTRY/REPOSITORY:TAG, or file:PATH for a "
    "folder on this machine",
    read=unless(uris.model_uri_fault),
    schema={"type": "string", "pattern": "^(s3://[^/]+|hf://[^/]+/[^/]+|oci://[^/]+/.|file:.)"},
)
GIT_URL = Kind(
    name="Git URL",
    valid="https://HOST/PATH, ssh://, git:// or file:// URLs, git@HOST:PATH, or a path that starts with / or ./",
    read=unless(uris.git_url_fault),
    schema={"type": "string", "pattern": "^[^-]"},
)
GIT_REVISION = Kind(
    name="Git revision",
    valid="a branch, a tag, a commit, or a ref such as refs/pull/7/head",
    read=unless(uris.git_revision_fault),
    schema={"type": "string", "pattern": "^[^-]"},
)
IMAGE = Kind(
    name="OCI URI",
    valid="REGISTRY/REPOSITORY:TAG, such as quay.io/org/model:1.0, or oci:DIRECTORY:TAG for an OCI layout on disk",
    read=unless(uris.image_fault),
    schema={"type": "string", "pattern": "^(oci:.|[^@]+/[^@]+$)"},
)
BASE_IMAGE = Kind(
    name="OCI URI",
    valid="REGISTRY/REPOSITORY:TAG, REGISTRY/REPOSITORY@sha256:DIGEST, or oci:DIRECTORY:TAG",
    read=unless(uris.base_image_fault),
    schema={"type": "string", "pattern": "^(oci:.|[^@]+/[^@]+(@sha256:[0-9a-f]{64})?$)"},
)
ENDPOINT = Kind(
    name="Endpoint URL",
    valid=f"the base URL of an OpenAI-compatible API, such as https://HOST/v1, or {uris.BUILTIN_TEACHER}",
    read=unless(uris.endpoint_fault),
    schema={"type": "string", "pattern": f"^(https?://.|{uris.BUILTIN_TEACHER}$)"},
)
WEB_ADDRESS = Kind(
    name="URL",
    valid="an http or https URL without credentials, such as https://HOST/PATH",
    read=unless(uris.webhook_fault),
    schema={"type": "string", "pattern": "^https?://."},
)
WEBHOOK = replace(WEB_ADDRESS, conceals=True)
REMOTE_ENDPOINT = Kind(
    name="Endpoint URL",
    valid="the base URL of an OpenAI-compatible API, such as https://HOST/v1",
    read=unless(uris.webhook_fault),
    schema={"type": "string", "pattern": "^https?://."},
)
KUBERNETES_NAME = Kind(
    name="Kubernetes name",
    valid="lower-case letters, digits, '-' and '.', such as gp3-csi or oci-registry-secret",
    read=unless(kubernetes.name_fault),
    schema={"type": "string", "maxLength": kubernetes.LONGEST_SUBDOMAIN, "pattern": f"^{kubernetes.SUBDOMAIN}$"},
)
EXTENDED_RESOURCE = Kind(
    name="Resource name",
    valid="a device's resource name with its domain, such as nvidia.com/gpu or amd.com/gpu",
    read=unless(kubernetes.extended_resource_fault),
    schema={"type": "string", "pattern": f"^{kubernetes.SUBDOMAIN}/{kubernetes.LABEL}$"},
)
NODE_SELECTOR = Kind(
    name="JSON string",
    valid='nothing, or a JSON object of node labels, such as {"node-role.kubernetes.io/gpu":""}',
    read=unless(kubernetes.node_selector_fault),
    schema=_json_schema(),
    empty_is_a_value=True,
)
TOLERATIONS = Kind(
    name="JSON string",
    valid='nothing, or a JSON array of tolerations, such as [{"key":"nvidia.com/gpu","operator":"Exists"}]',
    read=unless(kubernetes.tolerations_fault),
    schema=_json_schema(),
    empty_is_a_value=True,
)
WORKER_RESOURCES = Kind(
    name="JSON string",
    valid='a JSON object of resources, such as {"cpu":"4","memory":"120Gi"}',
    read=unless(kubernetes.worker_resources_fault),
    schema=_json_schema(minLength=2),
)
