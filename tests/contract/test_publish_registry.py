"""Publishing to Debian's docker-registry; what it holds is read by clients of other makers."""

import filecmp
import json
from dataclasses import replace
from pathlib import Path

import pytest

from instructlab_pipeline.errors import GateError, ServiceError, SourceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish import transport
from instructlab_pipeline.publish.stage import run
from instructlab_pipeline.stage import Context
from servers.finished_run import LARGE, finished_run, judged, with_one_shard_changed
from servers.loopback import free_port
from servers.registry import Registry, registry
from servers.registry import run as client

LOGIN = ("keeper", "mill-by-the-aller")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"), uri="")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("guarded"), login=LOGIN, tls=True) as server:
        yield server


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def logged_in(guarded, tmp_path, monkeypatch):
    """As a user would be: a login in podman's file, and the private authority trusted."""
    path = guarded.write_login(tmp_path / "auth.json", *LOGIN)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(guarded.certificate))
    return path


def context_in(folder: Path) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    return Context(folder=folder, cache=folder / "cache", events=Events(path=folder.parent / "events.jsonl"))


def published(folder: Path) -> dict:
    return json.loads((folder / "published.json").read_text())


def same_tree(left: Path, right: Path) -> bool:
    compared = filecmp.dircmp(left, right, ignore=["README.md"])
    _, different, odd = filecmp.cmpfiles(left, right, compared.common_files, shallow=False)
    alone = [name for name in compared.left_only + compared.right_only if name != "README.md"]
    return not (different or odd or alone) and all(
        same_tree(left / name, right / name) for name in compared.common_dirs
    )


def test_a_pushed_image_is_unpacked_by_others_byte_for_byte(finished, guarded, logged_in, tmp_path):
    inputs = replace(finished, output_oci_model_uri=f"{guarded.host}/org/mill:latest", output_registry_insecure=False)
    facts = run(inputs, context_in(tmp_path / "publish"))

    seen = json.loads(client("skopeo", "inspect", "--authfile", str(logged_in), f"docker://{guarded.host}/org/mill"))
    assert seen["Digest"] == facts["digest"]
    assert set(seen["RepoTags"]) == {"0.1.0", "latest", facts["digest"].replace(":", "-")}  # the last lists the proofs
    assert seen["Labels"]["org.opencontainers.image.title"] == "river-model"
    assert seen["Labels"]["ai.instructlab.pipeline.taxonomy.commit"] == "c0ffee"
    assert (seen["Architecture"], seen["Os"]) == ("amd64", "linux")

    layout = tmp_path / "layout"
    source = f"docker://{guarded.host}/org/mill:0.1.0"
    client("skopeo", "copy", "--authfile", str(logged_in), source, f"oci:{layout}:copied")
    client("umoci", "unpack", "--rootless", "--image", f"{layout}:copied", str(tmp_path / "bundle"))
    models = tmp_path / "bundle" / "rootfs" / "models"
    assert same_tree(inputs.train_phase_2 / "model", models)
    assert "river-model 0.1.0" in (models / "README.md").read_text()
    assert all(path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644) for path in models.rglob("*"))


def test_what_was_published_is_written_down_and_the_same_each_time(finished, plain, tmp_path):
    inputs = replace(finished, output_oci_model_uri=f"oci://{plain.host}/org/again:stable")
    first = run(inputs, context_in(tmp_path / "one"))
    second = run(inputs, context_in(tmp_path / "two"))
    record = published(tmp_path / "one")

    assert published(tmp_path / "two") == record
    assert record["reference"] == f"{plain.host}/org/again:stable"
    assert record["pinned"] == f"{plain.host}/org/again@{first['digest']}"
    assert record["tags"] == ["0.1.0", "stable"]
    assert [layer["files"] for layer in record["layers"]][:2] == [["shards/part-0.bin"], ["shards/part-1.bin"]]
    manifest = plain.manifest("org/again", record["digest"])
    assert [layer["digest"] for layer in manifest["layers"]] == [layer["digest"] for layer in record["layers"]]
    size = sum(layer["size"] for layer in manifest["layers"])
    assert size < record["size_bytes"] == first["size_bytes"] < size + 10_000
    assert (first["layers_sent"], second["layers_sent"], second["bytes_sent"]) == (3, 0, 0)


def test_a_version_with_one_changed_shard_sends_only_that(finished, plain, tmp_path):
    inputs = replace(finished, output_oci_model_uri=f"{plain.host}/org/next:latest")
    run(inputs, context_in(tmp_path / "old"))
    changed = replace(with_one_shard_changed(inputs, tmp_path / "run"), output_model_version="0.2.0")
    facts = run(changed, context_in(tmp_path / "new"))
    before, after = published(tmp_path / "old"), published(tmp_path / "new")
    assert before["layers"][1] == after["layers"][1]
    assert facts["layers_sent"] == 2  # the shard, and the small files, whose card names the version
    assert LARGE < facts["bytes_sent"] < LARGE + (2 << 20)


def test_an_image_that_is_there_is_not_even_read(finished, plain, tmp_path):
    inputs = replace(finished, output_oci_model_uri=f"{plain.host}/org/known:latest")
    inputs = with_one_shard_changed(inputs, tmp_path / "run")
    context = context_in(tmp_path / "publish")
    first = run(inputs, context)
    for shard in (inputs.train_phase_2 / "model" / "shards").iterdir():
        shard.unlink()
    assert run(inputs, context)["digest"] == first["digest"]


def test_a_layer_that_is_remembered_but_gone_is_checked_and_sent(finished, plain, tmp_path):
    inputs = replace(finished, output_oci_model_uri=f"oci:{tmp_path}/images:latest")
    first = run(inputs, context_in(tmp_path / "publish"))
    elsewhere = replace(inputs, output_oci_model_uri=f"{plain.host}/org/gone:latest")
    second = run(elsewhere, context_in(tmp_path / "publish"))
    assert (second["layers_sent"], second["digest"]) == (3, first["digest"])


def test_layers_that_another_repository_of_the_registry_has_are_mounted_and_not_sent(finished, plain, tmp_path):
    inputs = replace(finished, output_oci_model_uri=f"{plain.host}/org/staging:latest")
    first = run(inputs, context_in(tmp_path / "publish"))
    elsewhere = replace(inputs, output_oci_model_uri=f"{plain.host}/org/production:latest")
    second = run(elsewhere, context_in(tmp_path / "publish"))
    assert (second["layers_sent"], second["digest"]) == (0, first["digest"])
    assert second["bytes_sent"] < 10_000  # the configuration


def test_the_published_folder_loads_in_transformers(finished, plain, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run(replace(finished, output_oci_model_uri=f"{plain.host}/org/loads:1"), context_in(tmp_path / "publish"))
    source, layout = f"docker://{plain.host}/org/loads:1", tmp_path / "layout"
    client("skopeo", "copy", "--src-tls-verify=false", source, f"oci:{layout}:1")
    client("umoci", "unpack", "--rootless", "--image", f"{layout}:1", str(tmp_path / "bundle"))
    models = tmp_path / "bundle" / "rootfs" / "models"
    assert AutoTokenizer.from_pretrained(models)("moon")["input_ids"]
    assert AutoModelForCausalLM.from_pretrained(models).num_parameters() > 10_000


def test_progress_counts_every_byte(finished, plain, tmp_path):
    run(replace(finished, output_oci_model_uri=f"{plain.host}/org/progress:1"), context_in(tmp_path / "publish"))
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert events[-1]["name"] == "publish"
    assert events[-1]["done"] == events[-1]["total"] > 2 * LARGE


def test_a_wrong_password_names_the_registry_and_the_file_and_no_secret(
    finished, guarded, logged_in, impatient, tmp_path
):
    guarded.write_login(logged_in, "keeper", "wrong-secret")
    inputs = replace(finished, output_oci_model_uri=f"{guarded.host}/org/m:1", output_registry_insecure=False)
    with pytest.raises(ServiceError) as caught:
        run(inputs, context_in(tmp_path / "publish"))
    told = f"{caught.value} {caught.value.remedy}"
    assert guarded.host in told
    assert str(logged_in) in told
    assert "'keeper'" in told
    assert "wrong-secret" not in told


def test_no_login_at_all_lists_where_it_was_looked_for(finished, guarded, tmp_path, monkeypatch, impatient):
    monkeypatch.setenv("SSL_CERT_FILE", str(guarded.certificate))
    for name in ("HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    inputs = replace(finished, output_oci_model_uri=f"{guarded.host}/org/m:1", output_registry_insecure=False)
    with pytest.raises(ServiceError, match="No login for it") as caught:
        run(inputs, context_in(tmp_path / "publish"))
    for place in ("XDG_RUNTIME_DIR/containers/auth.json", "HOME/.config/containers/auth.json", ".docker/config.json"):
        assert place in caught.value.message
    assert f"podman login {guarded.host}" in caught.value.remedy


def test_plain_http_is_refused_unless_asked_for(finished, plain, tmp_path, impatient):
    inputs = replace(finished, output_oci_model_uri=f"{plain.host}/org/m:1", output_registry_insecure=False)
    with pytest.raises(ServiceError, match="does not speak TLS") as caught:
        run(inputs, context_in(tmp_path / "publish"))
    assert "output_registry_insecure=true" in caught.value.remedy


def test_an_unknown_authority_is_refused_and_how_to_trust_it_is_said(finished, guarded, tmp_path, impatient):
    inputs = replace(finished, output_oci_model_uri=f"{guarded.host}/org/m:1", output_registry_insecure=False)
    with pytest.raises(ServiceError, match="not trusted") as caught:
        run(inputs, context_in(tmp_path / "publish"))
    assert "SSL_CERT_FILE" in caught.value.remedy


def test_a_registry_that_is_not_there_is_named(finished, tmp_path, impatient):
    host = f"127.0.0.1:{free_port()}"
    with pytest.raises(ServiceError, match=rf"{host} cannot be used: .*refused.* \(tried 6 times\)"):
        run(replace(finished, output_oci_model_uri=f"{host}/org/m:1"), context_in(tmp_path / "publish"))


def test_a_failed_verdict_sends_nothing(finished, plain, tmp_path):
    failed = judged(tmp_path / "eval_final", finished.train_phase_2, verdict="fail")
    inputs = replace(finished, output_oci_model_uri=f"{plain.host}/org/failed:1", eval_final=failed)
    with pytest.raises(GateError, match=r"accuracy is 0\.900"):
        run(inputs, context_in(tmp_path / "publish"))
    assert not any("org/failed" in request for request in plain.requests())


def test_a_verdict_that_was_edited_by_hand_sends_nothing(finished, plain, tmp_path):
    failed = judged(tmp_path / "eval_final", finished.train_phase_2, verdict="fail")
    record = failed / "verdict.json"
    record.chmod(0o644)
    record.write_text(record.read_text().replace('"verdict": "fail"', '"verdict": "pass"'))
    inputs = replace(finished, output_oci_model_uri=f"{plain.host}/org/edited:1", eval_final=failed)
    with pytest.raises(GateError, match=r"verdict\.json is not what stage eval_final sealed"):
        run(inputs, context_in(tmp_path / "publish"))
    assert not any("org/edited" in request for request in plain.requests())


def test_a_version_is_not_published_again_with_another_model_unless_asked(finished, plain, tmp_path):
    inputs = replace(finished, output_oci_model_uri=f"{plain.host}/org/fixed:latest")
    first = run(inputs, context_in(tmp_path / "old"))
    changed = with_one_shard_changed(inputs, tmp_path / "run")
    before = len(plain.requests())
    with pytest.raises(UsageError, match=r"version 0\.1\.0 is published already") as caught:
        run(changed, context_in(tmp_path / "new"))
    assert "output_overwrite_version=true" in caught.value.remedy
    assert all(line.startswith("GET") for line in plain.requests()[before:])
    assert digest_of_tag(plain, "org/fixed", "latest") == first["digest"]

    second = run(replace(changed, output_overwrite_version=True), context_in(tmp_path / "asked"))
    assert digest_of_tag(plain, "org/fixed", "0.1.0") == second["digest"] != first["digest"]


def digest_of_tag(server: Registry, repository: str, tag: str) -> str:
    return json.loads(client("skopeo", "inspect", "--tls-verify=false", f"docker://{server.host}/{repository}:{tag}"))[
        "Digest"
    ]


def test_a_verdict_on_other_weights_sends_nothing(finished, plain, tmp_path):
    changed = with_one_shard_changed(finished, tmp_path / "run")
    inputs = replace(finished, output_oci_model_uri=f"{plain.host}/org/other:1", train_phase_2=changed.train_phase_2)
    with pytest.raises(GateError, match="another model"):
        run(inputs, context_in(tmp_path / "publish"))
    assert not any("org/other" in request for request in plain.requests())


def test_a_file_changed_behind_its_seal_is_never_tagged(finished, plain, tmp_path):
    inputs = with_one_shard_changed(finished, tmp_path / "run")
    shard = inputs.train_phase_2 / "model" / "shards" / "part-1.bin"
    shard.chmod(0o644)
    with shard.open("r+b") as file:
        file.write(b"other")
    with pytest.raises(SourceError, match=r"part-1\.bin was changed"):
        run(replace(inputs, output_oci_model_uri=f"{plain.host}/org/cheat:1"), context_in(tmp_path / "publish"))
    assert not any("PUT" in request and "org/cheat/manifests" in request for request in plain.requests())
