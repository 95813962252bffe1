"""Whether an image is what it says: signed, passed, and made of the files that passed. Pure.

A statement counts when it speaks of this very image and, where a key is given, is signed with it. Anyone who can write
to the registry can attach more: a statement that does not count proves nothing, and one that does must not contradict.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.errors import GateError, SourceError, boundary
from instructlab_pipeline.publish.card import EVALUATION, PREFIX
from instructlab_pipeline.publish.evidence import Attached, Evidence
from instructlab_pipeline.publish.image import LAYER_FILES, identity_of
from instructlab_pipeline.publish.proof import CARD_MEDIA_TYPE, PROVENANCE_TYPE, STATEMENT_MEDIA_TYPE, TEST_RESULT_TYPE
from instructlab_pipeline.publish.signature import ENVELOPE_MEDIA_TYPE, Verifier, opened, signed_digest

CARD = "README.md"
MODEL = f"{PREFIX}.model.digest"
DO_NOT_USE = "do not use this image; publish the model again with `instructlab-pipeline run`"
IF_A_COPY = (
    "if it is a copy, have proof and signature copied, too (`oras cp --recursive`, `cosign copy`; `skopeo copy` leaves "
    "them behind); else do not use it"
)


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The chain from the image to the taxonomy's commit. `signature` is "valid", "not checked" or "none"."""

    reference: str
    digest: str
    signature: str
    name: str
    version: str
    evaluation: Mapping[str, Any]
    model_digest: str
    base_image: str | None
    base_model: Mapping[str, Any]
    dataset_digest: str
    taxonomy: Mapping[str, Any]
    program: str


def verify(evidence: Evidence, verifier: Verifier | None) -> Verified:
    """What holds of the image, all of it.

    Raises:
        SourceError: it has no proof, or proof that contradicts itself.
        GateError: not signed with this key, not passed, or not made of what was passed.
    """
    with boundary(SourceError, f"reading the proof of {evidence.reference}", remedy=DO_NOT_USE):
        return _verified(evidence, verifier)


def _verified(evidence: Evidence, verifier: Verifier | None) -> Verified:
    signature = _signature(evidence, verifier)
    if not evidence.documents:
        raise SourceError(
            f"nothing that could be a proof of ours is attached to {evidence.reference}", remedy=IF_A_COPY
        )
    results = _predicates(evidence, TEST_RESULT_TYPE, verifier)
    for result in results:
        _require_pass(result, evidence)
    provenances = _predicates(evidence, PROVENANCE_TYPE, verifier)
    for provenance in provenances:
        _require_same_origin(_origin(provenance), evidence)
        _require_byproducts(provenance, evidence)
    return _chain(evidence, signature, results[0], provenances[0])


def _chain(evidence: Evidence, signature: str, result: Mapping[str, Any], provenance: Mapping[str, Any]) -> Verified:
    origin = _origin(provenance)
    annotations = evidence.manifest.get("annotations") or {}
    return Verified(
        reference=evidence.reference,
        digest=evidence.digest,
        signature=signature,
        name=annotations.get("org.opencontainers.image.title", ""),
        version=annotations.get("org.opencontainers.image.version", ""),
        evaluation=result["evaluation"],
        model_digest=f"sha256:{result['model']['digest']}",
        base_image=annotations.get("org.opencontainers.image.base.name"),
        base_model={"uri": origin["base model"].get("uri"), "digest": _prefixed(origin["base model"])},
        dataset_digest=_prefixed(origin["training data"]),
        taxonomy={
            "url": origin["taxonomy"]["uri"].removeprefix("git+"),
            "commit": origin["taxonomy"]["digest"]["gitCommit"],
        },
        program=" ".join(next(iter(provenance["runDetails"]["builder"]["version"].items()))),
    )


def _signature(evidence: Evidence, verifier: Verifier | None) -> str:
    if verifier is None:
        return "not checked" if evidence.signatures else "none"
    if not evidence.signatures:
        raise GateError(f"{evidence.reference} is not signed", remedy=IF_A_COPY)
    for payload, signature in evidence.signatures:
        if signed_digest(payload) == evidence.digest and verifier.accepts(payload, signature):
            return "valid"
    raise GateError(
        f"no signature of {evidence.reference} was made with this key over this image",
        remedy="see whether --key is the publisher's public key; if it is, do not use this image",
    )


def _predicates(evidence: Evidence, kind: str, verifier: Verifier | None) -> list[dict[str, Any]]:
    """What the statements of a kind say that count."""
    attached = [document for document in evidence.documents if document.kind == STATEMENT_MEDIA_TYPE]
    statements = [_statement(document, verifier) for document in attached if document.predicate == kind]
    wanted = evidence.digest.removeprefix("sha256:")
    found = [
        statement["predicate"]
        for statement in statements
        if statement is not None
        and statement["predicateType"] == kind
        and any(subject["digest"].get("sha256") == wanted for subject in statement["subject"])
    ]
    if not found:
        signed = " signed with this key" if verifier else ""
        raise SourceError(f"{evidence.reference} has no proof{signed} of the kind {kind}", remedy=DO_NOT_USE)
    return found


def _statement(document: Attached, verifier: Verifier | None) -> dict[str, Any] | None:
    content: bytes | None = document.content
    if document.media_type == ENVELOPE_MEDIA_TYPE:
        content = opened(document.content, verifier)
    elif verifier is not None:
        return None
    statement: dict[str, Any] | None = json.loads(content) if content is not None else None
    return statement


def _require_pass(result: Mapping[str, Any], evidence: Evidence) -> None:
    if result["result"] != "PASSED" or result["evaluation"]["verdict"] != "pass":
        raise GateError(f"{evidence.reference} did not pass its final evaluation", remedy=DO_NOT_USE)
    model, annotations = result["model"], evidence.manifest.get("annotations") or {}
    if digest_of(model["files"]) != model["digest"] or annotations.get(MODEL) != f"sha256:{model['digest']}":
        raise GateError(f"the evaluation of {evidence.reference} was of another model", remedy=DO_NOT_USE)
    if json.loads(annotations.get(EVALUATION, "null")) != result["evaluation"]:
        raise SourceError(f"{evidence.reference} says other numbers than its test result", remedy=DO_NOT_USE)
    _require_layers(model["files"], evidence)


def _require_layers(files: Mapping[str, str], evidence: Evidence) -> None:
    """The layers above the base image are made of the files that were judged and of the card, of all of them."""
    cards = [document for document in evidence.documents if document.kind == CARD_MEDIA_TYPE]  # some may be of others
    judged: list[Mapping[str, str]]
    judged = [{**files, CARD: sha256(card.content).hexdigest()} for card in cards] or [files]
    if not any(_is_made_of(files_and_card, evidence) for files_and_card in judged):
        raise GateError(
            f"{evidence.reference} is not made of the files that were evaluated and their card", remedy=DO_NOT_USE
        )
    own = sum(LAYER_FILES in layer.annotations for layer in evidence.layers)
    based = "org.opencontainers.image.base.digest" in (evidence.manifest.get("annotations") or {})
    if own < len(evidence.layers) and not based:
        raise GateError(f"{evidence.reference} has layers of unknown origin", remedy=DO_NOT_USE)


def _is_made_of(files: Mapping[str, str], evidence: Evidence) -> bool:
    left = dict(files)
    made_of = [layer.annotations[LAYER_FILES] for layer in evidence.layers if LAYER_FILES in layer.annotations]
    for path, digest in files.items():
        if identity_of({path: digest}) in made_of:
            made_of.remove(identity_of({path: left.pop(path)}))
    return made_of == ([identity_of(left)] if left else [])


def _origin(provenance: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What went in, by name."""
    return {entry["name"]: entry for entry in provenance["buildDefinition"]["resolvedDependencies"]}


def _require_same_origin(origin: Mapping[str, Mapping[str, Any]], evidence: Evidence) -> None:
    annotations = evidence.manifest.get("annotations") or {}
    told = {
        f"{PREFIX}.base-model.digest": _prefixed(origin["base model"]),
        f"{PREFIX}.taxonomy.commit": origin["taxonomy"]["digest"]["gitCommit"],
        f"{PREFIX}.dataset.digest": _prefixed(origin["training data"]),
    }
    for name, value in told.items():
        if annotations.get(name) != value:
            raise SourceError(
                f"{evidence.reference} says {name}={annotations.get(name)}, its provenance {value}", remedy=DO_NOT_USE
            )


def _require_byproducts(provenance: Mapping[str, Any], evidence: Evidence) -> None:
    """The documents that are not signed themselves are those that the provenance names."""
    held = {sha256(document.content).hexdigest() for document in evidence.documents}
    for entry in provenance["runDetails"]["byproducts"]:
        if entry["digest"]["sha256"] not in held:
            raise SourceError(
                f"{entry['name']}, which the provenance of {evidence.reference} names, is not there", remedy=DO_NOT_USE
            )


def _prefixed(entry: Mapping[str, Any]) -> str:
    return f"sha256:{entry['digest']['sha256']}"
