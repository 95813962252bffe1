"""What can be read about an image without its layers: manifest, referrers, signatures. Checked, not yet judged."""

import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline import interruption
from instructlab_pipeline.errors import SourceError, boundary
from instructlab_pipeline.publish.attachments import SIGNATURE, signature_tag
from instructlab_pipeline.publish.destination import Source
from instructlab_pipeline.publish.layout import Layout
from instructlab_pipeline.publish.oci import Descriptor, checked, descriptor_of, digest_of_bytes, subject_of
from instructlab_pipeline.publish.proof import (
    CARD_MEDIA_TYPE,
    MATERIALS_MEDIA_TYPE,
    PREDICATE_TYPE,
    STATEMENT_MEDIA_TYPE,
)
from instructlab_pipeline.publish.reference import Reference, RegistryReference, locate
from instructlab_pipeline.publish.registry import connect

OURS = frozenset({STATEMENT_MEDIA_TYPE, MATERIALS_MEDIA_TYPE, CARD_MEDIA_TYPE})
LARGEST_DOCUMENT = 32 << 20  # bytes; what claims to be larger is no document of ours
REMEDY = "see whether the reference is right; what we did not publish has no proof"


@dataclass(frozen=True, kw_only=True)
class Attached:
    """One document that belongs to the image; `predicate` as in Document."""

    kind: str
    predicate: str
    media_type: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """`signatures` are pairs of what was signed and the signature."""

    reference: str
    digest: str
    manifest: Mapping[str, Any]
    layers: Sequence[Descriptor]
    documents: Sequence[Attached]
    signatures: Sequence[tuple[bytes, bytes]]


def gather(image: str, *, insecure: bool) -> Evidence:
    """All that is known at the image's place: a registry, or a layout on disk.

    Raises:
        UsageError: `image` names none.
        SourceError: there is none, a layer is missing, or bytes are not what their digest says.
        ServiceError: the registry cannot be asked.
    """
    return interruption.run(_gather(locate(image), insecure=insecure))


@asynccontextmanager
async def opened_source(reference: Reference, *, insecure: bool) -> AsyncIterator[Source]:
    if isinstance(reference, RegistryReference):
        async with connect(reference, insecure=insecure, writing=False) as registry:
            yield registry
    else:
        yield Layout(reference.directory)


async def _gather(reference: Reference, *, insecure: bool) -> Evidence:
    async with opened_source(reference, insecure=insecure) as source:
        content = await source.read(reference.wanted)
        if content is None:
            raise SourceError(f"there is no image {reference}", remedy=REMEDY)
        if reference.digest and digest_of_bytes(content) != reference.digest:
            raise SourceError(f"{reference} is answered with another manifest", remedy="do not use this image")
        digest = digest_of_bytes(content)
        with boundary(SourceError, f"reading {reference}", remedy=REMEDY):
            manifest = json.loads(content)
            if "layers" not in manifest:
                raise SourceError(f"{reference} is no image, but a list of images", remedy=REMEDY)
            layers = [descriptor_of(layer) for layer in manifest["layers"]]
            await _require_all(source, layers, manifest)
            documents = await _documents(source, digest)
            signatures = await _signatures(source, digest)
    return Evidence(
        reference=str(reference),
        digest=digest,
        manifest=manifest,
        layers=layers,
        documents=documents,
        signatures=signatures,
    )


async def _require_all(source: Source, layers: Sequence[Descriptor], manifest: Mapping[str, Any]) -> None:
    config = await source.fetch(descriptor_of(manifest["config"]))
    if len(json.loads(config)["rootfs"]["diff_ids"]) != len(layers):
        raise SourceError("the image's configuration speaks of other layers than its manifest", remedy=REMEDY)
    for layer in layers:
        if not await source.has(layer):
            raise SourceError(f"the layer {layer.digest} is missing", remedy="publish the image anew")


async def _documents(source: Source, digest: str) -> list[Attached]:
    found = [descriptor_of(record) for record in await source.referrers(digest) if record.get("artifactType") in OURS]
    manifests = [checked(entry, await source.read(entry.digest) or b"") for entry in found]
    return [await _document(source, json.loads(content)) for content in manifests if subject_of(content) == digest]


async def _document(source: Source, manifest: Mapping[str, Any]) -> Attached:
    layer = descriptor_of(manifest["layers"][0])
    return Attached(
        kind=manifest["artifactType"],
        predicate=(manifest.get("annotations") or {}).get(PREDICATE_TYPE, ""),
        media_type=layer.media_type,
        content=await _small(source, layer),
    )


async def _signatures(source: Source, digest: str) -> list[tuple[bytes, bytes]]:
    content = await source.read(signature_tag(digest))
    layers = [descriptor_of(record) for record in json.loads(content)["layers"]] if content else []
    return [
        (await _small(source, layer), base64.b64decode(layer.annotations[SIGNATURE]))
        for layer in layers
        if SIGNATURE in layer.annotations
    ]


async def _small(source: Source, layer: Descriptor) -> bytes:
    if layer.size > LARGEST_DOCUMENT:
        raise SourceError(f"{layer.digest} is attached to the image, but is no document of ours", remedy=REMEDY)
    return await source.fetch(layer)
