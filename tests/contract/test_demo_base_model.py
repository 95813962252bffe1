"""The demo's base model after a few steps of pre-training: what is tested here does not depend on how many."""

import dataclasses
import json

import base_model
import practice
import pytest
from pretraining import Schooling

from instructlab_pipeline.model.check import complaints, complaints_of_weights

BRIEF = Schooling(max_steps=12)


def silent(line):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "base-model"
    assert base_model.build_base_model(folder, BRIEF, say=silent)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def test_the_model_stage_finds_nothing_to_complain_about(folder):
    assert complaints(folder, {"llama"}) == []
    assert complaints_of_weights(folder) == []


def test_it_loads_as_a_llama_of_half_a_million_to_five_million_parameters(model):
    assert model.config.model_type == "llama"
    assert 500_000 <= model.num_parameters() <= 5_000_000


def test_it_answers_and_stops_by_its_own_configuration(model, tokenizer):
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Who discovered Io?"}], add_generation_prompt=True, return_tensors="pt"
    )
    generated = model.generate(**prompt, max_new_tokens=4)
    assert generated.shape[1] <= prompt["input_ids"].shape[1] + 4
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids(base_model.END)


def test_the_template_marks_the_assistant_s_words_and_its_end(tokenizer):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where is Tower Bridge?"},
        {"role": "assistant", "content": "England"},
        {"role": "user", "content": "What does it cross?"},
        {"role": "assistant", "content": "the Thames"},
    ]
    encoded = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    marked = [token for token, mark in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mark]
    assert tokenizer.decode(marked) == "England<|end|>the Thames<|end|>"


def test_the_prompt_of_a_question_is_where_its_answered_conversation_begins(tokenizer):
    question = {"role": "user", "content": "Where is Tower Bridge?"}
    answer = {"role": "assistant", "content": "England"}
    asked = tokenizer.apply_chat_template([question], add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template([question, answer], return_dict=False)
    assert whole[: len(asked)] == asked


def test_any_text_survives_the_tokenizer_and_digits_stand_alone(tokenizer):
    text = "Toumani Diabaté, 1,991 metres, ½ 漢字\n\ttab"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert [tokenizer.decode([i]) for i in tokenizer.encode("1,991", add_special_tokens=False)] == list("1,991")


def test_its_files_can_be_read_by_everyone(folder):
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o644"}


def test_the_same_sources_give_the_same_bytes(folder, tmp_path):
    again = tmp_path / "again"
    base_model.build_base_model(again, BRIEF, say=silent)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_what_is_up_to_date_is_left_alone(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert not base_model.build_base_model(folder, BRIEF, say=silent)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_an_interrupted_build_leaves_no_model_and_does_not_hinder_the_next(tmp_path):
    folder = tmp_path / "base-model"

    def interrupt(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        base_model.build_base_model(folder, BRIEF, say=interrupt)
    assert not folder.exists()
    assert base_model.build_base_model(folder, BRIEF, say=silent)
    assert [path.name for path in tmp_path.iterdir()] == ["base-model"]


def test_other_sources_replace_the_old_model(tmp_path):
    folder = tmp_path / "base-model"
    base_model.build_base_model(folder, BRIEF, say=silent)
    old = (folder / "model.safetensors").read_bytes()
    assert base_model.build_base_model(folder, dataclasses.replace(BRIEF, seed=7), say=silent)
    assert (folder / "model.safetensors").read_bytes() != old


def test_the_tokenizer_has_learned_practice_and_prose(folder, tokenizer):
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert len(vocabulary) == base_model.VOCABULARY_SIZE
    asked = practice.conversations()[0][0]["content"]
    assert len(tokenizer.encode(asked)) < len(asked) / 2
