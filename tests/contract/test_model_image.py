"""A published model as a base model: out of Debian's docker-registry, layer by layer."""

import json
from dataclasses import replace

import pytest

from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.stage import ModelInputs, fingerprint, run
from instructlab_pipeline.modelcar.source import schemes_of
from instructlab_pipeline.publish.stage import run as publish
from instructlab_pipeline.stage import Context
from servers.finished_run import finished_run
from servers.registry import registry
from servers.registry import run as client

LOGIN = ("keeper", "mill-by-the-aller")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"), uri="")


@pytest.fixture
def server(tmp_path):
    with registry(tmp_path / "registry") as server:
        yield server


def context_in(folder, heard=()):
    folder.mkdir(parents=True, exist_ok=True)
    return Context(folder=folder, cache=folder.parent / "cache", events=Events(listeners=list(heard)))


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetch(uri, context):
    inputs = ModelInputs(sdg_base_model=uri, output_registry_insecure=True)
    return run(inputs, context, schemes_of(inputs))


def state(uri):
    inputs = ModelInputs(sdg_base_model=uri, output_registry_insecure=True)
    return fingerprint(uri, schemes_of(inputs))


def test_what_was_published_is_a_base_model_again(finished, server, tmp_path):
    inputs = replace(finished, output_oci_model_uri=f"{server.host}/org/mill:latest")
    facts = publish(inputs, context_in(tmp_path / "publish"))
    heard = []
    for uri in (f"oci://{server.host}/org/mill:latest", f"oci://{server.host}/org/mill@{facts['digest']}"):
        context = context_in(tmp_path / uri[-8:], [heard.append])
        fetch(uri, context)
        trained = contents(finished.train_phase_2 / "model")
        safe = {name: data for name, data in trained.items() if not name.endswith(".bin")}
        assert contents(context.folder / "files").items() >= safe.items()
        assert state(uri) == state(f"oci://{server.host}/org/mill:0.1.0")
    done = [event["done"] for event in heard if event["event"] == "progress"]
    assert sorted(done) == done  # the second came out of the cache


def test_a_layer_with_other_bytes_is_never_taken_for_the_model(finished, server, tmp_path):
    publish(replace(finished, output_oci_model_uri=f"{server.host}/org/bad:latest"), context_in(tmp_path / "publish"))
    weights = (finished.train_phase_2 / "model" / "model.safetensors").read_bytes()[-64:]
    blobs = [path for path in server.storage.rglob("data") if weights in path.read_bytes()]
    for blob in blobs:
        blob.write_bytes(blob.read_bytes().replace(weights, bytes(64)))
    with pytest.raises(ServiceError, match="has other bytes"):
        fetch(f"oci://{server.host}/org/bad:latest", context_in(tmp_path / "run"))
    assert not list((tmp_path / "cache" / "models").rglob("model.safetensors"))


def test_what_is_not_there_is_told(server, tmp_path):
    with pytest.raises(SourceError, match="there is no image oci://"):
        fetch(f"oci://{server.host}/org/nothing:latest", context_in(tmp_path / "run"))


def test_an_image_without_a_model_is_told(server, tmp_path):
    layout = tmp_path / "layout"
    client("umoci", "init", "--layout", str(layout))
    client("umoci", "new", "--image", f"{layout}:latest")
    client("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{server.host}/org/empty")
    with pytest.raises(SourceError, match="has no model below /models"):
        fetch(f"oci://{server.host}/org/empty:latest", context_in(tmp_path / "run"))


def test_a_registry_that_refuses_is_told_without_the_password(finished, tmp_path, monkeypatch):
    with registry(tmp_path / "guarded", login=LOGIN) as server:
        auth = server.write_login(tmp_path / "auth.json", "keeper", "wr0ng")
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth))
        with pytest.raises(ServiceError) as refusal:
            fetch(f"oci://{server.host}/org/mill:latest", context_in(tmp_path / "run"))
    assert "sdg_base_model" in refusal.value.remedy
    assert "wr0ng" not in json.dumps([refusal.value.message, refusal.value.remedy])
