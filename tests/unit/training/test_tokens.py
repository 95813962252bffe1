"""Samples as memory-mapped arrays."""

import pytest

from instructlab_pipeline.artifacts import write_jsonl
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.training.masks import Encoder
from instructlab_pipeline.training.tokens import open_tokens, tokens_key, write_tokens
from servers.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def encoder(model):
    from transformers import AutoTokenizer

    return Encoder(AutoTokenizer.from_pretrained(model))


def chat(question, answer, **fields):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "metadata": "{}", "id": question, "unmask": False, **fields}


def write(folder, encoder, records, *, limit=100, **shards):
    data = folder / "phase_1.jsonl"
    write_jsonl(data, records, **shards)
    done = []
    write_tokens(data, encoder, folder / "tokens", max_sample_tokens=limit, progress=done.append)
    return open_tokens(folder / "tokens"), done


def test_samples_come_back_as_they_were_encoded(tmp_path, encoder):
    records = [chat(f"Question {i}?", "moons " * (i % 7 + 1)) for i in range(600)]
    tokens, done = write(tmp_path, encoder, records)
    assert len(tokens) == 600
    assert done == [256, 512, 600]
    for index in (0, 255, 256, 599):
        [(ids, supervised)] = encoder.encode([encoder.render(records[index])])
        found_ids, found_supervised = tokens.sample(index)
        assert found_ids.tolist() == ids.tolist()
        assert found_supervised.tolist() == supervised.tolist()
        assert tokens.lengths[index] == len(ids)
        assert tokens.counts[index] == supervised.sum()


def test_samples_in_shards_are_one_set_and_a_broken_one_is_found_among_them(tmp_path, encoder):
    records = [chat(f"Question {i}?", "moons " * (i % 7 + 1)) for i in range(20)]
    whole, _ = write(tmp_path / "whole", encoder, records)
    shards, done = write(tmp_path / "shards", encoder, records, shard_bytes=1000)
    assert len(list((tmp_path / "shards").glob("phase_1*.jsonl"))) > 2
    assert done == [20]
    for name in ("ids", "supervised", "starts", "counts", "lines"):
        assert getattr(shards, name).tolist() == getattr(whole, name).tolist()
    with pytest.raises(SourceError, match=r"phase_1\.jsonl to phase_1-0000\d\.jsonl \(counted through\), line 21"):
        write(tmp_path / "broken", encoder, [*records, {"messages": "not a chat"}], shard_bytes=1000)


def test_samples_that_cannot_be_learned_are_left_out_and_listed(tmp_path, encoder):
    silent = {"messages": [{"role": "user", "content": "Anyone?"}], "id": "silent", "unmask": False}
    rule = {"messages": [{"role": "system", "content": "Be brief."}], "id": "rule", "unmask": True}
    tokens, _ = write(tmp_path, encoder, [chat("Short?", "Yes."), chat("Long?", "moon " * 99), silent, rule])
    assert tokens.lines.tolist() == [1]
    assert [(one["line"], one["id"], one["reason"]) for one in tokens.left_out] == [
        (2, "Long?", "too long"),
        (3, "silent", "nothing to learn from"),
        (4, "rule", "nothing to learn from"),
    ]


def test_data_without_any_sample_that_fits_is_an_error(tmp_path, encoder):
    with pytest.raises(SourceError, match="no sample that fits 5 tokens"):
        write(tmp_path, encoder, [chat("Too long for five?", "Yes.")], limit=5)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"messages": "not a chat"}, "the record has no `messages`, a list of turns"),
        ({"text": "not a chat"}, "the record has no `messages`, a list of turns"),
        (["not a chat"], "the record has no `messages`, a list of turns"),
        ({"messages": [{"role": "user"}]}, "each of the `messages` needs a `role` and a `content`"),
    ],
)
def test_a_broken_record_is_named_by_its_line_and_its_fault(tmp_path, encoder, record, reason):
    with pytest.raises(SourceError, match=rf"phase_1\.jsonl, line 2: {reason}"):
        write(tmp_path, encoder, [chat("Fine?", "Yes."), record])


@pytest.mark.parametrize("name", ["meta.json", "ids.bin", "starts.npy"])
def test_a_folder_that_is_not_whole_is_made_again(tmp_path, encoder, name):
    write(tmp_path, encoder, [chat("Fine?", "Yes.")])
    torn = tmp_path / "tokens" / name
    torn.write_bytes(torn.read_bytes()[:-1])
    assert open_tokens(tmp_path / "tokens") is None
    tokens, _ = write(tmp_path, encoder, [chat("Fine?", "Yes.")])
    assert len(tokens) == 1


def test_the_key_changes_with_data_tokenizer_and_length_but_not_with_weights(model, tmp_path):
    other = write_tiny_model(tmp_path / "other", seed=1)
    assert tokens_key("a", model, max_sample_tokens=9) == tokens_key("a", other, max_sample_tokens=9)
    (other / "chat_template.jinja").write_text("{{ messages }}")
    keys = {
        tokens_key("a", model, max_sample_tokens=9),
        tokens_key("b", model, max_sample_tokens=9),
        tokens_key("a", model, max_sample_tokens=8),
        tokens_key("a", other, max_sample_tokens=9),
    }
    assert len(keys) == 4
