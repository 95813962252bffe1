"""What an image that was published before says of its evaluation, for a later one to be compared with."""

import json
from typing import Any

from instructlab_pipeline import interruption
from instructlab_pipeline.errors import SourceError, boundary
from instructlab_pipeline.publish.card import EVALUATION
from instructlab_pipeline.publish.evidence import opened_source
from instructlab_pipeline.publish.reference import Reference, locate


def published_evaluation(image: str, *, insecure: bool) -> dict[str, Any] | None:
    """The evaluation of the model at `image` (as output_oci_model_uri names one); None where there is none of ours.

    `{"verdict": "pass", "clear", "n", "threshold", "metrics": {NAME: {"n", "base", "tuned", "interval"}}}`; the
    interval is the 95% one of `tuned`, `[low, high]`. It is read from the manifest
    alone; `verify` tells whether to believe it.

    Raises:
        SourceError: an image is there, but its manifest cannot be read.
        ServiceError: the registry cannot be asked.
    """
    return interruption.run(_published_evaluation(locate(image), insecure=insecure))


async def _published_evaluation(reference: Reference, *, insecure: bool) -> dict[str, Any] | None:
    async with opened_source(reference, insecure=insecure) as source:
        content = await source.read(reference.wanted)
    if content is None:
        return None
    with boundary(SourceError, f"reading {reference}", remedy="publish under another tag"):
        text = (json.loads(content).get("annotations") or {}).get(EVALUATION)
        evaluation: dict[str, Any] | None = json.loads(text) if text else None
    return evaluation
