"""The models that are compared, and a digest that stands for every byte of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from instructlab_pipeline.artifacts import Artifact, digest_of
from instructlab_pipeline.errors import SourceError


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A Hugging Face folder inside the artifact of `stage`; `files` are the sha256 of each, by path inside the folder.

    The digest is of `files`: weights, configuration, tokenizer and chat template, whatever the folder holds.
    """

    stage: str
    folder: Path
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        return digest_of(dict(self.files))


def base_candidate(model: Artifact) -> Candidate:
    return _inside(model, "files")


def tuned_candidate(*phases: Artifact) -> Candidate | None:
    """The model of the last phase that trained one, or None where every phase was skipped."""
    trained = [_inside(phase, "model") for phase in phases]
    return next((candidate for candidate in reversed(trained) if candidate.files), None)


def require_trained(candidate: Candidate | None) -> Candidate:
    if candidate is None:
        raise SourceError(
            "no training phase had data, so there is no tuned model to evaluate",
            remedy="add knowledge or skill leaves to the taxonomy",
        )
    return candidate


def _inside(artifact: Artifact, folder: str) -> Candidate:
    prefix = f"{folder}/"
    files = {file.path.removeprefix(prefix): file.sha256 for file in artifact.files if file.path.startswith(prefix)}
    return Candidate(stage=artifact.kind, folder=artifact / folder, files=files)
