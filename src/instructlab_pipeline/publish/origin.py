"""Where a model comes from, and how it was made: what annotations, card and proofs are written from. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

SAYS_NOTHING_OF_THE_MODEL = frozenset({"notify_webhook_url"})  # and whoever knows the address may post to it


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Digests are of sealed artifacts; `verdict` is the final evaluation's record."""

    name: str
    version: str
    base_model: str
    base_digest: str
    taxonomy: str
    commit: str
    dataset_digest: str
    verdict: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Making:
    """`parameters` of the run; `stages`: what each sealed, `{"key", "digest", "inputs"}` by name.

    `evaluation_set` is the sha256 of the file with the questions; `architecture` and `num_parameters` are the model's.
    """

    parameters: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]
    evaluation_set: str
    architecture: str
    num_parameters: int
    program_version: str


def shown_uri(uri: str) -> str:
    """The URI; of a path on someone's machine only its last name, as the rest is nobody's business but theirs."""
    if uri.startswith("oci:") and not uri.startswith("oci://"):
        return f"oci:{PurePosixPath(uri.removeprefix('oci:')).name}"
    if uri.startswith(("file:", "/", "./", "../", "~")):
        return PurePosixPath(uri.removeprefix("file:")).name
    return uri


def shown_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those that have a value and may have shaped the model, without paths on someone's machine."""
    return {
        name: _shown(value)
        for name, value in sorted(parameters.items())
        if value is not None and name not in SAYS_NOTHING_OF_THE_MODEL
    }


def _shown(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_shown(item) for item in value]
    return shown_uri(value) if isinstance(value, str) else value
