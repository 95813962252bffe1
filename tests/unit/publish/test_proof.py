"""The proofs, read by the libraries that others read them with; and the same for the same run."""

import json
from dataclasses import replace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as ResultMessage
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.publish.origin import Making, Origin, shown_parameters
from instructlab_pipeline.publish.proof import card_document, evaluation_result, materials, provenance
from instructlab_pipeline.publish.signature import opened

FILES = {"config.json": "1" * 64, "model.safetensors": "2" * 64}
METRIC = {"base": 0.1, "tuned": 0.85, "interval": [0.767, 0.907], "threshold": 0.8, "passed": True, "clear": False}
IMAGE = f"sha256:{'e' * 64}"
ORIGIN = Origin(
    name="River model",
    version="1.2.0",
    base_model="file:/home/someone/base",
    base_digest="b" * 64,
    taxonomy="https://example.org/taxonomy.git",
    commit="c0ffee" + "0" * 34,
    dataset_digest="d" * 64,
    verdict={
        "verdict": "pass",
        "clear": False,
        "n": 100,
        "threshold": 0.8,
        "metrics": {"accuracy": METRIC, "f1": METRIC},
        "model": {"stage": "train_phase_2", "digest": digest_of(FILES), "files": FILES},
    },
)
MAKING = Making(
    parameters={
        "sdg_base_model": "file:/home/someone/base",
        "output_oci_model_uri": "oci:/home/someone/images:1",
        "output_signing_key": "/home/someone/key.pem",
        "eval_questions": ("/home/someone/own.jsonl", "./more.jsonl"),
        "eval_metrics": ("accuracy", "f1"),
        "train_seed": 42,
        "sdg_repo_revision": None,
    },
    stages={"model": {"key": "k", "digest": "b" * 64, "inputs": {}}},
    evaluation_set="a" * 64,
    architecture="LlamaForCausalLM",
    num_parameters=12345,
    program_version="0.1.0",
)


def documents():
    others = [materials(ORIGIN, MAKING, IMAGE), card_document(b"# card")]
    return [*others, evaluation_result(ORIGIN, MAKING, IMAGE), provenance(ORIGIN, MAKING, IMAGE, byproducts=others)]


def test_the_bill_of_materials_is_valid_cyclonedx():
    bom = materials(ORIGIN, MAKING, IMAGE).content.decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom) is None
    model = json.loads(bom)["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["purl"] == f"pkg:oci/river%20model@sha256%3A{'e' * 64}"
    (accuracy, _) = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert accuracy["confidenceInterval"] == {"lowerBound": "0.767", "upperBound": "0.907"}


@pytest.mark.parametrize("document", documents()[2:])
def test_statements_are_valid_in_toto(document):
    message = json_format.Parse(document.content, StatementMessage())
    statement = Statement.copy_from_pb(message)
    statement.validate()
    assert message.predicate_type == document.predicate
    assert message.subject[0].digest["sha256"] == "e" * 64


def test_the_provenance_is_valid_slsa():
    predicate = json.loads(documents()[3].content)["predicate"]
    message = json_format.ParseDict(predicate, Provenance())
    assert [entry.name for entry in message.build_definition.resolved_dependencies] == [
        "base model",
        "taxonomy",
        "training data",
    ]
    assert message.build_definition.resolved_dependencies[1].digest["gitCommit"] == ORIGIN.commit
    assert [entry.name for entry in message.run_details.byproducts] == ["bom.cdx.json", "README.md"]


def test_the_test_result_is_valid_for_who_knows_no_more_than_its_kind():
    """What is ours alone, the numbers and the files that were judged, is for others to pass over."""
    predicate = json.loads(documents()[2].content)["predicate"]
    ours = {name: predicate.pop(name) for name in ("evaluation", "model")}
    message = json_format.ParseDict(predicate, ResultMessage())
    assert (message.result, list(message.passed_tests)) == ("PASSED", ["accuracy", "f1"])
    assert message.configuration[0].digest["sha256"] == MAKING.evaluation_set
    assert ours["model"]["files"] == FILES


def test_the_same_run_proves_itself_with_the_same_bytes():
    assert [document.content for document in documents()] == [document.content for document in documents()]


def test_no_path_of_someones_machine_gets_into_a_proof():
    assert not any(b"someone" in document.content for document in documents())
    assert shown_parameters(MAKING.parameters) == {
        "eval_metrics": ["accuracy", "f1"],
        "eval_questions": ["own.jsonl", "more.jsonl"],
        "output_oci_model_uri": "oci:images:1",
        "output_signing_key": "key.pem",
        "sdg_base_model": "base",
        "train_seed": 42,
    }


def test_the_address_that_hears_of_a_run_is_not_published():
    assert shown_parameters({"notify_webhook_url": "https://hooks.example.com/letmein", "train_seed": 1}) == {
        "train_seed": 1
    }


def test_a_failed_verdict_is_told_as_one():
    failed = {**ORIGIN.verdict, "verdict": "fail", "metrics": {"accuracy": {**METRIC, "passed": False}, "f1": METRIC}}
    predicate = json.loads(evaluation_result(replace(ORIGIN, verdict=failed), MAKING, IMAGE).content)["predicate"]
    assert (predicate["result"], predicate["failedTests"], predicate["passedTests"]) == ("FAILED", ["accuracy"], ["f1"])


@pytest.mark.parametrize("content", [b"", b"[]", b'{"payload": 3}', b'{"payload": "e30=", "payloadType": "x"}'])
def test_what_is_no_envelope_is_opened_to_nothing(content):
    assert opened(content, None) is None
