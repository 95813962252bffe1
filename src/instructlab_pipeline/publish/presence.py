"""Whether an image is still where it was published."""

import json
from collections.abc import Mapping
from typing import Any

from instructlab_pipeline import interruption
from instructlab_pipeline.artifacts import Artifact
from instructlab_pipeline.publish.destination import Destination
from instructlab_pipeline.publish.layout import Layout
from instructlab_pipeline.publish.oci import LAYER_TYPE, Descriptor, digest_of_bytes
from instructlab_pipeline.publish.reference import RegistryReference, parse
from instructlab_pipeline.publish.registry import connect


def absence(published: Artifact, *, insecure: bool) -> str | None:
    """What is no longer there, in a sentence, or None.

    Raises:
        ServiceError: the registry cannot be asked.
    """
    record = json.loads((published / "published.json").read_bytes())
    return interruption.run(_absence(record, insecure=insecure))


async def _absence(record: Mapping[str, Any], *, insecure: bool) -> str | None:
    reference = parse(record["reference"])
    if isinstance(reference, RegistryReference):
        async with connect(reference, insecure=insecure) as registry:
            return await _missing_from(registry, record)
    return await _missing_from(Layout(reference.directory), record)


async def _missing_from(destination: Destination, record: Mapping[str, Any]) -> str | None:
    for tag in record["tags"]:
        held = await destination.read(tag)
        if held is None or digest_of_bytes(held) != record["digest"]:
            return f"{record['reference']} is no longer what was published (tag {tag})"
    for layer in record["layers"]:
        descriptor = Descriptor(media_type=LAYER_TYPE, digest=layer["digest"], size=layer["size_bytes"])
        if not await destination.has(descriptor):
            return f"{record['reference']} has lost the layer {layer['digest']}"
    for proof in record["proofs"]:
        if await destination.read(proof) is None:
            return f"{record['reference']} has lost the proof {proof}"
    return None
