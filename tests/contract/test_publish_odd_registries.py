"""Registries that differ from what most of them do, and ways to them that others have set up."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from instructlab_pipeline.errors import GateError, ServiceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish import transport
from instructlab_pipeline.publish.evidence import gather
from instructlab_pipeline.publish.image import Entry, layers
from instructlab_pipeline.publish.inputs import PublishInputs
from instructlab_pipeline.publish.layout import Layout
from instructlab_pipeline.publish.memory import Memory
from instructlab_pipeline.publish.push import Image, Pushed, push, tag_all
from instructlab_pipeline.publish.stage import run
from instructlab_pipeline.publish.verification import verify
from instructlab_pipeline.stage import Context
from servers.certificate import authority
from servers.finished_run import finished_run, judged
from servers.flaky_proxy import CutsAfter, flaky_proxy
from servers.registry import registry
from servers.resuming_registry import resuming_registry

LOGIN = ("keeper", "mill-by-the-aller")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"), uri="", shards=1, shard_bytes=1000)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A registry of our own that can be told what to lack."""
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with resuming_registry(login=LOGIN) as server:
        server.log_in(tmp_path / "auth.json")
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.02)


def publish(inputs: PublishInputs, folder: Path, uri: str, **changes) -> dict:
    folder.mkdir(parents=True, exist_ok=True)
    context = Context(folder=folder, cache=folder / "cache", events=Events())
    return run(replace(inputs, output_oci_model_uri=uri, **changes), context)


def test_what_a_registry_lacks_is_done_without(small, odd, tmp_path):
    publish(small, tmp_path / "p", f"{odd.host}/org/first:latest")
    odd.lacks = frozenset({"HEAD", "mount"})
    odd.blobs.clear()
    facts = publish(small, tmp_path / "p", f"{odd.host}/org/second:latest")
    manifest = json.loads(odd.manifests[facts["digest"]])
    assert {layer["digest"] for layer in manifest["layers"]} <= odd.blobs.keys()


def test_a_token_service_that_refuses_other_repositories_is_asked_for_ours_alone(small, odd, tmp_path):
    publish(small, tmp_path / "p", f"{odd.host}/org/first:latest")
    odd.one_scope = True
    publish(small, tmp_path / "p", f"{odd.host}/org/second:latest")
    assert odd.scopes[-1] == "repository:org/second:pull,push"


def test_publishing_again_writes_no_tag_that_means_the_image_already(small, odd, tmp_path):
    odd.immutable = True
    facts = [publish(small, tmp_path / "p", f"{odd.host}/org/m:latest") for _ in range(2)]
    assert facts[0]["digest"] == facts[1]["digest"]


def test_an_upload_that_the_registry_forgets_is_begun_again(small, odd, tmp_path):
    """Several registries behind one address, which do not share what they have begun, do so now and then."""
    odd.forgets = 2
    facts = publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")
    assert odd.forgets == 0
    assert facts["digest"] in odd.manifests


def test_a_registry_that_stumbles_over_a_manifest_gets_it_again(small, odd, tmp_path):
    odd.stumbles = 3
    facts = publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")
    assert odd.stumbles == 0
    assert facts["digest"] in odd.manifests


def test_a_registry_that_takes_no_manifest_is_given_up_in_its_words(small, odd, tmp_path):
    odd.stumbles = 100
    with pytest.raises(ServiceError, match="status 400: DIGEST_INVALID not so"):
        publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")


def test_a_tag_that_someone_else_moves_while_it_is_read_back_is_told(small, tmp_path):
    files = layers([Entry(path="config.json", content=b"{}")])
    layout = Contested(tmp_path / "images")

    async def publishing() -> None:
        pushed = await push(Image(layers=files, annotations={}), layout, memory=Memory(tmp_path / "m"), events=Events())
        layout.theirs = pushed.manifest.replace(b"{}", b'{"a":"b"}')
        await tag_all(["latest"], pushed, layout)

    with pytest.raises(ServiceError, match=r"latest was written as sha256:.*but is sha256:") as caught:
        asyncio.run(publishing())
    assert "someone else" in caught.value.remedy


class Contested(Layout):
    """Someone else writes `theirs` under each tag right after us."""

    theirs = b""

    async def tag(self, tag: str, manifest: bytes) -> None:
        await super().tag(tag, self.theirs or manifest)


def test_blobs_go_to_another_host_where_the_registry_sends_them_but_the_token_does_not(small, odd, tmp_path):
    odd.redirects = True
    facts = publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")
    assert facts["digest"] in odd.manifests
    assert not any(line.startswith(("PATCH", "PUT /v2/org/m/blobs")) for line in odd.requests)
    assert set(odd.shown) == {None}


def test_what_is_written_goes_where_a_307_sends_it_but_the_token_does_not(small, odd, tmp_path):
    odd.moves = True
    facts = publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")
    assert facts["digest"] in odd.manifests
    assert set(odd.shown) == {None}


@pytest.mark.parametrize("way", ["redirects", "moves"])
def test_another_host_that_asks_for_the_login_is_not_shown_it(small, odd, tmp_path, way):
    setattr(odd, way, True)
    odd.asks_elsewhere = True
    with pytest.raises(ServiceError, match=r"sends us on to localhost:\d+, which refuses \(status 401\)"):
        publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")
    assert set(odd.shown) == {None}


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_status_of_success_will_do(small, odd, tmp_path, status):
    odd.says = status
    facts = publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")
    assert facts["digest"] in odd.manifests


def test_proofs_are_read_page_by_page(small, odd, tmp_path):
    odd.page = 1
    publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")
    assert verify(gather(f"{odd.host}/org/m:latest", insecure=True), None).evaluation["verdict"] == "pass"


def test_a_list_of_proofs_without_end_is_given_up(small, odd, tmp_path, monkeypatch):
    monkeypatch.setattr("instructlab_pipeline.publish.registry.MOST_PAGES", 3)
    odd.page = 1
    publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")
    with pytest.raises(ServiceError, match="has no end to an image's proofs"):
        gather(f"{odd.host}/org/m:latest", insecure=True)


def test_an_upload_goes_on_however_often_it_is_cut_as_long_as_it_gets_further(odd, tmp_path):
    large = finished_run(tmp_path / "run", uri="", shards=1)
    cuts = [CutsAfter(1 << 20)] * (2 * transport.ATTEMPTS)
    with flaky_proxy(int(odd.host.rpartition(":")[2]), cuts) as proxy:
        odd.host = proxy.host
        odd.log_in(tmp_path / "auth.json")
        facts = publish(large, tmp_path / "p", f"{proxy.host}/org/m:latest")
        assert proxy.faults == []
    assert facts["digest"] in odd.manifests


def test_a_registry_that_cannot_say_where_an_upload_stands_gets_it_from_its_start(odd, tmp_path):
    odd.lacks = frozenset({"standing"})
    large = finished_run(tmp_path / "run", uri="", shards=1)
    with flaky_proxy(int(odd.host.rpartition(":")[2]), [CutsAfter(1 << 20)] * 2) as proxy:
        odd.host = proxy.host
        odd.log_in(tmp_path / "auth.json")
        facts = publish(large, tmp_path / "p", f"{proxy.host}/org/m:latest")
        assert proxy.faults == []
    assert facts["digest"] in odd.manifests


def test_a_registry_that_does_not_know_of_the_tls_before_it_is_used_all_the_same(small, plain, tmp_path, monkeypatch):
    """It sends clients on to http:// addresses, where the proxy before it speaks TLS alone."""
    private = authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(private.bundle))
    with flaky_proxy(int(plain.host.rpartition(":")[2]), [], certificate=private.server) as proxy:
        facts = publish(small, tmp_path / "p", f"{proxy.host}/org/tls:latest", output_registry_insecure=False)
    assert facts["bytes_sent"] > 0


def test_a_file_of_authorities_that_is_not_there_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with (
        flaky_proxy(1, [], certificate=authority(tmp_path).server) as proxy,
        pytest.raises(ServiceError, match="not trusted") as caught,
    ):
        publish(small, tmp_path / "p", f"{proxy.host}/org/m:1", output_registry_insecure=False)
    assert "SSL_CERT_FILE is /nowhere/ca.pem, where no file is" in caught.value.remedy


def test_a_registry_that_speaks_tls_and_is_asked_without_says_so(small, tmp_path):
    with (
        registry(tmp_path / "registry", tls=True) as server,
        pytest.raises(ServiceError, match="speaks TLS, and was asked without"),
    ):
        publish(small, tmp_path / "p", f"{server.host}/org/m:1")


def test_what_is_no_registry_is_called_so(small, plain, tmp_path):
    """A path that the registry's own address has no `/v2/` below."""
    with resuming_registry(login=LOGIN) as server:
        server.lacks = frozenset({"/v2/"})
        with pytest.raises(ServiceError, match="is no OCI registry"):
            publish(small, tmp_path / "p", f"{server.host}/org/m:1")


def test_a_version_that_someone_else_took_meanwhile_is_not_taken_away(small, tmp_path):
    files = layers([Entry(path="config.json", content=b"{}")])
    image = Image(layers=files, annotations={}, fixed="1.0.0")
    layout = Layout(tmp_path / "images")

    async def sent(name: str) -> Pushed:
        named = replace(image, annotations={"name": name})
        return await push(named, layout, memory=Memory(tmp_path / "memory"), events=Events())

    async def both() -> tuple[Pushed, Pushed]:
        return await sent("mine"), await sent("theirs")

    mine, theirs = asyncio.run(both())
    asyncio.run(tag_all(["1.0.0"], theirs, layout, fixed="1.0.0"))
    with pytest.raises(UsageError, match=r"version 1\.0\.0 is published already.*It was sent, but got no tag"):
        asyncio.run(tag_all(["latest", "1.0.0"], mine, layout, fixed="1.0.0"))
    assert asyncio.run(layout.read("1.0.0")) == theirs.manifest
    assert asyncio.run(layout.read("latest")) is None


def test_a_verdict_edited_together_with_its_seal_opens_no_gate(small, tmp_path):
    judgement = judged(tmp_path / "eval_final", small.train_phase_2, verdict="fail")
    path = judgement / "verdict.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"verdict": "fail"', '"verdict": "pass"'))
    edited = replace(judgement, files=tuple(resealed(judgement.files, path)))
    with pytest.raises(GateError, match="is not what stage eval_final sealed"):
        publish(small, tmp_path / "p", f"oci:{tmp_path}/images:1", eval_final=edited)
    assert not (tmp_path / "images").exists()


def resealed(files, path):
    from instructlab_pipeline.artifacts import file_digest

    return [replace(file, sha256=file_digest(path), size=path.stat().st_size) for file in files]


def test_a_port_that_is_none_is_told_at_once(small, tmp_path):
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:99999 is no address of a registry"):
        publish(small, tmp_path / "p", "127.0.0.1:99999/org/m:1")


@pytest.mark.parametrize("location", ["http://[::bad/x?_state=hidden", "ftp://127.0.0.1/x?_state=hidden"])
def test_an_address_that_is_none_is_told_without_the_state_in_it(small, odd, tmp_path, location):
    odd.location = location
    with pytest.raises(ServiceError, match="sends us on to an address that is none") as caught:
        publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("answer", [{}, {"token": ""}, {"token": 7}, {"access_token": "a\r\nHost: b"}])
def test_a_token_service_that_gives_no_token_is_told(small, odd, tmp_path, answer):
    odd.token_answer = answer
    with pytest.raises(ServiceError, match="answered without a token"):
        publish(small, tmp_path / "p", f"{odd.host}/org/m:latest")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://[::secret", "http://127.0.0.1:port"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(small, tmp_path, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(UsageError, match="the variable HTTP_PROXY holds no address") as caught:
        publish(small, tmp_path / "p", "registry.example.com/org/m:1")
    assert proxy not in str(caught.value)
