"""The documents that prove where an image comes from, each in the form that its readers expect. Pure.

    provenance    in-toto statement, SLSA provenance 1: parameters, stages, what went in
    test result   in-toto statement: the final evaluation and its verdict, on which files
    materials     CycloneDX 1.6 ML-BOM: the model, the model below it, the data, the taxonomy
    card          the model card, as it stands in the image

No clock, machine or user gets in: the same run proves itself with the same bytes.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from instructlab_pipeline.publish.origin import Making, Origin, shown_parameters, shown_uri

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
TEST_RESULT_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
STATEMENT_MEDIA_TYPE = "application/vnd.in-toto+json"
MATERIALS_MEDIA_TYPE = "application/vnd.cyclonedx+json"
CARD_MEDIA_TYPE = "text/markdown"
PREDICATE_TYPE = "in-toto.io/predicate-type"  # annotation, as buildkit has it
PROGRAM = "pkg:pypi/instructlab-pipeline"
FOLDER_DIGEST = "of a sealed folder: sha256 of the JSON array of its files' [path, sha256], sorted by path"


@dataclass(frozen=True, kw_only=True)
class Document:
    """`predicate` is the type of what an in-toto statement says; empty for other documents."""

    media_type: str
    content: bytes
    title: str
    predicate: str = ""


def materials(origin: Origin, making: Making, image: str) -> Document:
    """`image` is the manifest's digest, here and below."""
    components = [_base_model(origin), _training_data(origin), _taxonomy(origin)]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, image)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [_program(making)]},
            "component": _model(origin, making, image),
        },
        "components": components,
        "dependencies": [
            {"ref": "model", "dependsOn": ["base-model", "training-data"]},
            {"ref": "training-data", "dependsOn": ["taxonomy"]},
        ],
    }
    return Document(media_type=MATERIALS_MEDIA_TYPE, content=_bytes(bom), title="bom.cdx.json")


def card_document(card: bytes) -> Document:
    return Document(media_type=CARD_MEDIA_TYPE, content=card, title="README.md")


def evaluation_result(origin: Origin, making: Making, image: str) -> Document:
    verdict = origin.verdict
    passed = [name for name, metric in verdict["metrics"].items() if metric["passed"]]
    predicate = {
        "result": "PASSED" if verdict["verdict"] == "pass" else "FAILED",
        "configuration": [
            {"name": "evaluation.jsonl", "digest": {"sha256": making.evaluation_set}},
        ],
        "passedTests": passed,
        "failedTests": [name for name, metric in verdict["metrics"].items() if metric["passed"] is False],
        "evaluation": evaluation_record(verdict),
        "model": verdict["model"],
    }
    return _statement("test-result.json", TEST_RESULT_TYPE, predicate, origin=origin, image=image)


def evaluation_record(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that others compare with, in the stable form that docs/publishing.md describes."""
    return {
        "verdict": verdict["verdict"],
        "clear": verdict["clear"],
        "n": verdict["n"],
        "threshold": verdict["threshold"],
        "metrics": {
            name: {"n": metric.get("n", verdict["n"]), **{key: metric[key] for key in ("base", "tuned", "interval")}}
            for name, metric in sorted(verdict["metrics"].items())
        },
    }


def provenance(origin: Origin, making: Making, image: str, byproducts: Sequence[Document]) -> Document:
    predicate = {
        "buildDefinition": {
            "buildType": f"{PROGRAM}#run",
            "externalParameters": shown_parameters(making.parameters),
            "internalParameters": {"stages": making.stages},
            "resolvedDependencies": [
                {
                    "name": "base model",
                    "uri": shown_uri(origin.base_model),
                    "digest": {"sha256": origin.base_digest},
                    "annotations": {"digest": FOLDER_DIGEST},
                },
                {
                    "name": "taxonomy",
                    "uri": f"git+{shown_uri(origin.taxonomy)}",
                    "digest": {"gitCommit": origin.commit},
                },
                {
                    "name": "training data",
                    "digest": {"sha256": origin.dataset_digest},
                    "annotations": {"digest": FOLDER_DIGEST},
                },
            ],
        },
        "runDetails": {
            "builder": {"id": PROGRAM, "version": {"instructlab-pipeline": making.program_version}},
            "byproducts": [
                {
                    "name": other.title,
                    "mediaType": other.media_type,
                    "digest": {"sha256": hashlib.sha256(other.content).hexdigest()},
                }
                for other in byproducts
            ],
        },
    }
    return _statement("provenance.json", PROVENANCE_TYPE, predicate, origin=origin, image=image)


def _statement(title: str, kind: str, predicate: Mapping[str, Any], *, origin: Origin, image: str) -> Document:
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": origin.name, "digest": {"sha256": image.removeprefix("sha256:")}}],
        "predicateType": kind,
        "predicate": predicate,
    }
    return Document(media_type=STATEMENT_MEDIA_TYPE, content=_bytes(statement), title=title, predicate=kind)


def _model(origin: Origin, making: Making, image: str) -> dict[str, Any]:
    verdict = origin.verdict
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": origin.name,
        "version": origin.version,
        "purl": f"pkg:oci/{quote(origin.name.lower(), safe='')}@{quote(image, safe='')}",
        "hashes": [_hash(image.removeprefix("sha256:"))],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": "text-generation",
                "modelArchitecture": making.architecture,
                "datasets": [{"ref": "training-data"}],
            },
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    {
                        "type": name,
                        "value": str(metric["tuned"]),
                        "slice": f"{verdict['n']} held-out questions",
                        "confidenceInterval": dict(
                            zip(("lowerBound", "upperBound"), map(str, metric["interval"]), strict=True)
                        ),
                    }
                    for name, metric in sorted(verdict["metrics"].items())
                ]
            },
        },
        "properties": [{"name": "instructlab-pipeline:num_parameters", "value": str(making.num_parameters)}],
    }


def _base_model(origin: Origin) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": "base-model",
        "name": shown_uri(origin.base_model),
        "hashes": [_hash(origin.base_digest)],
        "pedigree": {"notes": f"the tuned model started from these weights; the hash is {FOLDER_DIGEST}"},
    }


def _training_data(origin: Origin) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": "training-data",
        "name": "generated training data",
        "hashes": [_hash(origin.dataset_digest)],
        "data": [{"type": "dataset", "name": "phase_1.jsonl, phase_2.jsonl"}],
    }


def _taxonomy(origin: Origin) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": "taxonomy",
        "name": shown_uri(origin.taxonomy),
        "version": origin.commit,
        "data": [{"type": "source-code", "name": "taxonomy"}],
    }


def _program(making: Making) -> dict[str, Any]:
    return {
        "type": "application",
        "name": "instructlab-pipeline",
        "version": making.program_version,
        "purl": f"{PROGRAM}@{making.program_version}",
    }


def _hash(hexadecimal: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hexadecimal}


def _bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()
