"""The model stage against a real S3 server and real folders."""

import json
import shutil
from urllib.parse import urlsplit

import pytest

from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.cache import fetched
from instructlab_pipeline.model.s3 import BucketSource
from instructlab_pipeline.model.source import wanted
from instructlab_pipeline.model.stage import ModelInputs, fingerprint, run
from instructlab_pipeline.pipeline import STAGES
from instructlab_pipeline.stage import Context
from servers.flaky_proxy import StallsAnswerAfter, flaky_proxy
from servers.loopback import free_port
from servers.s3_server import s3_server
from servers.tiny_model import write_tiny_model

URI = "s3://models/base/tiny"
ANSWER_HEADS = 20_000  # bytes, of all that is listed and fetched, at most


@pytest.fixture(scope="module")
def server():
    with s3_server() as server:
        server.create_bucket("models")
        yield server


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def s3(server, tiny, monkeypatch):
    server.upload("models", "base/tiny", tiny)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def heard():
    return []


@pytest.fixture
def context(tmp_path, heard):
    folder = tmp_path / "run" / "model"
    folder.mkdir(parents=True)
    return Context(folder=folder, cache=tmp_path / "cache", events=Events(listeners=[heard.append]))


def bytes_fetched(heard):
    return max((event["done"] for event in heard if event["event"] == "progress"), default=0)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_in_a_bucket_arrives_whole(s3, tiny, context, heard):
    facts = run(ModelInputs(sdg_base_model=URI), context)
    assert contents(context.folder / "files") == contents(tiny)
    assert facts == json.loads((context.folder / "model.json").read_text())
    assert facts["uri"] == URI
    assert facts["architecture"] == "LlamaForCausalLM"
    assert bytes_fetched(heard) == facts["size_bytes"] == sum(path.stat().st_size for path in tiny.iterdir())


def test_tensors_for_which_training_has_no_use_are_told(tiny, tmp_path, context, heard):
    folder = shutil.copytree(tiny, tmp_path / "two layers")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    run(ModelInputs(sdg_base_model=f"file:{folder}"), context)
    (notice,) = [event["message"] for event in heard if event.get("name") == "notice"]
    assert "model.layers.1.input_layernorm.weight and 8 more" in notice


def test_the_pipeline_refuses_a_family_that_it_cannot_train_before_all_else(tiny, tmp_path, context):
    folder = shutil.copytree(tiny, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(SourceError, match="model_type 'gpt2'; training has been proven on gemma, "):
        STAGES[0].run(ModelInputs(sdg_base_model=f"file:{folder}"), context)


def test_what_cannot_be_trained_is_refused_while_its_weights_are_on_their_way(s3, tiny, tmp_path, context, monkeypatch):
    """They never arrive here: the first connection that has brought more than all the rest stalls."""
    folder = shutil.copytree(tiny, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "lama"}))
    s3.upload("models", "base/other", folder)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    rest = sum(sizes.values()) - sizes["model.safetensors"] + ANSWER_HEADS
    assert sizes["model.safetensors"] > rest
    with flaky_proxy(urlsplit(s3.endpoint).port, [StallsAnswerAfter(rest)]) as proxy:
        monkeypatch.setenv("AWS_S3_ENDPOINT", f"http://{proxy.host}")
        with pytest.raises(SourceError, match="model_type 'lama', which transformers does not know"):
            run(ModelInputs(sdg_base_model="s3://models/base/other"), context)
    assert not list(context.cache.glob("models/*/model.safetensors"))


def test_an_unchanged_object_costs_no_download(s3, context, tmp_path, heard):
    run(ModelInputs(sdg_base_model=URI), context)
    heard.clear()
    again = Context(folder=tmp_path / "second", cache=context.cache, events=context.events)
    run(ModelInputs(sdg_base_model=URI), again)
    assert bytes_fetched(heard) == 0
    assert contents(again.folder) == contents(context.folder)


def test_a_changed_object_under_the_same_uri_is_noticed(s3, tiny, context, tmp_path):
    run(ModelInputs(sdg_base_model=URI), context)
    before = fingerprint(URI)
    assert fingerprint(URI) == before
    settings = json.loads((tiny / "generation_config.json").read_text()) | {"do_sample": True}
    s3.put("models", "base/tiny/generation_config.json", json.dumps(settings).encode())
    assert fingerprint(URI) != before
    again = Context(folder=tmp_path / "second", cache=context.cache, events=context.events)
    run(ModelInputs(sdg_base_model=URI), again)
    assert json.loads((again.folder / "files/generation_config.json").read_text()) == settings


def test_a_part_with_other_bytes_is_never_taken_for_whole(s3, tiny, context):
    source = BucketSource(URI)
    entries = wanted(URI, source.listing())
    folder = fetched(source, entries, context.cache / "models", Events())
    size = (folder / "config.json").stat().st_size
    (folder / "config.json").unlink()
    for name, data in (("files", b"[" * size), ("notes", f"0 {size}\n".encode())):
        (folder / ".work" / name).mkdir(parents=True)
        (folder / ".work" / name / "config.json").write_bytes(data)
    with pytest.raises(ServiceError, match=r"config\.json: the bytes that arrived do not match its digest"):
        fetched(source, entries, context.cache / "models", Events())
    fetched(source, entries, context.cache / "models", Events())
    assert contents(folder) == contents(tiny)


def test_an_object_that_changes_between_listing_and_reading_is_noticed(s3, context):
    source = BucketSource(URI)
    entries = wanted(URI, source.listing())
    s3.put("models", "base/tiny/config.json", b"{}")
    with pytest.raises(ServiceError, match="changed while it was being read"):
        fetched(source, entries, context.cache / "models", Events())


def test_folder_markers_and_other_formats_stay_behind(s3, tiny, context):
    s3.put("models", "marked/", b"")
    s3.put("models", "marked/original/", b"")
    s3.put("models", "marked/original/notes.txt", b"kept")
    s3.put("models", "marked/pytorch_model.bin", b"pickle")
    s3.upload("models", "marked", tiny)
    run(ModelInputs(sdg_base_model="s3://models/marked/"), context)
    assert contents(context.folder / "files") == {**contents(tiny), "original/notes.txt": b"kept"}


def test_wrong_keys_are_told_apart_from_a_missing_bucket(s3, context, monkeypatch):
    with pytest.raises(SourceError, match=r"there is no such bucket .*404 NoSuchBucket"):
        run(ModelInputs(sdg_base_model="s3://elsewhere/tiny"), context)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-one")
    with pytest.raises(SourceError, match=r"cannot be read with these keys .*403 SignatureDoesNotMatch") as refusal:
        run(ModelInputs(sdg_base_model=URI), context)
    assert "not-the-one" not in str(refusal.value)


def test_no_keys_at_all_are_told(s3, context, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SourceError, match=r"cannot be read without keys") as refusal:
        run(ModelInputs(sdg_base_model=URI), context)
    assert "AWS_ACCESS_KEY_ID" in refusal.value.remedy


def test_a_prefix_that_holds_nothing_is_told(s3, context):
    with pytest.raises(SourceError, match="has nothing below 'base/tin'"):
        run(ModelInputs(sdg_base_model="s3://models/base/tin"), context)


def test_an_endpoint_that_is_gone_is_a_service_error(s3, context, monkeypatch):
    monkeypatch.setenv("AWS_S3_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServiceError, match="Connection refused"):
        run(ModelInputs(sdg_base_model=URI), context)


def test_pickled_weights_are_refused_before_anything_is_fetched(s3, tiny, context, heard):
    s3.upload("models", "pickled", tiny)
    s3.delete("models", "pickled/model.safetensors")
    s3.put("models", "pickled/pytorch_model.bin", b"pickle")
    with pytest.raises(SourceError, match=r"s3://models/pickled: model\.safetensors is missing"):
        run(ModelInputs(sdg_base_model="s3://models/pickled"), context)
    assert bytes_fetched(heard) == 0


def test_a_model_in_a_folder_is_copied_and_left_as_it_was(tiny, context, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    uri = f"file:{tiny.name}"
    facts = run(ModelInputs(sdg_base_model=uri), context)
    assert facts["uri"] == uri
    assert contents(context.folder / "files") == contents(tiny)
    (context.folder / "files/config.json").chmod(0o444)
    assert (tiny / "config.json").stat().st_mode & 0o200


def test_a_changed_file_in_a_folder_is_noticed(tmp_path):
    folder = write_tiny_model(tmp_path / "mine")
    before = fingerprint(f"file:{folder}")
    assert fingerprint(f"file:{folder}") == before
    (folder / "config.json").write_text("{}")
    assert fingerprint(f"file:{folder}") != before


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SourceError, match=r"there is no folder"):
        fingerprint(f"file:{tmp_path}/absent")


def test_an_unknown_scheme_is_told():
    with pytest.raises(SourceError, match="gopher://models"):
        fingerprint("gopher://models/tiny")
