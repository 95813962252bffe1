"""Keys that a machine's role has, from the service that gives them out to a real server that wants them."""

import pytest

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.cache import fetched
from instructlab_pipeline.model.s3 import BucketSource
from servers.metadata_service import MetadataService
from servers.s3_server import s3_server

CONTENT = b"{}" * 100


@pytest.fixture(scope="module")
def server():
    with s3_server() as server:
        server.create_bucket("models")
        server.put("models", "base/config.json", CONTENT)
        yield server


@pytest.fixture
def machine(server, monkeypatch):
    """Lets this process be on a machine with a role that has these keys, or with none."""
    monkeypatch.setenv("AWS_S3_ENDPOINT", server.endpoint)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    running = []

    def with_role(keys):
        service = MetadataService(keys).__enter__()
        running.append(service)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)

    yield with_role
    for service in running:
        service.__exit__(None, None, None)


def test_a_model_is_fetched_with_the_keys_of_the_machine_s_role(server, machine, tmp_path):
    machine((server.access_key, server.secret_key))
    source = BucketSource("s3://models/base")
    folder = fetched(source, source.listing(), tmp_path, Events())
    assert (folder / "config.json").read_bytes() == CONTENT


def test_a_machine_without_a_role_is_told_from_a_server_that_refuses(machine):
    machine(None)
    with pytest.raises(ServiceError, match="the platform gives out no credentials") as refusal:
        BucketSource("s3://models/base").listing()
    assert "AWS_EC2_METADATA_DISABLED=true" in refusal.value.remedy
