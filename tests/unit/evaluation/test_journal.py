import json
import threading

from instructlab_pipeline.evaluation.journal import Journal
from instructlab_pipeline.evaluation.tasks import Task


def test_what_was_added_is_read_back_and_the_first_answer_stays(tmp_path):
    journal = Journal(tmp_path / "answers" / "model.jsonl")
    assert journal.replies() == {}
    journal.add({"a": "1", "b": "2"})
    journal.add({"b": "other", "c": "drei\n"})
    assert journal.replies() == {"a": "1", "b": "2", "c": "drei\n"}


def test_what_is_forgotten_can_be_answered_anew(tmp_path):
    journal = Journal(tmp_path / "model.jsonl")
    journal.add({"a": "1", "b": "2"})
    journal.forget(["b", "never there"])
    assert journal.replies() == {"a": "1"}
    journal.add({"b": "other"})
    assert journal.replies() == {"a": "1", "b": "other"}


def test_what_is_new_is_read_without_what_came_before(tmp_path):
    journal = Journal(tmp_path / "model.jsonl")
    assert journal.keys_since(0) == (set(), 0)
    journal.add({"a": "é", "b": "2"})
    keys, offset = journal.keys_since(0)
    assert (keys, offset) == ({"a", "b"}, journal.path.stat().st_size)
    with journal.path.open("ab") as file:
        file.write(b'{"torn')
    assert journal.keys_since(offset) == (set(), offset)
    journal.add({"c": "3"})
    assert journal.keys_since(offset) == ({"c"}, journal.path.stat().st_size)


def test_a_journal_torn_at_any_byte_loses_its_last_batch_only(tmp_path):
    journal = Journal(tmp_path / "model.jsonl")
    journal.add({"a": "é"})
    first = journal.path.stat().st_size
    journal.add({"b": "2"})
    whole = journal.path.read_bytes()
    for size in range(first, len(whole)):
        journal.path.write_bytes(whole[:size])
        known = journal.replies()
        assert known["a"] == "é"
        journal.add({"c": "3"})
        assert journal.replies() == {**known, "c": "3"}


def test_batches_of_several_writers_are_never_mixed(tmp_path):
    journal = Journal(tmp_path / "model.jsonl")
    batches = [{f"{writer}-{number}": "x" * 9_000 for number in range(5)} for writer in range(8)]
    threads = [threading.Thread(target=journal.add, args=[batch]) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(json.loads(line) in batches for line in journal.path.read_text().splitlines())
    assert len(journal.replies()) == 40


def test_a_key_speaks_for_the_messages_and_the_length_allowed():
    messages = [{"role": "user", "content": "Q?"}]
    keys = {
        Task(messages=messages).key(max_new_tokens=16),
        Task(messages=messages).key(max_new_tokens=32),
        Task(messages=[{"role": "user", "content": "Q"}]).key(max_new_tokens=16),
        Task(messages=messages, continuation="A").key(max_new_tokens=16),
        Task(messages=messages, continuation="B").key(max_new_tokens=16),
    }
    assert len(keys) == 5
    assert Task(messages=messages).key(max_new_tokens=16) in keys


def test_a_likelihood_is_known_whatever_length_answers_may_have():
    task = Task(messages=[{"role": "user", "content": "Q?"}], continuation="A")
    assert task.key(max_new_tokens=16) == task.key(max_new_tokens=32)
