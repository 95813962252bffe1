import json

import pytest
from safetensors.numpy import load_file, save_file

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.model.check import read_config
from instructlab_pipeline.model.rehearsal import assemble, rehearse
from servers.tiny_model import write_tiny_model

URI = "s3://models/tiny"


@pytest.fixture
def folder(tmp_path):
    return write_tiny_model(tmp_path / "tiny")


@pytest.fixture
def describe(folder):
    """Change what config.json says."""

    def describe(**changes):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return describe


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


def test_a_tokenizer_of_another_model_is_told(folder, describe):
    describe(vocab_size=100)
    with pytest.raises(SourceError, match=r"numbers tokens up to \d+, and config.json has a vocab_size of 100"):
        rehearse(URI, folder, read_config(folder))


def test_tensors_that_fit_the_configuration_are_put_together(folder, capfd):
    assert assemble(URI, folder) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tie_word_embeddings": False}, "the weights lack what config.json describes: lm_head.weight$"),
        ({"num_hidden_layers": 3}, r"the weights lack .*: model\.layers\.2\.input_layernorm\.weight and 8 more$"),
        ({"vocab_size": 1000}, r"model\.embed_tokens\.weight is of the shape \[400, 32\], .* describes \[1000, 32\]"),
        ({"hidden_act": "blub"}, "config.json asks for 'blub', which transformers does not know"),
        ({"rope_parameters": {"rope_type": "mystery", "factor": 2.0}}, "config.json asks for 'mystery'"),
    ],
)
def test_a_configuration_that_the_weights_do_not_fit_is_told(folder, describe, changes, words):
    describe(**changes)
    with pytest.raises(SourceError, match=words):
        assemble(URI, folder)


def test_weights_from_which_tensors_are_missing_are_told(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if "norm" in name}, folder / "model.safetensors")
    with pytest.raises(SourceError, match=r"the weights lack .*: lm_head\.weight and 15 more"):
        assemble(URI, folder)


def test_tensors_that_the_configuration_does_not_describe_are_named(folder, describe):
    describe(num_hidden_layers=1)
    useless = assemble(URI, folder)
    assert len(useless) == 9
    assert all(name.startswith("model.layers.1.") for name in useless)
