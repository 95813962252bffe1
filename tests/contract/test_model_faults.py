"""A base model from a bucket behind a proxy that cuts, stalls and refuses."""

import os
import subprocess
import sys
import time
from threading import Lock
from urllib.parse import urlsplit

import pytest

from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.cache import fetched
from instructlab_pipeline.model.s3 import BucketSource
from instructlab_pipeline.model.shares import FIRST, SMALLEST
from instructlab_pipeline.s3.settings import Settings
from servers.certificate import authority
from servers.command import command
from servers.flaky_proxy import Answers, CutsAnswerAfter, StallsAnswerAfter, flaky_proxy
from servers.loopback import free_port
from servers.s3_server import s3_server

URI = "s3://models/large"
SIZE = FIRST + SMALLEST + 54_321


@pytest.fixture(scope="module")
def content():
    return os.urandom(SIZE)


@pytest.fixture(scope="module")
def server(content):
    with s3_server() as server:
        server.create_bucket("models")
        server.put("models", "large/model.safetensors", content)
        server.put("models", "large/config.json", b"{}")
        yield server


@pytest.fixture
def through(server):
    """A source that reads through the proxy, and what it has asked for."""

    def through(proxy, **options):
        return Asking(URI, settings(server, f"http://{proxy.host}"), **options)

    return through


class Asking(BucketSource):
    """Counts the bytes that arrive."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.received, self.lock = 0, Lock()

    def read(self, entry, start, end):
        for data in super().read(entry, start, end):
            with self.lock:
                self.received += len(data)
            yield data


def settings(server, endpoint):
    return Settings.from_environment(server.environment | {"AWS_S3_ENDPOINT": endpoint})


def port_of(server):
    return urlsplit(server.endpoint).port


def fetch(source, cache):
    folder = fetched(source, source.listing(), cache, Events())
    return (folder / "model.safetensors").read_bytes()


def test_cut_connections_are_gone_on_with_and_nothing_comes_twice(server, through, content, tmp_path):
    cuts = [CutsAnswerAfter(3 << 20), CutsAnswerAfter(5 << 20), CutsAnswerAfter(1 << 20)]
    with flaky_proxy(port_of(server), cuts) as proxy:
        source = through(proxy)
        assert fetch(source, tmp_path / "cache") == content
        assert proxy.faults == []
    assert source.received == SIZE + len(b"{}")


def test_a_server_that_stops_in_the_middle_is_given_up_and_asked_again(server, through, content, tmp_path):
    with flaky_proxy(port_of(server), [StallsAnswerAfter(3 << 20)]) as proxy:
        source = through(proxy, patience_s=2.0)
        assert fetch(source, tmp_path / "cache") == content
    assert source.received == SIZE + len(b"{}")


def test_after_a_server_went_away_only_what_is_missing_is_fetched(server, through, content, tmp_path):
    with flaky_proxy(port_of(server), [StallsAnswerAfter(6 << 20)] * 2 + [StallsAnswerAfter(0)] * 100) as proxy:
        broken = through(proxy, patience_s=2.0)
        with pytest.raises(ServiceError, match="sent nothing for 2 s") as refusal:
            fetch(broken, tmp_path / "cache")
    assert "goes on where it stopped" in refusal.value.remedy
    assert not list((tmp_path / "cache").glob("*/model.safetensors"))
    whole = Asking(URI, settings(server, server.endpoint))
    assert fetch(whole, tmp_path / "cache") == content
    assert 0 < whole.received < SIZE
    assert whole.received + broken.received == SIZE + len(b"{}")


def test_a_busy_server_is_asked_again(server, through, content, tmp_path):
    with flaky_proxy(port_of(server), [Answers(503), Answers(500)]) as proxy:
        assert fetch(through(proxy), tmp_path / "cache") == content
        assert proxy.faults == []


def test_a_private_authority_is_trusted_when_its_bundle_is_named(server, content, tmp_path):
    private = authority(tmp_path)
    with flaky_proxy(port_of(server), [], certificate=private.server) as proxy:
        bundle = {"AWS_CA_BUNDLE": str(private.bundle), "AWS_S3_ENDPOINT": f"https://{proxy.host}"}
        trusted = Settings.from_environment(server.environment | bundle)
        assert fetch(BucketSource(URI, trusted), tmp_path / "cache") == content
        unknown = Settings.from_environment(server.environment | {"AWS_S3_ENDPOINT": f"https://{proxy.host}"})
        with pytest.raises(SourceError, match="is not trusted") as refusal:
            BucketSource(URI, unknown).listing()
        assert "AWS_CA_BUNDLE" in refusal.value.remedy
    absent = Settings.from_environment(server.environment | {"AWS_CA_BUNDLE": str(tmp_path / "absent.pem")})
    with pytest.raises(SourceError, match=r"AWS_CA_BUNDLE names .*absent\.pem, which cannot be read"):
        BucketSource(URI, absent).listing()


def test_a_killed_fetch_is_gone_on_with_by_who_waited_for_it(server, content, tmp_path):
    with flaky_proxy(port_of(server), [StallsAnswerAfter(4 << 20)]) as proxy:
        with fetching(server, proxy, tmp_path / "cache") as first:
            awaited_note(tmp_path / "cache")
            others = [fetching(server, proxy, tmp_path / "cache") for _ in range(2)]
            first.kill()
            assert [other.wait(240) for other in others] == [0, 0]
        assert proxy.faults == []
    whole = Asking(URI, settings(server, server.endpoint))
    assert fetch(whole, tmp_path / "cache") == content
    assert whole.received == 0


def test_what_a_killed_fetch_brought_is_not_fetched_again(server, content, tmp_path):
    with (
        flaky_proxy(port_of(server), [StallsAnswerAfter(4 << 20)]) as proxy,
        fetching(server, proxy, tmp_path / "cache") as process,
    ):
        awaited_note(tmp_path / "cache")
        process.kill()
    whole = Asking(URI, settings(server, server.endpoint))
    assert fetch(whole, tmp_path / "cache") == content
    assert 0 < whole.received < SIZE


def fetching(server, proxy, cache):
    """A process that fetches through the proxy."""
    program = (
        "import sys; from pathlib import Path\n"
        "from instructlab_pipeline.events import Events\n"
        "from instructlab_pipeline.model.cache import fetched\n"
        "from instructlab_pipeline.model.s3 import BucketSource\n"
        "source = BucketSource(sys.argv[1]); fetched(source, source.listing(), Path(sys.argv[2]), Events())\n"
    )
    environment = os.environ | server.environment | {"AWS_S3_ENDPOINT": f"http://{proxy.host}"}
    return subprocess.Popen([sys.executable, "-c", program, URI, str(cache)], env=environment)


@pytest.mark.parametrize(
    ("changes", "uri", "code", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wr0ng"}, URI, 3, "cannot be read with these keys"),
        ({}, "s3://absent/large", 3, "there is no such bucket"),
        ({}, "s3://models/absent", 3, "has nothing below 'absent'"),
        ({}, URI, 3, "tokenizer.json is missing"),
        ({"AWS_S3_ENDPOINT": f"http://127.0.0.1:{free_port()}"}, URI, 4, "Connection refused"),
    ],
)
def test_each_trouble_ends_the_command_with_its_code(server, tmp_path, changes, uri, code, words):
    options = ["--sdg-base-model", uri, "--sdg-repo-url", "./taxonomy", "--output-oci-model-uri", "oci:images:tiny"]
    done = command(
        *("stage", "model", "--run-dir", tmp_path / "run", *options),
        folder=tmp_path,
        environment=server.environment | changes,
    )
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert "what to do: " in done.stderr
    assert "wr0ng" not in done.stderr


def awaited_note(cache, *, within_s=60):
    """Wait until a piece has been noted as there."""
    deadline = time.monotonic() + within_s
    while not any(path.read_text() for path in cache.rglob("notes/model.safetensors")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
