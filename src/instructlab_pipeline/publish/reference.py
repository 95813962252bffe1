"""Where an image is: `registry/repository:tag`, or `oci:DIRECTORY:TAG` for an OCI layout on disk. Pure.

What is only read may be named by its digest instead: `registry/repository@sha256:...`, `oci:DIRECTORY@sha256:...`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from instructlab_pipeline.errors import ParameterError, UsageError

DEFAULT_TAG = "latest"
DOCKER_HUB = "docker.io"
DOCKER_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
DOCKER_HUB_FOLDER = "library"  # where images without an owner are there
_DIGEST = re.compile(r"(?P<rest>.+)@(?P<digest>sha256:[0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True)
class RegistryReference:
    """An image in a registry; `registry` is host or host:port."""

    registry: str
    repository: str
    tag: str
    digest: str | None = None

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")

    @property
    def wanted(self) -> str:
        return self.digest or self.tag

    def pinned(self, digest: str) -> str:
        return f"{self.registry}/{self.repository}@{digest}"


@dataclass(frozen=True, kw_only=True)
class LayoutReference:
    """An image in an OCI layout, a folder that may hold others under other tags."""

    directory: Path
    tag: str
    digest: str | None = None

    def __str__(self) -> str:
        return f"oci:{self.directory}" + (f"@{self.digest}" if self.digest else f":{self.tag}")

    @property
    def wanted(self) -> str:
        return self.digest or self.tag

    def pinned(self, digest: str) -> str:
        return f"oci:{self.directory}@{digest}"


Reference = RegistryReference | LayoutReference


def parse(text: str) -> Reference:
    """What `output_oci_model_uri` means; without a tag, `latest`.

    Raises:
        ParameterError: it names no registry and repository, and no directory.
    """
    found = _parsed(text)
    if found is None:
        raise ParameterError(
            [f"output_oci_model_uri={text} is neither registry/repository:tag nor oci:DIRECTORY:TAG"],
        )
    return found


def locate(text: str) -> Reference:
    """An image to be read, by tag or by digest.

    Raises:
        UsageError: it names none.
    """
    match = _DIGEST.fullmatch(text)
    found = _parsed(match["rest"] if match else text, digest=match["digest"] if match else None)
    if found is None:
        raise UsageError(
            f"{text} names no image",
            remedy="write registry/repository:tag, registry/repository@sha256:..., or oci:DIRECTORY:TAG",
        )
    return found


def _parsed(text: str, *, digest: str | None = None) -> Reference | None:
    if text.startswith("oci:") and not text.startswith("oci://"):
        directory, _, tag = text.removeprefix("oci:").partition(":")
        if directory:
            return LayoutReference(directory=Path(directory), tag=tag or DEFAULT_TAG, digest=digest)
    registry, _, name = text.removeprefix("oci://").removeprefix("docker://").partition("/")
    repository, _, tag = name.partition(":")
    if not registry or not repository or "@" in name:
        return None
    if registry in DOCKER_HUB_NAMES:
        registry, repository = DOCKER_HUB, repository if "/" in repository else f"{DOCKER_HUB_FOLDER}/{repository}"
    return RegistryReference(registry=registry, repository=repository, tag=tag or DEFAULT_TAG, digest=digest)


def version_tag(version: str) -> str:
    """A semantic version as a tag; `+` is no character of a tag, and `_` stands for it as elsewhere (Helm)."""
    return version.replace("+", "_")
