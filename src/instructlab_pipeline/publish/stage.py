"""The door of the publish room: a model that passed the gate becomes an image that says where it comes from.

published.json  {reference, pinned, tags, digest, size_bytes, signed, proofs, layers}
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline import interruption
from instructlab_pipeline.artifacts import Artifact, Facts, write_atomically
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.publish.attachments import Subject, attach, sign, signed
from instructlab_pipeline.publish.base_image import BaseImage, open_base
from instructlab_pipeline.publish.blob import SealedFile
from instructlab_pipeline.publish.card import PREFIX, annotations, model_card
from instructlab_pipeline.publish.destination import Destination
from instructlab_pipeline.publish.gate import require_one_history, require_pass, require_rule
from instructlab_pipeline.publish.image import LAYER_FILES, Entry, Layer, layers
from instructlab_pipeline.publish.inputs import PublishInputs, making_of, origin_of, sealed_json, tuned_files
from instructlab_pipeline.publish.layout import open_layout, require_usable
from instructlab_pipeline.publish.memory import MEMORY, Memory
from instructlab_pipeline.publish.model_registry import Registration, register
from instructlab_pipeline.publish.origin import Origin
from instructlab_pipeline.publish.presence import absence
from instructlab_pipeline.publish.proof import card_document, evaluation_result, materials, provenance
from instructlab_pipeline.publish.push import Image, Pushed, push, tag_all
from instructlab_pipeline.publish.reference import Reference, RegistryReference, locate, parse, version_tag
from instructlab_pipeline.publish.registry import connect
from instructlab_pipeline.publish.signature import Signer, load_signer
from instructlab_pipeline.stage import Context

CARD = "README.md"
CARRIED = "oci"  # the name of an image in a layout, which can be carried anywhere


def require_destination(output_oci_model_uri: str, output_model_registry_url: str | None) -> None:
    """Refuse a destination that publishing could only fail at; asks no server.

    Raises:
        UsageError: it is a layout on disk that cannot be written, or that a model registry could not speak of.
    """
    reference = parse(output_oci_model_uri)
    if isinstance(reference, RegistryReference):
        return
    require_usable(reference.directory)
    if output_model_registry_url is not None:
        raise UsageError(
            f"a model registry leads others to the image, but {reference} is on this machine alone",
            remedy="publish to a registry, or leave output_model_registry_url unset",
        )


def require_signing_key(output_signing_key: str | None) -> None:
    """Refuse a key that cannot sign.

    Raises:
        UsageError: it cannot be read or opened.
    """
    if output_signing_key is not None:
        load_signer(output_signing_key)


def fingerprint(inputs: PublishInputs) -> str:
    """The key that signs, and the base image as it is now; empty where there is neither.

    Raises:
        ServiceError: the base image's registry cannot be asked.
    """
    key = load_signer(inputs.output_signing_key).verifier.fingerprint if inputs.output_signing_key else ""
    base = interruption.run(_base_digest(inputs)) if inputs.output_modelcar_base_image else ""
    return " ".join(filter(None, (key, base)))


def run(inputs: PublishInputs, context: Context) -> Facts:
    """Publish under the reference's tag and the version's, with the proofs of where the model comes from.

    Raises:
        GateError: no verdict of "pass" on the very files that training ended with, or one of another rule or history.
        SourceError: a file is not what was sealed, or the base image cannot be used.
        UsageError: the version is published already with another model, or the key cannot sign.
        ServiceError: the registry or the folder cannot be written.
    """
    verdict = sealed_json(inputs.eval_final, "verdict.json")
    files = tuned_files(inputs)
    require_pass(verdict, {path: file.sha256 for path, file in files.items()})
    require_rule(verdict, inputs.parameters)
    require_one_history(inputs.artifacts)
    require_signing_key(inputs.output_signing_key)
    plan = _plan(inputs, files, origin_of(inputs, verdict))
    pushed, proofs = interruption.run(_publish(plan, inputs, context))
    record = _record(plan, pushed, proofs)
    write_atomically(context.folder / "published.json", json.dumps(record, indent=2) + "\n")
    return {
        **{name: record[name] for name in ("reference", "digest", "size_bytes", "signed")},
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


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is to be published, and where."""

    reference: Reference
    tags: Sequence[str]
    origin: Origin
    card: bytes
    layers: Sequence[Layer]
    signer: Signer | None


def _plan(inputs: PublishInputs, files: Mapping[str, SealedFile], origin: Origin) -> _Plan:
    reference = parse(inputs.output_oci_model_uri)
    card = model_card(origin).encode()
    entries = [Entry(path=CARD, content=card)]
    entries += [Entry(path=path, content=file) for path, file in files.items() if path != CARD]
    return _Plan(
        reference=reference,
        tags=sorted({reference.tag, version_tag(inputs.output_model_version)}),
        origin=origin,
        card=card,
        layers=layers(entries),
        signer=load_signer(inputs.output_signing_key) if inputs.output_signing_key else None,
    )


async def _publish(plan: _Plan, inputs: PublishInputs, context: Context) -> tuple[Pushed, list[str]]:
    """The image, then its proofs (their digests are told), and its tags at last: no tag is seen without its proof."""
    memory = Memory(context.cache / MEMORY, plan.reference)
    async with _opened_base(inputs) as base, _opened(plan, base, memory, inputs) as destination:
        image = Image(
            layers=plan.layers,
            annotations={**annotations(plan.origin), **base.annotations},
            fixed=None if inputs.output_overwrite_version else version_tag(inputs.output_model_version),
            base=base,
        )
        pushed = await push(image, destination, memory=memory, events=context.events)
        proofs = await _prove(plan, pushed, inputs, destination)
        await tag_all(plan.tags, pushed, destination, fixed=image.fixed)
    if inputs.output_model_registry_url is not None:
        await register(_registration(plan, pushed), inputs.output_model_registry_url)
    return pushed, proofs


@asynccontextmanager
async def _opened(plan: _Plan, base: BaseImage, memory: Memory, inputs: PublishInputs) -> AsyncIterator[Destination]:
    if isinstance(plan.reference, RegistryReference):
        known = (base.repository, *map(memory.repository, plan.layers))
        others = [repository for repository in known if repository]
        async with connect(plan.reference, insecure=inputs.output_registry_insecure, borrowed=others) as registry:
            yield registry
    else:
        async with open_layout(plan.reference.directory) as layout:
            yield layout


def _opened_base(inputs: PublishInputs) -> AbstractAsyncContextManager[BaseImage]:
    """Plain HTTP is for the registry that was asked for, and for no other."""
    target = parse(inputs.output_oci_model_uri)
    name = inputs.output_modelcar_base_image
    return open_base(locate(name) if name else None, target, insecure=inputs.output_registry_insecure)


async def _base_digest(inputs: PublishInputs) -> str:
    async with _opened_base(inputs) as base:
        return base.digest


async def _prove(plan: _Plan, pushed: Pushed, inputs: PublishInputs, destination: Destination) -> list[str]:
    subject = Subject(pushed.manifest, _untagged(plan.reference))
    making = making_of(inputs)
    others = [materials(plan.origin, making, pushed.digest), card_document(plan.card)]
    statements = [
        evaluation_result(plan.origin, making, pushed.digest),
        provenance(plan.origin, making, pushed.digest, byproducts=others),
    ]
    documents = [*others, *statements]
    proofs = await attach(signed(documents, plan.signer) if plan.signer else documents, subject, destination)
    if plan.signer:
        await sign(subject, plan.signer, destination)
    return proofs


def _registration(plan: _Plan, pushed: Pushed) -> Registration:
    told = annotations(plan.origin)
    facts = {name: told[f"{PREFIX}.{name}"] for name in ("base-model", "taxonomy", "taxonomy.commit", "dataset.digest")}
    metrics = {name: float(metric["tuned"]) for name, metric in plan.origin.verdict["metrics"].items()}
    return Registration(
        name=plan.origin.name,
        version=plan.origin.version,
        uri=f"oci://{plan.reference.pinned(pushed.digest)}",
        description=told["org.opencontainers.image.description"],
        properties={**facts, **metrics},
    )


def _untagged(reference: Reference) -> str:
    return f"{reference.registry}/{reference.repository}" if isinstance(reference, RegistryReference) else CARRIED


def _record(plan: _Plan, pushed: Pushed, proofs: Sequence[str]) -> dict[str, Any]:
    return {
        "reference": str(plan.reference),
        "pinned": plan.reference.pinned(pushed.digest),
        "tags": plan.tags,
        "digest": pushed.digest,
        "size_bytes": pushed.size_bytes,
        "signed": plan.signer is not None,
        "proofs": proofs,
        "layers": _layer_records(plan.layers, pushed),
    }


def _layer_records(planned: Sequence[Layer], pushed: Pushed) -> list[dict[str, Any]]:
    """Those of the base image have no files of ours."""
    files = {layer.identity: [entry.path for entry in layer.entries] for layer in planned}
    return [
        {
            "digest": sent.digest,
            "size_bytes": sent.size,
            "files": files.get(sent.annotations.get(LAYER_FILES, ""), []),
        }
        for sent in pushed.layers
    ]
