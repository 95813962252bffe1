import json

import pytest

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.model.check import read_config
from instructlab_pipeline.model.rehearsal import rehearse
from servers.tiny_model import write_tiny_model

URI = "s3://models/tiny"


@pytest.fixture
def folder(tmp_path):
    return write_tiny_model(tmp_path / "tiny")


def test_a_model_whose_files_belong_together_passes(folder):
    rehearse(URI, folder, read_config(folder))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for message in messages %}", "laying out a chat"),
        ("{{ raise_exception('no such role') }}", "no such role"),
        ("", "leaves out what was said"),
        ("{% for message in messages %}{{ message['role'] }}{% endfor %}", "leaves out what was said"),
    ],
)
def test_a_chat_template_that_fails_is_told(folder, template, words):
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(SourceError, match=words) as refusal:
        rehearse(URI, folder, read_config(folder))
    assert URI in refusal.value.message


def test_a_tokenizer_that_does_not_load_is_told(folder):
    (folder / "tokenizer.json").write_text('{"model": {}}')
    with pytest.raises(SourceError, match="loading the tokenizer of s3://models/tiny"):
        rehearse(URI, folder, read_config(folder))


def test_a_tokenizer_of_another_model_is_told(folder):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 100}))
    with pytest.raises(SourceError, match=r"numbers tokens up to \d+, and config.json has a vocab_size of 100"):
        rehearse(URI, folder, read_config(folder))
