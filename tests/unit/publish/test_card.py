import json

import pytest

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.publish.card import annotations, model_card
from instructlab_pipeline.publish.oci import LAYER_TYPE, config_document, describe, manifest_document
from instructlab_pipeline.publish.origin import Origin, shown_uri

FILES = {"config.json": "1" * 64, "model.safetensors": "2" * 64}


def verdict(word: str = "pass", **changes) -> dict:
    metric = {"base": 0.1, "tuned": 0.85, "interval": [0.767, 0.907], "threshold": 0.8, "passed": word == "pass"}
    record = {
        "verdict": word,
        "clear": False,
        "n": 100,
        "threshold": 0.8,
        "metrics": {"accuracy": metric},
        "model": {"digest": digest_of(FILES)},
    }
    return record | changes


def origin() -> Origin:
    return Origin(
        name="river-model",
        version="1.2.0",
        base_model="s3://bucket/base",
        base_digest="b" * 64,
        taxonomy="https://example.org/taxonomy.git",
        commit="c0ffee",
        dataset_digest="d" * 64,
        verdict=verdict(),
    )


def test_annotations_tell_where_the_model_comes_from():
    told = annotations(origin())
    assert told["org.opencontainers.image.version"] == "1.2.0"
    assert told["ai.instructlab.pipeline.base-model"] == "s3://bucket/base"
    assert told["ai.instructlab.pipeline.taxonomy.commit"] == "c0ffee"
    assert told["ai.instructlab.pipeline.verdict"] == "pass, not clear"
    assert told["ai.instructlab.pipeline.metric.accuracy"] == ("0.8500 (95% interval 0.7670 to 0.9070; base 0.1000)")
    assert all(isinstance(value, str) for value in told.values())


def test_the_model_card_shows_metrics_with_their_intervals():
    card = model_card(origin())
    assert card.startswith("# river-model 1.2.0\n")
    assert "| accuracy | 0.100 | 0.850 | 0.767 to 0.907 |" in card
    assert "an interval reaches below it" in card
    assert "c0ffee" in card


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://bucket/base", "s3://bucket/base"),
        ("file:/home/someone/models/tiny", "tiny"),
        ("file:///home/someone/taxonomy.git", "taxonomy.git"),
        ("./examples/taxonomy", "taxonomy"),
        ("git@example.org:org/taxonomy.git", "git@example.org:org/taxonomy.git"),
        ("https://example.org/t.git", "https://example.org/t.git"),
    ],
)
def test_paths_on_someones_machine_are_not_published(uri, shown):
    assert shown_uri(uri) == shown


def test_documents_are_the_same_whatever_the_order_of_their_keys():
    layer = describe(LAYER_TYPE, b"layer")
    there, back = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
    assert config_document([layer.digest], there, base={}) == config_document([layer.digest], back, base={})
    config = json.loads(config_document([layer.digest], there, base={}))
    assert config["rootfs"]["diff_ids"] == [layer.digest]
    assert len(config["history"]) == 1
    manifest = json.loads(manifest_document(layer, [layer], back))
    assert list(manifest["annotations"]) == ["a", "b"]
    assert manifest["layers"] == [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": 5}]
