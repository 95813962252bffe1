"""The image below the model's layers, for runtimes that want a shell beside the files: `output_modelcar_base_image`.

A base image is named like the output, by tag or digest. Of one for several platforms, that of `PLATFORM` is taken.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from instructlab_pipeline.errors import SourceError, boundary
from instructlab_pipeline.publish.destination import Source
from instructlab_pipeline.publish.layout import Layout
from instructlab_pipeline.publish.oci import PLATFORM, Descriptor, descriptor_of, digest_of_bytes
from instructlab_pipeline.publish.origin import shown_uri
from instructlab_pipeline.publish.reference import Reference, RegistryReference
from instructlab_pipeline.publish.registry import connect

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
REMEDY = "name another image in output_modelcar_base_image"


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """`layers` are as its manifest has them; `repository` is where they can be mounted from, if anywhere."""

    name: str = ""
    digest: str = ""
    layers: Sequence[Descriptor] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    repository: str | None = None
    source: Source | None = None

    async def fetch(self, layer: Descriptor) -> bytes:
        assert self.source is not None
        return await self.source.fetch(layer)

    @property
    def annotations(self) -> dict[str, str]:
        """OCI's own keys for what an image stands on."""
        if not self.digest:
            return {}
        return {"org.opencontainers.image.base.name": self.name, "org.opencontainers.image.base.digest": self.digest}


NO_BASE = BaseImage()


@asynccontextmanager
async def open_base(reference: Reference | None, target: Reference, *, insecure: bool) -> AsyncIterator[BaseImage]:
    """The base image at `reference`, for as long as its layers may be needed at `target`.

    `insecure` is about the registry of `target`, and of the base image where it is the same.

    Raises:
        SourceError: it is not there, or none that a model can stand on.
        ServiceError: its registry cannot be asked.
    """
    if reference is None:
        yield NO_BASE
    elif isinstance(reference, RegistryReference):
        near = isinstance(target, RegistryReference) and target.registry == reference.registry
        async with connect(reference, insecure=insecure and near, writing=False) as registry:
            yield await _read(reference, registry, repository=reference.repository if near else None)
    else:
        yield await _read(reference, Layout(reference.directory), repository=None)


async def _read(reference: Reference, source: Source, *, repository: str | None) -> BaseImage:
    with boundary(SourceError, f"reading the base image {reference}", remedy=REMEDY):
        digest, manifest = await _for_platform(reference, source)
        config = json.loads(await source.fetch(descriptor_of(manifest["config"])))
        layers = [_in_oci_terms(layer) for layer in manifest["layers"]]
    if len(layers) != len(config["rootfs"]["diff_ids"]):
        raise SourceError(f"the base image {reference} has layers that its configuration does not know", remedy=REMEDY)
    return BaseImage(
        name=shown_uri(str(reference)),
        digest=digest,
        layers=layers,
        config=config,
        repository=repository,
        source=source,
    )


async def _for_platform(reference: Reference, source: Source) -> tuple[str, dict[str, Any]]:
    """Digest and manifest of the image itself, behind an index where there is one."""
    content = await source.read(reference.wanted)
    if content is None:
        raise SourceError(f"there is no base image {reference}", remedy=REMEDY)
    document = json.loads(content)
    if "manifests" in document:
        fits = (entry for entry in document["manifests"] if _is_ours(entry.get("platform") or {}))
        entry = next(fits, None)
        content = await source.read(entry["digest"]) if entry else None
        if content is None:
            wanted = "/".join(PLATFORM[name] for name in ("os", "architecture"))
            raise SourceError(f"the base image {reference} has nothing for {wanted}", remedy=REMEDY)
        document = json.loads(content)
    return digest_of_bytes(content), document


def _is_ours(platform: Mapping[str, Any]) -> bool:
    return all(platform.get(name) == value for name, value in PLATFORM.items())


def _in_oci_terms(record: Mapping[str, Any]) -> Descriptor:
    """The same bytes under OCI's name for their type."""
    media_type = str(record["mediaType"])
    if media_type.startswith(DOCKER_LAYER):
        media_type = OCI_LAYER + media_type.removeprefix(DOCKER_LAYER).replace(".", "+")
    return descriptor_of({**record, "mediaType": media_type})
