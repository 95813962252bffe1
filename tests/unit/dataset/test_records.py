import json

from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.dataset.decontamination import held_out
from instructlab_pipeline.dataset.records import metadata, phase_1_records, phase_2_records, replayed


def sample(number=0, *, kind="knowledge", question=None, context="A chunk."):
    return {
        "id": f"{kind}-{number}",
        "leaf": f"{kind}/leaf",
        "kind": kind,
        "question": question or f"Question {number}?",
        "answer": f"Answer {number}.",
        "context": None if kind == "freeform" else context,
        "document": {"path": "moons.md"} if kind == "knowledge" else None,
        "quality": 1.0,
    }


def item(question, context=None):
    return {"id": f"item {question}", "question": question, "context": context}


ALL_KINDS = [sample(kind=kind) for kind in ("knowledge", "freeform", "grounded")]


def test_phase_1_is_knowledge_with_its_document_learned_whole():
    (record,) = phase_1_records(ALL_KINDS)
    assert record["unmask"] is True
    assert record["messages"] == [
        {"role": "user", "content": "A chunk.\n\nQuestion 0?"},
        {"role": "assistant", "content": "Answer 0."},
    ]
    assert metadata(record)["part"] == "knowledge_with_document"


def test_phase_2_asks_as_users_will():
    knowledge, freeform, grounded = phase_2_records(ALL_KINDS)
    assert knowledge["messages"][0]["content"] == freeform["messages"][0]["content"] == "Question 0?"
    assert grounded["messages"][0]["content"] == "A chunk.\n\nQuestion 0?"
    assert not any(record["unmask"] for record in (knowledge, freeform, grounded))


def test_every_record_has_the_form_that_trainers_read_and_an_id_of_its_own():
    samples = [sample(number) for number in range(9)]
    phase_1 = list(phase_1_records(samples))
    records = [*phase_1, *phase_2_records(samples), *replayed(phase_1, 9, ratio=1.0, seed=1)]
    assert len({record["id"] for record in records}) == 27
    for record in records:
        assert list(record) == ["messages", "metadata", "id", "unmask"]
        assert json.loads(record["metadata"])["leaf"] == "knowledge/leaf"


@given(st.integers(0, 50), st.floats(0, 1), st.integers())
def test_the_replay_is_a_share_of_phase_1_without_repetition(count, ratio, seed):
    phase_1 = list(phase_1_records(sample(number) for number in range(count)))
    replay = list(replayed(phase_1, count, ratio=ratio, seed=seed))
    assert len(replay) == round(ratio * count)
    assert len({metadata(record)["sample"] for record in replay}) == len(replay)
    assert replay == list(replayed(phase_1, count, ratio=ratio, seed=seed))


def test_a_held_out_question_is_recognised_whatever_its_dress():
    items = held_out([item("What is the largest moon of Saturn?")])
    assert (
        items.twin_of(sample(question="what is largest  moon of saturn")) == "item What is the largest moon of Saturn?"
    )
    assert items.twin_of(sample(kind="grounded", question="What is the largest moon of Saturn?"))
    assert items.twin_of(sample(question="What is the largest moon of Jupiter?")) is None


def test_a_held_out_question_on_a_text_is_the_same_only_on_that_text():
    items = held_out([item("When does it open?", context="Door 1 opens at 9.")])
    assert items.twin_of(sample(kind="grounded", question="When does it open?", context="door 1 opens at 9"))
    assert items.twin_of(sample(kind="grounded", question="When does it open?", context="Door 2 opens at 9.")) is None
    assert items.twin_of(sample(kind="freeform", question="When does it open?")) is None
