"""The door of the publish room: a model that passed the gate becomes an image that says where it comes from.

published.json  {reference, pinned, tags, digest, size_bytes, layers}
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.artifacts import Artifact, Facts, write_atomically
from instructlab_pipeline.errors import GateError
from instructlab_pipeline.publish.blob import SealedFile
from instructlab_pipeline.publish.card import Origin, annotations, model_card
from instructlab_pipeline.publish.destination import Destination
from instructlab_pipeline.publish.gate import require_pass
from instructlab_pipeline.publish.image import Entry, Layer, layers
from instructlab_pipeline.publish.layout import open_layout, require_usable
from instructlab_pipeline.publish.memory import Memory
from instructlab_pipeline.publish.presence import absence
from instructlab_pipeline.publish.push import Image, Pushed, push
from instructlab_pipeline.publish.reference import Reference, RegistryReference, parse, version_tag
from instructlab_pipeline.publish.registry import connect
from instructlab_pipeline.stage import Context

CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class PublishInputs:
    model: Artifact
    taxonomy: Artifact
    dataset: Artifact
    train_phase_1: Artifact
    train_phase_2: Artifact
    eval_final: Artifact
    output_oci_model_uri: str
    output_model_name: str
    output_model_version: str
    output_registry_insecure: bool


def require_destination(output_oci_model_uri: str) -> None:
    """Refuse a destination that publishing could only fail at; asks no server.

    Raises:
        UsageError: it is a layout on disk that cannot be written.
    """
    reference = parse(output_oci_model_uri)
    if not isinstance(reference, RegistryReference):
        require_usable(reference.directory)


def run(inputs: PublishInputs, context: Context) -> Facts:
    """Publish under the reference's tag and the version's.

    Raises:
        GateError: no verdict of "pass" on the very files that training ended with.
        SourceError: a file is not what was sealed.
        ServiceError: the registry or the folder cannot be written.
    """
    verdict = _json(inputs.eval_final, "verdict.json")
    files = _tuned_files(inputs)
    require_pass(verdict, {path: file.sha256 for path, file in files.items()})

    reference = parse(inputs.output_oci_model_uri)
    origin = _origin(inputs, verdict)
    tags = sorted({reference.tag, version_tag(inputs.output_model_version)})
    image = Image(layers=_layers(files, origin), annotations=annotations(origin), tags=tags)
    pushed = _publish(image, reference, insecure=inputs.output_registry_insecure, context=context)
    record = {
        "reference": str(reference),
        "pinned": reference.pinned(pushed.digest),
        "tags": tags,
        "digest": pushed.digest,
        "size_bytes": pushed.size_bytes,
        "layers": _layer_records(image.layers, pushed),
    }
    write_atomically(context.folder / "published.json", json.dumps(record, indent=2) + "\n")
    return {
        "reference": str(reference),
        "digest": pushed.digest,
        "size_bytes": pushed.size_bytes,
        "layers": len(pushed.layers),
        "layers_sent": pushed.layers_sent,
        "bytes_sent": pushed.bytes_sent,
    }


def lost(inputs: PublishInputs, published: Artifact) -> str | None:
    """Why what was published must be published again, in a sentence, or None.

    Raises:
        ServiceError: the registry cannot be asked.
    """
    return absence(published, insecure=inputs.output_registry_insecure)


def _publish(image: Image, reference: Reference, *, insecure: bool, context: Context) -> Pushed:
    if isinstance(reference, RegistryReference):
        return asyncio.run(_push_to_registry(image, reference, insecure=insecure, context=context))
    with open_layout(reference.directory) as layout:
        return asyncio.run(_push(image, layout, context))


async def _push_to_registry(image: Image, reference: RegistryReference, *, insecure: bool, context: Context) -> Pushed:
    async with connect(reference, insecure=insecure) as registry:
        return await _push(image, registry, context)


async def _push(image: Image, destination: Destination, context: Context) -> Pushed:
    return await push(image, destination, memory=Memory(context.cache / "layers"), events=context.events)


def _tuned_files(inputs: PublishInputs) -> dict[str, SealedFile]:
    """The model of the last phase that trained one, by path inside its folder."""
    for phase in (inputs.train_phase_2, inputs.train_phase_1):
        files = {
            file.path.removeprefix("model/"): SealedFile(path=phase / file.path, size=file.size, sha256=file.sha256)
            for file in phase.files
            if file.path.startswith("model/")
        }
        if files:
            return files
    raise GateError(
        "no training phase had data, so there is no model to publish",
        remedy="add knowledge or skill leaves to the taxonomy",
    )


def _layers(files: Mapping[str, SealedFile], origin: Origin) -> tuple[Layer, ...]:
    card = Entry(path=CARD, content=model_card(origin).encode())
    return layers([card, *(Entry(path=path, content=file) for path, file in files.items() if path != CARD)])


def _origin(inputs: PublishInputs, verdict: Mapping[str, Any]) -> Origin:
    model, taxonomy = _json(inputs.model, "model.json"), _json(inputs.taxonomy, "taxonomy.json")
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


def _layer_records(planned: Sequence[Layer], pushed: Pushed) -> list[dict[str, Any]]:
    return [
        {"digest": sent.digest, "size_bytes": sent.size, "files": [entry.path for entry in layer.entries]}
        for layer, sent in zip(planned, pushed.layers, strict=True)
    ]


def _json(artifact: Artifact, name: str) -> Any:
    return json.loads((artifact / name).read_bytes())
