"""Where an image goes: `registry/repository:tag`, or `oci:DIRECTORY:TAG` for an OCI layout on disk. Pure."""

from dataclasses import dataclass
from pathlib import Path

from instructlab_pipeline.errors import ParameterError

DEFAULT_TAG = "latest"


@dataclass(frozen=True, kw_only=True)
class RegistryReference:
    """An image in a registry; `registry` is host or host:port."""

    registry: str
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}:{self.tag}"

    def pinned(self, digest: str) -> str:
        return f"{self.registry}/{self.repository}@{digest}"


@dataclass(frozen=True, kw_only=True)
class LayoutReference:
    """An image in an OCI layout, a folder that may hold others under other tags."""

    directory: Path
    tag: str

    def __str__(self) -> str:
        return f"oci:{self.directory}:{self.tag}"

    def pinned(self, digest: str) -> str:
        return f"oci:{self.directory}@{digest}"


Reference = RegistryReference | LayoutReference


def parse(text: str) -> Reference:
    """What `output_oci_model_uri` means; without a tag, `latest`.

    Raises:
        ParameterError: it names no registry and repository, and no directory.
    """
    if text.startswith("oci:") and not text.startswith("oci://"):
        directory, _, tag = text.removeprefix("oci:").partition(":")
        if directory:
            return LayoutReference(directory=Path(directory), tag=tag or DEFAULT_TAG)
    registry, _, name = text.removeprefix("oci://").removeprefix("docker://").partition("/")
    repository, _, tag = name.partition(":")
    if not registry or not repository or "@" in name:
        raise ParameterError(
            [f"output_oci_model_uri={text} is neither registry/repository:tag nor oci:DIRECTORY:TAG"],
        )
    return RegistryReference(registry=registry, repository=repository, tag=tag or DEFAULT_TAG)


def version_tag(version: str) -> str:
    """A semantic version as a tag; `+` is no character of a tag, and `_` stands for it as elsewhere (Helm)."""
    return version.replace("+", "_")
