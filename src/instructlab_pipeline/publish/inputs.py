"""What publishing reads of the stages before it: the files that are published, and where they come from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from instructlab_pipeline import __version__
from instructlab_pipeline.artifacts import Artifact, digest_of_files
from instructlab_pipeline.errors import GateError
from instructlab_pipeline.publish.blob import SealedFile
from instructlab_pipeline.publish.origin import Making, Origin
from instructlab_pipeline.stage import unkeyed

TUNED = "model/"  # where a training phase has its model


@dataclass(frozen=True, kw_only=True)
class PublishInputs:
    model: Artifact
    taxonomy: Artifact
    dataset: Artifact
    train_phase_1: Artifact
    train_phase_2: Artifact
    sdg: Artifact
    eval_final: Artifact
    output_oci_model_uri: str
    output_model_name: str
    output_model_version: str
    output_registry_insecure: bool
    output_overwrite_version: bool = unkeyed()
    output_modelcar_base_image: str | None
    output_signing_key: str | None
    output_model_registry_url: str | None
    parameters: Mapping[str, Any] = unkeyed()  # all of them: for the provenance, which tells of what was done

    @property
    def artifacts(self) -> list[Artifact]:
        values = (getattr(self, item.name) for item in fields(self))
        return [value for value in values if isinstance(value, Artifact)]


def tuned_files(inputs: PublishInputs) -> dict[str, SealedFile]:
    """The model of the last phase that trained one, by path inside its folder.

    Raises:
        GateError: no phase did.
    """
    for phase in (inputs.train_phase_2, inputs.train_phase_1):
        files = {
            file.path.removeprefix(TUNED): SealedFile(path=phase / file.path, size=file.size, sha256=file.sha256)
            for file in phase.files
            if file.path.startswith(TUNED)
        }
        if files:
            return files
    raise GateError(
        "no training phase had data, so there is no model to publish",
        remedy="add knowledge or skill leaves to the taxonomy",
    )


def origin_of(inputs: PublishInputs, verdict: Mapping[str, Any]) -> Origin:
    model, taxonomy = sealed_json(inputs.model, "model.json"), sealed_json(inputs.taxonomy, "taxonomy.json")
    return Origin(
        name=inputs.output_model_name,
        version=inputs.output_model_version,
        base_model=model["uri"],
        base_digest=inputs.model.digest,
        taxonomy=taxonomy["url"],
        commit=taxonomy["commit"],
        dataset_digest=inputs.dataset.digest,
        verdict=verdict,
    )


def making_of(inputs: PublishInputs) -> Making:
    base = sealed_json(inputs.model, "model.json")
    questions = next((file.sha256 for file in inputs.sdg.files if file.path == "evaluation.jsonl"), "")
    return Making(
        parameters=inputs.parameters,
        stages={
            artifact.kind: {"key": artifact.key, "digest": artifact.digest, "inputs": dict(artifact.inputs)}
            for artifact in inputs.artifacts
        },
        evaluation_set=questions,
        architecture=base["architecture"],
        num_parameters=base["num_parameters"],
        program_version=__version__,
    )


def sealed_json(artifact: Artifact, name: str) -> Any:
    """A sealed file's content, if it is what was sealed: a verdict that somebody wrote by hand opens no gate.

    Raises:
        GateError: it is something else, or the manifest was edited as well.
    """
    content = (artifact / name).read_bytes()
    sealed = next((file.sha256 for file in artifact.files if file.path == name), None)
    if sealed != hashlib.sha256(content).hexdigest() or digest_of_files(artifact.files) != artifact.digest:
        raise GateError(
            f"{artifact / name} is not what stage {artifact.kind} sealed. Nothing was published",
            remedy=f"run the stage {artifact.kind} again: it makes the file anew",
        )
    return json.loads(content)
