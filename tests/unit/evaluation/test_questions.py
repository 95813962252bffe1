"""Question sets of the user's own."""

import json
import unicodedata

import pytest

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.evaluation.questions import content_digest, own_items


def write(path, *records):
    path.write_text("".join(f"{record if isinstance(record, str) else json.dumps(record)}\n" for record in records))
    return str(path)


def test_a_line_needs_no_more_than_a_question_and_its_answer(tmp_path):
    (item,) = own_items([write(tmp_path / "mine.jsonl", {"question": "How deep?", "reference": "12 m"})])
    assert (item.id, item.leaf, item.question, item.reference) == (
        "questions/mine/1",
        "questions/mine",
        "How deep?",
        "12 m",
    )
    assert (item.context, item.choices, item.key) == (None, (), None)


def test_a_question_with_choices_has_the_right_one_as_its_reference(tmp_path):
    line = {"question": "Which?", "choices": ["red", "blue"], "key": 1, "id": "colour", "leaf": "paint", "context": "C"}
    (item,) = own_items([write(tmp_path / "mine.jsonl", line)])
    assert (item.id, item.leaf, item.context) == ("questions/mine/colour", "paint", "C")
    assert (item.choices, item.key, item.reference) == (("red", "blue"), 1, "blue")


def test_files_of_the_same_name_do_not_mix_their_questions(tmp_path):
    paths = []
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        paths.append(write(tmp_path / folder / "q.jsonl", {"question": folder, "reference": "x"}))
    assert [item.id for item in own_items(paths)] == ["questions/q/1", "questions/q-2/1", "questions/q-3/1"]


def test_every_line_that_cannot_be_used_is_named_at_once(tmp_path):
    path = write(
        tmp_path / "mine.jsonl",
        {"question": "Fine?", "reference": "Yes."},
        "not json",
        "",
        "[1]",
        {"question": "No answer?"},
        {"question": " ", "reference": "x"},
        {"question": "Q", "reference": "x", "anwser": "y"},
        {"question": "Q", "choices": ["a"], "key": 0},
        {"question": "Q", "choices": ["a", "b"], "key": 2},
        {"question": "Q", "choices": ["a", "a"], "key": 0},
        {"question": "Q", "choices": ["a", "b"], "key": 0, "reference": "b"},
        {"question": "Q", "reference": "x", "id": 3},
        {"question": "Half a \ud83d?", "reference": "x"},
        '{"question": ' + "[" * 100_000,
    )
    with pytest.raises(SourceError) as caught:
        own_items([path])
    lines = caught.value.message.splitlines()[1:]
    assert [int(line.split(":")[1]) for line in lines] == [2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert "is not JSON" in lines[0]
    assert "'anwser' is not known; known are question, reference" in lines[4]
    assert "0 to 1" in lines[6]


def test_an_id_that_is_there_twice_is_refused(tmp_path):
    twice = [{"question": str(number), "reference": "x", "id": "same"} for number in range(2)]
    with pytest.raises(SourceError, match=r"mine\.jsonl:2: the id same is there already"):
        own_items([write(tmp_path / "mine.jsonl", *twice)])


def test_a_question_that_is_there_twice_is_refused_and_one_about_another_text_is_not(tmp_path):
    first = write(tmp_path / "first.jsonl", {"question": "How deep?", "reference": "12 m"})
    again = {"question": "How  deep? ", "reference": "12 metres"}
    with pytest.raises(SourceError, match=r"second\.jsonl:2: asks the same as .*first\.jsonl:1"):
        own_items([first, write(tmp_path / "second.jsonl", {**again, "context": "A well."}, again)])


def test_an_accent_written_in_another_way_asks_the_same(tmp_path):
    twice = [{"question": unicodedata.normalize(form, "Où est le café?"), "reference": "là"} for form in ("NFC", "NFD")]
    with pytest.raises(SourceError, match=r"mine\.jsonl:2: asks the same"):
        own_items([write(tmp_path / "mine.jsonl", *twice)])


def test_more_complaints_than_a_screen_holds_are_counted(tmp_path):
    with pytest.raises(SourceError, match=r":20: is not JSON.*\nand 5 more$"):
        own_items([write(tmp_path / "mine.jsonl", *["no"] * 25)])


def test_a_line_ends_with_a_newline_alone_and_a_byte_order_mark_is_none_of_it(tmp_path):
    text = "\ufeff" + json.dumps({"question": "One\u2028two\x85?", "reference": "x"}, ensure_ascii=False) + "\r\n"
    (tmp_path / "mine.jsonl").write_bytes(text.encode())
    assert own_items([str(tmp_path / "mine.jsonl")])[0].question == "One\u2028two\x85?"


def test_a_file_that_is_not_there_or_empty_or_no_text_is_refused(tmp_path):
    with pytest.raises(SourceError, match="there is no file"):
        own_items([str(tmp_path / "absent.jsonl")])
    with pytest.raises(SourceError, match="is a folder"):
        own_items([str(tmp_path)])
    with pytest.raises(SourceError, match="holds no question"):
        own_items([write(tmp_path / "empty.jsonl", "")])
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "\xfc", "reference": "x"}\n')
    with pytest.raises(SourceError, match="not UTF-8"):
        own_items([str(tmp_path / "latin.jsonl")])


def test_the_digest_follows_the_content(tmp_path):
    path = write(tmp_path / "mine.jsonl", {"question": "a", "reference": "x"})
    before = content_digest([path])
    write(tmp_path / "mine.jsonl", {"question": "b", "reference": "x"})
    assert content_digest([path]) != before
    assert content_digest([]) == ""
