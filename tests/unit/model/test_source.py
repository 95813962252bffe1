import os
from pathlib import Path

import pytest

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.model.folder import FolderSource, folder_of
from instructlab_pipeline.model.source import Entry, listing_digest, wanted


def entries(*names):
    return [Entry(name=name, size=1, version="v") for name in names]


def test_only_files_that_a_model_needs_are_wanted():
    needed = ["a.json", "model.safetensors", "sub/b.json", "tokenizer.model"]
    other = [".gitattributes", ".cache/x", "modeling.py", "original/consolidated.pth", "pytorch_model.bin"]
    again = ["consolidated.safetensors", "onnx/model.onnx_data", "onnx/model.safetensors", "model-Q4_K_M.gguf"]
    listed = entries(*other, *again, *needed)
    assert [entry.name for entry in wanted("s3://b", listed)] == needed


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "a/../../b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name):
    with pytest.raises(SourceError, match="leads out"):
        wanted("s3://b", entries(name))


def test_the_digest_of_a_listing_follows_the_versions():
    first = listing_digest(entries("a", "b"))
    assert first == listing_digest(entries("a", "b"))
    assert first != listing_digest([*entries("a"), Entry(name="b", size=1, version="w")])


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:/models/tiny", Path("/models/tiny")),
        ("file:///models/a%20b", Path("/models/a b")),
        ("file:models/tiny", Path.cwd() / "models/tiny"),
        ("file:/models/what?/number#1", Path("/models/what?/number#1")),
        ("file://localhost/models/tiny", Path("/models/tiny")),
        ("file:./models/tiny/", Path.cwd() / "models/tiny"),
    ],
)
def test_a_file_uri_is_a_path(uri, path):
    assert folder_of(uri) == path


def test_a_tilde_is_the_home_of_whoever_asks():
    assert folder_of("file:~/tiny") == Path.home() / "tiny"


def test_a_file_uri_of_another_machine_is_refused():
    with pytest.raises(SourceError, match="server"):
        folder_of("file://server/models")


def test_a_name_that_is_not_utf_8_is_told(tmp_path):
    (tmp_path / "ünï.json").write_text("{}")
    source = FolderSource(f"file:{tmp_path}")
    assert [entry.name for entry in source.listing()] == ["ünï.json"]
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.json")).write_text("{}")
    with pytest.raises(SourceError, match="which is not UTF-8"):
        source.listing()
