"""Proofs on their way to an image: each a referrer of its manifest; the signature where cosign looks for it."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from instructlab_pipeline.errors import SourceError, boundary
from instructlab_pipeline.publish.blob import Blob
from instructlab_pipeline.publish.destination import Destination
from instructlab_pipeline.publish.oci import (
    CONFIG_TYPE,
    EMPTY,
    EMPTY_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    artifact_document,
    describe,
    descriptor_of,
    digest_of_bytes,
    manifest_document,
    signature_config,
)
from instructlab_pipeline.publish.proof import PREDICATE_TYPE, STATEMENT_MEDIA_TYPE, Document
from instructlab_pipeline.publish.signature import ENVELOPE_MEDIA_TYPE, Signer, envelope, image_payload
from instructlab_pipeline.publish.together import together

SIGNATURE_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"  # annotation
TITLE = "org.opencontainers.image.title"


@dataclass(frozen=True)
class Subject:
    """The image's manifest, and its name without a tag."""

    manifest: bytes
    name: str

    @property
    def descriptor(self) -> Descriptor:
        return describe(MANIFEST_TYPE, self.manifest)


async def attach(documents: Sequence[Document], subject: Subject, destination: Destination) -> list[str]:
    """Each as a referrer; one that is there already is the same bytes again. The digests of their manifests."""
    manifests = [_manifest(document, subject) for document in documents]
    await _put([EMPTY, *(document.content for document in documents)], destination)
    await destination.attach(subject.descriptor.digest, manifests)
    return [digest_of_bytes(manifest) for manifest in manifests]


def signed(documents: Sequence[Document], signer: Signer) -> list[Document]:
    """The same, with every statement in an envelope; what is no statement is vouched for by the provenance."""
    return [
        replace(
            document,
            media_type=ENVELOPE_MEDIA_TYPE,
            content=envelope(document.content, document.media_type, signer),
        )
        if document.predicate
        else document
        for document in documents
    ]


async def sign(subject: Subject, signer: Signer, destination: Destination) -> None:
    """Write the image's signature beside those of other keys.

    Raises:
        SourceError: something else than signatures stands where cosign looks for them.
    """
    digest = subject.descriptor.digest
    payload = image_payload(subject.name, digest)
    signature = base64.b64encode(signer.sign(payload)).decode()
    layer = replace(describe(SIGNATURE_LAYER, payload), annotations={SIGNATURE: signature})
    tag = signature_tag(digest)
    held = await destination.read(tag)
    with boundary(SourceError, f"reading the signatures under the tag {tag}", remedy="delete that tag, then run again"):
        others = [descriptor_of(record) for record in json.loads(held)["layers"]] if held else []
    if layer in others:
        return
    layers = [*others, layer]
    config = signature_config([layer.digest for layer in layers])
    await _put([payload, config], destination)
    await destination.tag(tag, manifest_document(describe(CONFIG_TYPE, config), layers, {}))


def signature_tag(digest: str) -> str:
    return f"{digest.replace(':', '-')}.sig"


def _manifest(document: Document, subject: Subject) -> bytes:
    layer = describe(document.media_type, document.content)
    layer = replace(layer, annotations={TITLE: document.title, **_predicate(document)})
    return artifact_document(layer, subject.descriptor, kind=_kind(document), annotations=_predicate(document))


def _kind(document: Document) -> str:
    """The artifact's type: of a statement the same, whether it is signed or not."""
    return STATEMENT_MEDIA_TYPE if document.predicate else document.media_type


def _predicate(document: Document) -> dict[str, str]:
    return {PREDICATE_TYPE: document.predicate} if document.predicate else {}


async def _put(contents: Sequence[bytes], destination: Destination) -> None:
    await together([_put_one(content, destination) for content in dict.fromkeys(contents)])


async def _put_one(content: bytes, destination: Destination) -> None:
    if not await destination.has(describe(EMPTY_TYPE, content)):
        await destination.put(Blob((content,)), lambda _: None)
