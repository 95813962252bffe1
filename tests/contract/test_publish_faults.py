"""Publishing through cut connections, busy answers and kills: the image arrives whole, or the error says why not."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish import transport
from instructlab_pipeline.publish.stage import run
from instructlab_pipeline.stage import Context
from servers.finished_run import LARGE, finished_run
from servers.flaky_proxy import Answers, CutsAfter, DamagesAfter, StallsAfter, flaky_proxy
from servers.registry import OWN_MOUNTS, registry
from servers.registry import run as client
from servers.resuming_registry import resuming_registry
from servers.token_service import token_service

LOGIN = ("keeper", "mill-by-the-aller")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"), uri="")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.02)


def context_in(folder: Path) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    return Context(folder=folder, cache=folder / "cache", events=Events(path=folder.parent / "events.jsonl"))


def port_of(host: str) -> int:
    return int(host.rpartition(":")[2])


def is_whole(host: str, repository: str, digest: str, folder: Path) -> bool:
    """Every blob comes out of the registry with its digest: skopeo checks each."""
    source = f"docker://{host}/{repository}:latest"
    client("skopeo", "copy", "--preserve-digests", "--src-tls-verify=false", source, f"oci:{folder}:copy")
    return json.loads(client("skopeo", "inspect", f"oci:{folder}:copy"))["Digest"] == digest


@pytest.mark.parametrize(
    "faults",
    [
        [CutsAfter(5 << 20)],
        [CutsAfter(9 << 20), CutsAfter(3 << 20), CutsAfter(1000)],
        [Answers(500), Answers(503)],
        [Answers(429, "Retry-After: 0\r\n"), Answers(502), CutsAfter(12 << 20)],
    ],
)
def test_an_image_arrives_whole_through_a_bad_network(finished, server, tmp_path, faults):
    repository = f"org/bad-{tmp_path.name.lower().replace('_', '-')}"
    with flaky_proxy(port_of(server.host), faults) as proxy:
        inputs = replace(finished, output_oci_model_uri=f"{proxy.host}/{repository}:latest")
        facts = run(inputs, context_in(tmp_path / "publish"))
        assert proxy.faults == []
    assert is_whole(server.host, repository, facts["digest"], tmp_path / "layout")


def test_a_registry_that_cannot_go_on_gets_the_one_layer_again(finished, server, tmp_path):
    """docker-registry 2.8 gives up an upload that broke; the other layers are not sent twice."""
    with flaky_proxy(port_of(server.host), [CutsAfter(12 << 20)]) as proxy:
        inputs = replace(finished, output_oci_model_uri=f"{proxy.host}/org/again:latest")
        facts = run(inputs, context_in(tmp_path / "publish"))
    assert 0 < facts["bytes_sent"] - facts["size_bytes"] < LARGE + 10_000


@pytest.mark.parametrize("remembered", [False, True])
def test_a_layer_that_arrived_damaged_is_sent_again_from_its_start(finished, server, tmp_path, remembered):
    """The registry refuses it by its digest, on an upload that never broke."""
    context = context_in(tmp_path / "publish")
    if remembered:
        run(replace(finished, output_oci_model_uri=f"oci:{tmp_path / 'before'}:latest"), context)
    repository = f"org/damaged-{remembered}".lower()
    with flaky_proxy(port_of(server.host), [DamagesAfter(6 << 20)]) as proxy:
        facts = run(replace(finished, output_oci_model_uri=f"{proxy.host}/{repository}:latest"), context)
        assert proxy.faults == []
    assert LARGE <= facts["bytes_sent"] - facts["size_bytes"] < LARGE + 20_000
    assert is_whole(server.host, repository, facts["digest"], tmp_path / "layout")


def test_a_file_that_changed_after_it_was_sealed_is_found_though_its_digest_is_remembered(server, tmp_path):
    context = context_in(tmp_path / "publish")
    inputs = finished_run(tmp_path / "run", uri=f"oci:{tmp_path / 'before'}:latest")
    run(inputs, context)
    shard = next(file for file in inputs.train_phase_2.files if file.size >= LARGE)
    path = inputs.train_phase_2 / shard.path
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"changed")
    for uri in (f"{server.host}/org/changed:latest", f"oci:{tmp_path / 'after'}:latest"):
        with pytest.raises(SourceError, match=f"{shard.path} was changed after it was sealed"):
            run(replace(inputs, output_oci_model_uri=uri), context)
    assert not any("PUT /v2/org/changed/manifests" in line for line in server.requests())


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize(("left_bytes", "complaint"), [(None, "No such file"), (1 << 20, "was changed after")])
def test_a_file_that_is_gone_or_cut_is_named_and_not_the_registry(server, tmp_path, remembered, left_bytes, complaint):
    context = context_in(tmp_path / "publish")
    inputs = finished_run(tmp_path / "run", uri=f"oci:{tmp_path / 'before'}:latest", shards=1)
    if remembered:
        run(inputs, context)
    path = inputs.train_phase_2 / "model" / "shards" / "part-0.bin"
    path.chmod(0o644)
    if left_bytes is None:
        path.unlink()
    else:
        os.truncate(path, left_bytes)
    for uri in (f"{server.host}/org/gone:latest", f"oci:{tmp_path / 'after'}:latest"):
        with pytest.raises(SourceError, match=complaint) as caught:
            run(replace(inputs, output_oci_model_uri=uri), context)
        assert str(path) in caught.value.message


@pytest.fixture
def tokens(tmp_path, monkeypatch):
    """A registry that asks for bearer tokens."""
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with resuming_registry(login=LOGIN) as server:
        yield server


def log_in(host: str, folder: Path, login: tuple[str, str]) -> None:
    auth = base64.b64encode(":".join(login).encode()).decode()
    (folder / "auth.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def test_a_cut_upload_goes_on_where_the_registry_says_it_stands(finished, tokens, tmp_path):
    with flaky_proxy(port_of(tokens.host), [CutsAfter(14 << 20), CutsAfter(2 << 20)]) as proxy:
        log_in(proxy.host, tmp_path, LOGIN)
        inputs = replace(finished, output_oci_model_uri=f"{proxy.host}/org/goes-on:latest")
        facts = run(inputs, context_in(tmp_path / "publish"))
    manifest = json.loads(tokens.manifests[facts["digest"]])
    assert {layer["digest"] for layer in manifest["layers"]} <= tokens.blobs.keys()
    sent = Counter(line.split()[0] for line in tokens.requests)
    assert sent["POST"] == 3 + 1 + 5  # layers, configuration, and what proofs consist of: none was begun again
    assert sent["PATCH"] == sent["POST"] + 2


def test_tokens_are_fetched_for_this_repository_and_anew_when_they_expire(finished, tokens, tmp_path):
    log_in(tokens.host, tmp_path, LOGIN)
    tokens.token_requests = 7
    run(replace(finished, output_oci_model_uri=f"{tokens.host}/org/m:latest"), context_in(tmp_path / "publish"))
    assert len(tokens.scopes) > 2
    assert set(tokens.scopes) == {"repository:org/m:pull,push"}
    assert set(tokens.manifests) >= {"latest", "0.1.0"}


def test_an_identity_token_is_exchanged_for_one_that_opens_the_repository(finished, tokens, tmp_path):
    """What `docker login` leaves for registries that hand out such tokens."""
    nobody = base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode()
    entry = {"auth": nobody, "identitytoken": tokens.identity_token}
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {tokens.host: entry}}))
    run(replace(finished, output_oci_model_uri=f"{tokens.host}/org/m:latest"), context_in(tmp_path / "publish"))
    assert set(tokens.scopes) == {"repository:org/m:pull,push"}
    assert "latest" in tokens.manifests


def test_an_identity_token_that_is_no_good_is_never_shown(finished, tokens, tmp_path):
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {tokens.host: {"identitytoken": "expired-secret"}}}))
    with pytest.raises(ServiceError, match="status 401: UNAUTHORIZED") as caught:
        run(replace(finished, output_oci_model_uri=f"{tokens.host}/org/m:latest"), context_in(tmp_path / "publish"))
    assert "expired-secret" not in str(caught.value)


def test_debians_registry_takes_the_tokens_and_a_reader_is_told_that_she_may_not_write(finished, tmp_path, monkeypatch):
    users = {"keeper": ("mill", ["pull", "push"]), "reader": ("aller", ["pull"])}
    with (
        token_service(tmp_path / "tokens", users) as tokens,
        registry(tmp_path / "registry", auth=tokens.registry_auth) as server,
    ):
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))  # the server itself reads REGISTRY_...
        inputs = replace(finished, output_oci_model_uri=f"{server.host}/org/m:latest")
        log_in(server.host, tmp_path, ("reader", "aller"))
        with pytest.raises(ServiceError, match=r"'reader' from .*auth.json .*may not write org/m") as caught:
            run(inputs, context_in(tmp_path / "reader"))
        assert "someone who may write org/m" in caught.value.remedy
        assert not list(server.storage.rglob("link"))
        log_in(server.host, tmp_path, ("keeper", "mill"))
        assert run(inputs, context_in(tmp_path / "keeper"))["bytes_sent"] > LARGE


def test_a_token_service_that_refuses_the_login_is_quoted(finished, tokens, tmp_path):
    log_in(tokens.host, tmp_path, ("keeper", "wrong-secret"))
    with pytest.raises(ServiceError, match=r"status 401: UNAUTHORIZED who\?.*'keeper'") as caught:
        run(replace(finished, output_oci_model_uri=f"{tokens.host}/org/m:latest"), context_in(tmp_path / "publish"))
    assert "wrong-secret" not in str(caught.value)


def test_a_connection_that_stalls_is_given_up_for_another(finished, server, tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "SILENCE_S", 2.0)
    with flaky_proxy(port_of(server.host), [StallsAfter(12 << 20)]) as proxy:
        inputs = replace(finished, output_oci_model_uri=f"{proxy.host}/org/stalls:latest")
        facts = run(inputs, context_in(tmp_path / "publish"))
        assert proxy.faults == []
    assert is_whole(server.host, "org/stalls", facts["digest"], tmp_path / "layout")


def test_a_registry_that_stays_busy_is_given_up_with_its_status(finished, server, tmp_path):
    with flaky_proxy(port_of(server.host), [Answers(503)] * 20) as proxy:
        inputs = replace(finished, output_oci_model_uri=f"{proxy.host}/org/busy:latest")
        with pytest.raises(ServiceError, match=r"cannot be used: status 503 \(tried 6 times\)"):
            run(inputs, context_in(tmp_path / "publish"))
        assert proxy.connections == 6


def test_a_registry_that_cannot_write_is_named_and_nothing_is_tagged(finished, tmp_path):
    with registry(tmp_path / "registry") as server:
        block(server.storage)
        inputs = replace(finished, output_oci_model_uri=f"{server.host}/org/full:latest")
        with pytest.raises(ServiceError, match=server.host):
            run(inputs, context_in(tmp_path / "publish"))
        assert not any("PUT" in line and "/manifests/" in line for line in server.requests())


def test_a_registry_whose_disk_is_full_says_so_and_has_no_tag(finished, tmp_path):
    if subprocess.run([*OWN_MOUNTS, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    with registry(tmp_path / "registry", disk_bytes=LARGE + (4 << 20)) as server:
        inputs = replace(finished, output_oci_model_uri=f"{server.host}/org/full:latest")
        with pytest.raises(ServiceError, match=f"{server.host} has no room for org/full") as caught:
            run(inputs, context_in(tmp_path / "publish"))
        assert "have the quota raised" in caught.value.remedy
        assert not any("PUT" in line and "/manifests/" in line for line in server.requests())


def block(storage: Path) -> None:
    """No upload can begin: a file stands where their folder would be. (To root no folder is read-only.)"""
    uploads = storage / "docker" / "registry" / "v2" / "repositories" / "org"
    uploads.parent.mkdir(parents=True, exist_ok=True)
    uploads.write_text("in the way")


def test_a_killed_push_is_finished_by_the_next_one(finished, server, tmp_path):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from servers.finished_run import finished_run
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish.stage import run
from instructlab_pipeline.stage import Context
folder = Path(sys.argv[2])
inputs = finished_run(folder / "run", uri=sys.argv[3])
run(inputs, Context(folder=folder, cache=folder, events=Events()))
"""
    with flaky_proxy(port_of(server.host), [StallsAfter(12 << 20)]) as proxy:  # it cannot end before it is killed
        argv = [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(tmp_path / "other")]
        pusher = subprocess.Popen([*argv, f"{proxy.host}/org/killed:latest"], start_new_session=True)
        while proxy.faults:
            assert pusher.poll() is None
            time.sleep(0.01)
        os.kill(pusher.pid, signal.SIGKILL)
        assert pusher.wait() == -signal.SIGKILL

    uri = f"{server.host}/org/killed:latest"
    facts = run(replace(finished, output_oci_model_uri=uri), context_in(tmp_path / "publish"))
    assert is_whole(server.host, "org/killed", facts["digest"], tmp_path / "layout")
