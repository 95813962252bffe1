"""An image that went away is noticed, wherever it was."""

import json
import shutil
from dataclasses import replace

import pytest

from instructlab_pipeline.artifacts import seal
from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish.stage import lost, run
from instructlab_pipeline.stage import Context
from servers.finished_run import finished_run
from servers.registry import registry


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"), uri="", shards=1, shard_bytes=1 << 20)


def published(inputs, folder):
    folder.mkdir(parents=True)
    facts = run(inputs, Context(folder=folder, cache=folder.parent / "cache", events=Events()))
    return seal(folder, kind="publish", key="k", inputs={}, facts=facts)


def test_an_image_in_a_layout_is_there_until_its_folder_or_tag_goes(finished, tmp_path):
    inputs = replace(finished, output_oci_model_uri=f"oci:{tmp_path}/images:latest")
    artifact = published(inputs, tmp_path / "publish")
    assert lost(inputs, artifact) is None

    index = tmp_path / "images" / "index.json"
    whole = index.read_text()
    index.write_text(json.dumps({**json.loads(whole), "manifests": []}))
    assert "is no longer what was published" in lost(inputs, artifact)
    index.write_text(whole)

    record = json.loads((artifact / "published.json").read_text())
    proof, layer = record["proofs"][0], record["layers"][0]["digest"]
    (tmp_path / "images" / "blobs" / "sha256" / proof.removeprefix("sha256:")).unlink()
    assert f"has lost the proof {proof}" in lost(inputs, artifact)
    (tmp_path / "images" / "blobs" / "sha256" / layer.removeprefix("sha256:")).unlink()
    assert f"has lost the layer {layer}" in lost(inputs, artifact)

    shutil.rmtree(tmp_path / "images")
    assert "is no longer what was published" in lost(inputs, artifact)
    assert not (tmp_path / "images").exists()


def test_an_image_in_a_registry_is_there_until_its_repository_goes(finished, tmp_path):
    with registry(tmp_path / "registry") as server:
        uri = f"{server.host}/team/model:1"
        inputs = replace(finished, output_oci_model_uri=uri, output_registry_insecure=True)
        artifact = published(inputs, tmp_path / "publish")
        assert lost(inputs, artifact) is None
        shutil.rmtree(server.storage / "docker" / "registry" / "v2" / "repositories" / "team")
        assert "is no longer what was published" in lost(inputs, artifact)
    with pytest.raises(ServiceError, match=server.host):
        lost(inputs, artifact)
