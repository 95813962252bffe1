import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.sdg.flows import verdict_schema
from instructlab_pipeline.sdg.replies import BadReply, parse, strict

PAIR = {"type": "object", "properties": {"question": {"type": "string"}, "answer": {"type": "string"}}}
PAIRS = {"type": "object", "properties": {"pairs": {"type": "array", "items": PAIR}}}
VERDICT = verdict_schema({"relevance": "...", "clarity": "..."})


def reason(text, schema=PAIRS, finish="stop"):
    with pytest.raises(BadReply) as caught:
        parse(text, schema, finish=finish)
    return caught.value.reason


@given(st.lists(st.fixed_dictionaries({"question": st.text(), "answer": st.text()})))
def test_what_was_asked_for_comes_back(pairs):
    parsed = parse(json.dumps({"pairs": pairs}), PAIRS, finish="stop")
    assert [pair["question"] for pair in parsed["pairs"]] == [_written(pair["question"]) for pair in pairs]


def _written(text):
    return text.encode("utf-8", "replace").decode().strip()


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"pairs": [{"question": "Q", "answer": "A"}]}\n```',
        '<think>Let me see {"pairs"...</think>\n{"pairs": [{"question": "Q", "answer": "A"}]}',
        '[{"question": "Q", "answer": "A"}]',
        "{'pairs': [{'question': 'Q', 'answer': 'A',}],}",
        'Here you are: {"Pairs": [{"Question": " Q ", "answer": "A", "note": "n"}]}',
    ],
)
def test_dress_is_taken_off(text):
    assert parse(text, PAIRS, finish="stop") == {"pairs": [{"question": "Q", "answer": "A"}]}


@pytest.mark.parametrize(
    ("written", "score"), [("5", 5), ("4.0", 4), ('"3"', 3), ('"5/5"', 5), ('"Yes"', 5), ('"no"', 1)]
)
def test_scores_may_be_written_in_words(written, score):
    assert (
        parse(f'{{"reason": "", "relevance": {written}, "clarity": 4}}', VERDICT, finish="stop")["relevance"] == score
    )


@pytest.mark.parametrize("written", ["0", "6", "4.5", '"good"', "null", "[5]", "Infinity", '"42"'])
def test_other_scores_are_not_taken(written):
    assert reason(f'{{"reason": "", "relevance": {written}, "clarity": 4}}', VERDICT) == "not_as_asked"


def test_bad_replies_say_what_is_wrong_with_them():
    assert reason("  ") == "empty"
    assert reason("I would rather not.") == "not_json"
    assert reason("\u2588#%$ lorem ]]} ") == "not_json"
    assert reason('{"pairs": [{"question": "Q", "ans') == "truncated"
    assert reason('{"pairs": []}', finish="length") == "truncated"
    assert reason('{"pairs": [{"question": "Q"}]}') == "not_as_asked"
    assert reason('{"pairs": "Q"}') == "not_as_asked"
    assert reason("[" * 100_000 + "]") in {"not_json", "not_as_asked"}


def test_a_model_that_reasons_until_its_limit_is_told_from_one_that_says_nothing():
    with pytest.raises(BadReply, match="max_tokens") as caught:
        parse("", {"type": "object", "properties": {}}, finish="length")
    assert caught.value.reason == "truncated"


def test_a_lone_surrogate_becomes_something_that_can_be_written():
    parsed = parse('{"pairs": [{"question": "Q\\ud800", "answer": "A"}]}', PAIRS, finish="stop")
    parsed["pairs"][0]["question"].encode()


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    with suppress(BadReply):
        assert set(parse(text, PAIRS, finish="stop")) == {"pairs"}


def test_a_strict_schema_requires_all_and_allows_no_more():
    schema = strict(PAIRS)
    assert schema["required"] == ["pairs"]
    assert schema["properties"]["pairs"]["items"]["additionalProperties"] is False
