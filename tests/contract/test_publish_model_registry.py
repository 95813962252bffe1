"""A published model is entered where others look for models, once, with the very image that was pushed."""

from dataclasses import replace

import pytest

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish import model_registry as adapter
from instructlab_pipeline.publish.stage import require_destination, run
from instructlab_pipeline.stage import Context
from servers.finished_run import finished_run, with_one_shard_changed
from servers.loopback import free_port
from servers.model_registry import model_registry
from servers.registry import registry


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="module")
def finished(tmp_path_factory, images):
    uri = f"{images.host}/org/m:latest"
    return finished_run(tmp_path_factory.mktemp("run"), uri=uri, shards=1, shard_bytes=1 << 20)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(adapter, "FIRST_PAUSE_S", 0.02)


def publish(inputs, folder):
    folder.mkdir(parents=True)
    return run(inputs, Context(folder=folder, cache=folder / "cache", events=Events()))


@pytest.mark.parametrize("root", adapter.ROOTS)
def test_a_model_is_entered_once_with_its_image_by_digest(finished, images, tmp_path, root):
    with model_registry(root=root) as models:
        inputs = replace(finished, output_model_registry_url=f"{models.url}/")
        facts = publish(inputs, tmp_path / "one")
        publish(inputs, tmp_path / "two")
        (model,) = models.records["registered_models"].values()
        (version,) = models.records["model_versions"].values()
        (artifact,) = models.records["model_artifacts"].values()
    assert (model["name"], version["name"]) == ("river-model", "0.1.0")
    assert artifact["uri"] == f"oci://{images.host}/org/m@{facts['digest']}"
    assert version["customProperties"]["accuracy"] == {"metadataType": "MetadataDoubleValue", "double_value": 0.9}
    assert version["customProperties"]["taxonomy.commit"]["string_value"] == "c0ffee"


def test_a_version_that_means_another_image_now_is_brought_up_to_date(finished, tmp_path):
    with model_registry() as models:
        inputs = replace(finished, output_model_registry_url=models.url, output_model_version="0.2.0")
        publish(inputs, tmp_path / "old")
        changed = with_one_shard_changed(inputs, tmp_path / "run")
        facts = publish(replace(changed, output_overwrite_version=True), tmp_path / "new")
        (artifact,) = models.records["model_artifacts"].values()
    assert artifact["uri"].endswith(facts["digest"])


def test_a_busy_model_registry_is_asked_again(finished, tmp_path):
    with model_registry() as models:
        models.faults = [503, 429, 500]
        inputs = replace(finished, output_model_registry_url=models.url, output_model_version="0.3.0")
        publish(inputs, tmp_path / "p")
        assert len(models.records["model_artifacts"]) == 1


def test_a_model_registry_that_wants_a_token_says_which_variable_holds_it(finished, tmp_path):
    with model_registry(token="secret-token") as models:
        inputs = replace(finished, output_model_registry_url=models.url, output_model_version="0.3.0")
        with pytest.raises(ServiceError, match="status 401") as caught:
            publish(inputs, tmp_path / "p")
    assert "MODEL_REGISTRY_TOKEN" in caught.value.remedy


def test_one_that_is_not_there_or_something_else_is_named(finished, images, tmp_path):
    nowhere = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ServiceError, match=f"{nowhere} cannot be used") as caught:
        publish(replace(finished, output_model_registry_url=nowhere, output_model_version="0.3.0"), tmp_path / "a")
    assert "the image itself is published" in caught.value.remedy
    other = f"http://{images.host}"
    with pytest.raises(ServiceError, match="is no Kubeflow Model Registry"):
        publish(replace(finished, output_model_registry_url=other, output_model_version="0.3.0"), tmp_path / "b")


@pytest.mark.parametrize("answer", [[1], {"items": ["text"]}, {"items": 1}])
def test_answers_that_are_none_of_the_api_are_told_with_what_is_done(finished, tmp_path, answer):
    with model_registry() as models:
        models.artifacts = answer
        inputs = replace(finished, output_model_registry_url=models.url, output_model_version="0.3.0")
        with pytest.raises(ServiceError, match=f"the model registry {models.url} answers as none does") as caught:
            publish(inputs, tmp_path / "p")
    assert "the image itself is published" in caught.value.remedy


def test_tokens_go_over_tls_only(monkeypatch):
    monkeypatch.setenv("MODEL_REGISTRY_TOKEN", " secret-token\n")
    assert adapter._authorization("http://registry") == {}
    assert adapter._authorization("https://registry") == {"Authorization": "Bearer secret-token"}


def test_a_layout_on_disk_is_nothing_to_register(tmp_path):
    with pytest.raises(UsageError, match="on this machine alone"):
        require_destination(f"oci:{tmp_path}/images:1", "https://registry.example.com")
