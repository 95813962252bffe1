"""The JSON documents of an OCI image, as the image specification 1.1 has them. Pure: values in, bytes out."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from instructlab_pipeline.errors import SourceError, boundary

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"  # the configuration of what is no image, image specification 1.1
MADE_BY = "instructlab-pipeline publish"
EPOCH = "1970-01-01T00:00:00Z"  # an image is the same whenever it is made
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
PLATFORM = {"architecture": "amd64", "os": "linux"}  # runtimes want one, though a model runs on none


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """What a document says of a blob; `digest` is `sha256:` and 64 hexadecimal digits."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        plain = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return {**plain, "annotations": dict(sorted(self.annotations.items()))} if self.annotations else plain


def descriptor_of(record: Mapping[str, Any]) -> Descriptor:
    """Of a record that another program may have written.

    Raises:
        SourceError: it is none, or its digest is no sha256.
    """
    with boundary(SourceError, "reading an image's manifest", remedy="publish the image anew"):
        if lacking := sorted({"digest", "mediaType", "size"} - record.keys()):
            raise ValueError(f"one of its parts has no {' and no '.join(lacking)}")
        if not DIGEST.fullmatch(record["digest"]):
            raise ValueError(f"{record['digest']} is no sha256 digest")
        return Descriptor(
            media_type=record["mediaType"],
            digest=record["digest"],
            size=record["size"],
            annotations=record.get("annotations") or {},
        )


def describe(media_type: str, content: bytes) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest_of_bytes(content), size=len(content))


def digest_of_bytes(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def config_document(diff_ids: Sequence[str], labels: Mapping[str, str], *, base: Mapping[str, Any]) -> bytes:
    """The image's configuration: our layers on top of `base`'s, which is an image's configuration or empty.

    Our layers are not compressed, so that their digests are those of their content.
    """
    settings = base.get("config") or {}
    below = (base.get("rootfs") or {}).get("diff_ids") or []
    return _bytes(
        {
            "created": EPOCH,
            **{name: base.get(name, value) for name, value in PLATFORM.items()},
            **({"variant": base["variant"]} if base.get("variant") else {}),
            "config": {**settings, "Labels": dict(sorted({**(settings.get("Labels") or {}), **labels}.items()))},
            "rootfs": {"type": "layers", "diff_ids": [*below, *diff_ids]},
            "history": [*(base.get("history") or []), *({"created": EPOCH, "created_by": MADE_BY} for _ in diff_ids)],
        }
    )


def manifest_document(config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str]) -> bytes:
    return _bytes(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.record(),
            "layers": [layer.record() for layer in layers],
            "annotations": dict(sorted(annotations.items())),
        }
    )


def artifact_document(content: Descriptor, subject: Descriptor, *, kind: str, annotations: Mapping[str, str]) -> bytes:
    """The manifest of a document that belongs to an image: a referrer of the type `kind`."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": kind,
        "config": describe(EMPTY_TYPE, EMPTY).record(),
        "layers": [content.record()],
        "subject": subject.record(),
    }
    return _bytes({**document, "annotations": dict(sorted(annotations.items()))} if annotations else document)


def signature_config(diff_ids: Sequence[str]) -> bytes:
    """The configuration that cosign gives to the image that holds an image's signatures."""
    return _bytes(
        {
            "architecture": "",
            "created": "0001-01-01T00:00:00Z",
            "history": [{"created": "0001-01-01T00:00:00Z"} for _ in diff_ids],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "config": {},
        }
    )


def index_document(manifests: Sequence[Mapping[str, Any]]) -> bytes:
    return _bytes({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(manifests)})


def listed(index: bytes, what: str) -> list[dict[str, Any]]:
    """The descriptors in an index, which another program may have written.

    Raises:
        SourceError: it is none.
    """
    with boundary(SourceError, f"reading the list of {what}", remedy="see who writes there beside this program"):
        records = json.loads(index).get("manifests") or []
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise ValueError("it is no index of images")
        return records


def media_type_of(manifest: bytes) -> str:
    return str(json.loads(manifest).get("mediaType") or MANIFEST_TYPE)


def subject_of(manifest: bytes) -> str | None:
    """The digest of the manifest that this one is about."""
    subject = json.loads(manifest).get("subject") or {}
    return subject.get("digest") if isinstance(subject, dict) else None


def referrer_record(manifest: bytes) -> dict[str, Any]:
    """How a list of referrers speaks of one."""
    document = json.loads(manifest)
    kind = document.get("artifactType") or document["config"]["mediaType"]
    record = {**describe(media_type_of(manifest), manifest).record(), "artifactType": kind}
    return {**record, "annotations": document["annotations"]} if document.get("annotations") else record


def referrers_tag(digest: str) -> str:
    """Where referrers are listed that a registry does not list itself, distribution specification 1.1."""
    return digest.replace(":", "-")


def checked(descriptor: Descriptor, content: bytes) -> bytes:
    """The content, if it is what the descriptor says.

    Raises:
        SourceError: it is something else.
    """
    if digest_of_bytes(content) != descriptor.digest:
        raise SourceError(
            f"{descriptor.digest} holds other bytes than its digest says", remedy="publish the image anew"
        )
    return content


def _bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
