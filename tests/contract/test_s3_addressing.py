"""Buckets as hosts, `bucket.s3.test`, and what the files of the AWS tools say, against a real server."""

import os
from urllib.parse import urlsplit

import pytest

from instructlab_pipeline.errors import SourceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.cache import fetched
from instructlab_pipeline.model.s3 import BucketSource
from instructlab_pipeline.s3.remote import PART_BYTES, RemoteFolder
from instructlab_pipeline.s3.settings import Settings
from servers.named_hosts import named_hosts
from servers.s3_server import DOMAIN, s3_server

MODELS_HOST = f"models.{DOMAIN}"
CONTENT = {"config.json": b"{}", "sub folder/a+b%20.safetensors": os.urandom(100_000)}


@pytest.fixture(scope="module")
def server():
    with s3_server() as server:
        server.create_bucket("models")
        for name, data in CONTENT.items():
            server.put("models", f"base/{name}", data)
        yield server


@pytest.fixture
def hosts(server, monkeypatch):
    """All names lead to the server; a program that is started, or asks here, finds its keys in the environment."""
    with named_hosts(urlsplit(server.endpoint).port) as hosts:
        for name, value in {**server.environment, "AWS_S3_ENDPOINT": f"http://{DOMAIN}"}.items():
            monkeypatch.setenv(name, value)
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, hosts.proxy)
        yield hosts


def fetch(folder):
    source = BucketSource("s3://models/base")
    found = fetched(source, source.listing(), folder, Events())
    return {path.relative_to(found).as_posix(): path.read_bytes() for path in found.rglob("*") if path.is_file()}


def test_a_model_is_read_from_its_bucket_s_own_host(hosts, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_S3_ADDRESSING_STYLE", "virtual")
    assert fetch(tmp_path) == CONTENT
    assert {host for host, _ in hosts.asked} == {MODELS_HOST}
    assert not any(path.startswith("/models") for _, path in hosts.asked)


@pytest.mark.parametrize("style", ["path", "auto", ""])
def test_any_other_style_leaves_the_bucket_in_the_path(hosts, tmp_path, monkeypatch, style):
    monkeypatch.setenv("AWS_S3_ADDRESSING_STYLE", style)
    assert fetch(tmp_path) == CONTENT
    assert {host for host, _ in hosts.asked} == {DOMAIN}


def test_runs_live_in_a_bucket_s_own_host(hosts, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_S3_ADDRESSING_STYLE", "virtual")
    folder = RemoteFolder.open("s3://models/run", named_by="--run-dir")
    (tmp_path / "large").write_bytes(os.urandom(PART_BYTES + 1))
    folder.upload({"large": tmp_path / "large"}, there={})
    folder.copy({"large": PART_BYTES + 1}, to=folder.below("copied"))
    assert folder.create("note", b"1")
    assert not folder.create("note", b"2")
    assert folder.read("note") == b"1"
    assert sorted(folder.listing()) == ["copied/large", "large", "note"]
    folder.delete(folder.listing())
    assert folder.listing() == {}
    assert {host for host, _ in hosts.asked} == {MODELS_HOST}


def test_the_profile_of_the_aws_tools_says_where_and_with_which_keys(server, hosts, tmp_path, monkeypatch):
    for name in server.environment:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(
        "[default]\nregion = eu-north-1\n"
        f"[profile lab]\nregion = us-east-1\nendpoint_url = http://{DOMAIN}\ns3 =\n    addressing_style = virtual\n"
    )
    (tmp_path / "credentials").write_text(
        f"[lab]\naws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    assert fetch(tmp_path / "cache") == CONTENT
    assert {host for host, _ in hosts.asked} == {MODELS_HOST}


def test_a_bucket_that_is_no_host_is_told(hosts, monkeypatch):
    monkeypatch.setenv("AWS_S3_ADDRESSING_STYLE", "virtual")
    with pytest.raises(SourceError, match="no such bucket"):
        BucketSource("s3://nowhere/base").listing()


def test_no_bucket_stands_before_a_number():
    with pytest.raises(UsageError, match=r"is virtual, but the endpoint http://127\.0\.0\.1:9 is a number"):
        Settings.from_environment({"AWS_S3_ENDPOINT": "http://127.0.0.1:9", "AWS_S3_ADDRESSING_STYLE": "virtual"})
