"""From `sdg_base_model` to the base model's files, whole and checked.

files/      the Hugging Face folder
model.json  {uri, architecture, num_parameters, size_bytes}
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from instructlab_pipeline.artifacts import Facts, link_or_copy, write_atomically
from instructlab_pipeline.errors import SourceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.cache import fetched
from instructlab_pipeline.model.check import (
    complaints,
    complaints_of_weights,
    missing_files,
    num_parameters,
    read_config,
)
from instructlab_pipeline.model.fetch import Look
from instructlab_pipeline.model.folder import FolderSource
from instructlab_pipeline.model.hub import HubSource
from instructlab_pipeline.model.rehearsal import assemble, rehearse
from instructlab_pipeline.model.s3 import BucketSource
from instructlab_pipeline.model.source import ArchiveSource, Entry, PieceSource, WholeSource, listing_digest, wanted
from instructlab_pipeline.stage import Context

Opener = Callable[[str], PieceSource | WholeSource]
SCHEMES: Mapping[str, Opener] = {"file": FolderSource, "hf": HubSource, "s3": BucketSource}


@dataclass(frozen=True, kw_only=True)
class ModelInputs:
    """`output_registry_insecure` counts where the base model lies in a registry, too."""

    sdg_base_model: str
    output_registry_insecure: bool = field(default=False, metadata={"keyed": False})


def run(
    inputs: ModelInputs,
    context: Context,
    schemes: Mapping[str, Opener] = SCHEMES,
    families: Collection[str] | None = None,
) -> Facts:
    """Fetch, check, and lay the files into the stage's folder.

    `schemes` says who fetches which URIs; `families` the model types that can be trained, if not all.

    Raises:
        SourceError: there is no model, or none that can be fine-tuned: every reason at once.
        ServiceError: the server failed.
    """
    source, entries = _listed(inputs.sdg_base_model, schemes)

    def look(folder: Path) -> None:
        _refuse(source.uri, complaints(folder, _model_types(), families))
        rehearse(source.uri, folder, read_config(folder))

    folder, entries = _brought(source, entries, context, look)
    _refuse(source.uri, complaints_of_weights(folder))
    _tell_useless(assemble(source.uri, folder), context.events)
    for entry in entries:
        target = context.folder / "files" / entry.name
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(folder / entry.name, target)
    facts = _facts(source.uri, entries, folder)
    write_atomically(context.folder / "model.json", json.dumps(facts, indent=2) + "\n")
    return facts


def fingerprint(sdg_base_model: str, schemes: Mapping[str, Opener] = SCHEMES) -> str:
    """Changes whenever a file behind the URI does; costs one listing.

    Raises:
        SourceError, ServiceError: the URI cannot be listed.
    """
    return listing_digest(_listed(sdg_base_model, schemes)[1])


def listed_size(sdg_base_model: str, schemes: Mapping[str, Opener] = SCHEMES) -> int:
    """Bytes of a model whose files are all listed; costs one listing.

    Raises:
        SourceError, ServiceError: the URI cannot be listed, or files are missing.
    """
    source, entries = _listed(sdg_base_model, schemes)
    if not isinstance(source, ArchiveSource):
        _refuse(source.uri, missing_files({entry.name for entry in entries}))
    return sum(entry.size for entry in entries)


def _listed(uri: str, schemes: Mapping[str, Opener]) -> tuple[PieceSource | WholeSource, list[Entry]]:
    scheme = urlsplit(uri).scheme
    if scheme not in schemes:
        raise SourceError(
            f"{uri} is no base model that we can fetch",
            remedy="write s3://bucket/prefix, hf://organization/name, oci://registry/repository:tag or file:PATH",
        )
    source = schemes[scheme](uri)
    return source, wanted(uri, source.listing())


def _brought(
    source: PieceSource | WholeSource, entries: list[Entry], context: Context, look: Look
) -> tuple[Path, list[Entry]]:
    """The folder of the cache with the model's files, which it lists; `look` has seen all but the weights."""
    cache = context.cache / "models"
    if not isinstance(source, ArchiveSource):
        _refuse(source.uri, missing_files({entry.name for entry in entries}))
        return fetched(source, entries, cache, context.events, look), entries
    folder = fetched(source, entries, cache, context.events)
    unpacked = wanted(source.uri, FolderSource(f"file:{quote(str(folder))}").listing())
    _refuse(source.uri, missing_files({entry.name for entry in unpacked}))
    look(folder)
    return folder, unpacked


def _refuse(uri: str, complaints: Collection[str]) -> None:
    if complaints:
        raise SourceError(
            "\n".join(f"{uri}: {complaint}" for complaint in complaints),
            remedy="point sdg_base_model at a whole Hugging Face folder with safetensors weights and a chat template",
        )


def _tell_useless(tensors: Sequence[str], events: Events) -> None:
    if tensors:
        others = f" and {len(tensors) - 1} more" if tensors[1:] else ""
        message = f"training leaves out what config.json does not describe: {tensors[0]}{others}"
        events.point("notice", message=message)


def _model_types() -> Collection[str]:
    try:
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    except ImportError as error:
        raise UsageError(
            f"the base model cannot be checked: {error}", remedy="pip install 'instructlab-pipeline[train]'"
        ) from error
    return frozenset(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def _facts(uri: str, entries: Collection[Entry], folder: Path) -> Facts:
    return {
        "uri": uri,
        "architecture": read_config(folder)["architectures"][0],
        "num_parameters": num_parameters(folder),
        "size_bytes": sum(entry.size for entry in entries),
    }
