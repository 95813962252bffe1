"""A base model from a server that speaks the Hub's API, through the Hub's own library."""

import json

import pytest
from aiohttp import web
from huggingface_hub import constants

from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.stage import ModelInputs, fingerprint, run
from instructlab_pipeline.stage import Context
from servers.http_api import HttpApi
from servers.hub_server import REVISIONS, hub_server
from servers.loopback import free_port
from servers.tiny_model import write_tiny_model

URI = "hf://org/tiny@main"


@pytest.fixture
def tiny(tmp_path):
    folder = write_tiny_model(tmp_path / "tiny")
    (folder / "README.md").write_text("# A model\n")
    return folder


@pytest.fixture
def hub(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # read from the environment when first imported
    with hub_server({"org/tiny": tiny}, token="hf_s3cret") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_s3cret\n")
        yield hub


@pytest.fixture
def perform(tmp_path):
    """Run the stage in a folder of its own; the folder, and how many bytes progress was told of."""

    def perform(uri=URI, name="run"):
        heard = []
        folder = tmp_path / name
        folder.mkdir()
        run(
            ModelInputs(sdg_base_model=uri),
            Context(folder=folder, cache=tmp_path / "cache", events=Events(listeners=[heard.append])),
        )
        return folder, max((event["done"] for event in heard if event["event"] == "progress"), default=0)

    return perform


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_on_the_hub_arrives_whole_and_once(hub, tiny, perform, tmp_path):
    folder, num_bytes = perform()
    assert contents(folder / "files") == contents(tiny)
    assert num_bytes == sum(map(len, contents(tiny).values()))
    hub.requests.clear()
    again, num_bytes = perform(name="again")
    assert (contents(again / "files"), num_bytes) == (contents(tiny), 0)
    assert not [request for request in hub.requests if "/resolve/" in request]
    assert not any(b"s3cret" in data for data in contents(tmp_path / "cache").values())


def test_a_changed_model_under_the_same_revision_is_noticed(hub, tiny, perform):
    before = fingerprint(URI)
    revisions = (f"hf://org/tiny@{revision}" for revision in (*REVISIONS, hub.commit("org/tiny")))
    assert {fingerprint(uri) for uri in ("hf://org/tiny", *revisions)} == {before}
    perform()
    settings = json.loads((tiny / "generation_config.json").read_text()) | {"do_sample": True}
    (tiny / "generation_config.json").write_text(json.dumps(settings))
    assert fingerprint(URI) != before
    folder, _ = perform(name="again")
    assert json.loads((folder / "files/generation_config.json").read_text()) == settings


def test_a_file_that_broke_off_is_asked_for_again(hub, tiny, perform):
    size = (tiny / "model.safetensors").stat().st_size
    hub.cut_after = [size // 3, size // 3]
    folder, num_bytes = perform()
    assert contents(folder / "files") == contents(tiny)
    assert (hub.cut_after, num_bytes) == ([], sum(map(len, contents(tiny).values())))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("hf://org/nothing@main", "is not there, or may not be read"),
        ("hf://org/tiny@nothing", "org/tiny has no branch, tag or commit nothing"),
        ("hf://tiny", "names no model of the Hub"),
        ("hf://org/a--b", "names no model of the Hub: Cannot have -- or"),
        ("hf://org/tiny@../../x y", "names no model of the Hub"),
    ],
)
def test_what_is_not_there_is_told(hub, perform, uri, message):
    with pytest.raises(SourceError, match=message):
        perform(uri)


def test_a_wrong_token_is_told_and_not_shown(hub, perform, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wr0ng")
    with pytest.raises(SourceError, match="may not be read") as refusal:
        perform()
    assert "HF_TOKEN" in refusal.value.remedy
    assert "wr0ng" not in str(refusal.value)


def test_a_login_of_the_hub_s_own_tools_is_used(hub, perform, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("hf_s3cret\n")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SourceError, match="may not be read") as refusal:
        perform()
    assert "hf auth login" in refusal.value.remedy
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))  # of HF_HOME, when first imported
    perform(name="again")


def test_a_hub_that_must_not_be_asked_is_told(hub, perform, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE is set") as refusal:
        perform()
    assert "file:PATH" in refusal.value.remedy


def test_a_licence_that_was_not_accepted_is_told(hub, perform):
    hub.gated = True
    with pytest.raises(SourceError, match=r"may not be read \(403\)") as refusal:
        perform()
    assert "accept its licence" in refusal.value.remedy


def test_a_hub_that_is_gone_is_a_service_error(hub, perform, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServiceError, match="could not be fetched") as refusal:
        perform()
    assert "HF_ENDPOINT" in refusal.value.remedy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<html>Welcome</html>", "answers, but not as the Hub does"),
        ("{}", "answers, but not as the Hub does"),
        ('{"id": "org/tiny", "siblings": [{"rfilename": "config.json"}]}', "does not tell how large files are"),
    ],
)
def test_a_mirror_that_does_not_answer_as_the_hub_is_told(hub, perform, monkeypatch, text, words):
    with Mirror(text) as mirror:
        monkeypatch.setenv("HF_ENDPOINT", mirror.url)
        with pytest.raises(SourceError, match=words) as refusal:
            perform()
    assert "HF_ENDPOINT" in refusal.value.remedy


class Mirror(HttpApi):
    """Says the same, whatever it is asked."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def routes(self):
        async def page(_request):
            return web.Response(text=self.text)

        return [web.get("/{path:.*}", page)]

    async def stopped(self, _request):
        return None
