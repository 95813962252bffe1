"""The JSON documents of an OCI image, as the image specification 1.1 has them. Pure: values in, bytes out."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
EPOCH = "1970-01-01T00:00:00Z"  # an image is the same whenever it is made
PLATFORM = {"architecture": "amd64", "os": "linux"}  # runtimes want one, though a model runs on none


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """What a document says of a blob; `digest` is `sha256:` and 64 hexadecimal digits."""

    media_type: str
    digest: str
    size: int

    def record(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


def describe(media_type: str, content: bytes) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest_of_bytes(content), size=len(content))


def digest_of_bytes(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def config_document(layers: Sequence[Descriptor], labels: Mapping[str, str]) -> bytes:
    """The image's configuration. Layers are not compressed, so that their digests are those of their content."""
    return _bytes(
        {
            "created": EPOCH,
            **PLATFORM,
            "config": {"Labels": dict(sorted(labels.items()))},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created": EPOCH, "created_by": "instructlab-pipeline publish"} for _ in layers],
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


def _bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
