from collections import Counter

import pytest

from instructlab_pipeline.artifacts import read_jsonl, write_jsonl
from instructlab_pipeline.sdg.leaf_run import Tally
from instructlab_pipeline.sdg.merge import NOTHING, Merger, Share
from instructlab_pipeline.sdg.parts import Part
from instructlab_pipeline.sdg.selection import Quota


@pytest.fixture
def share(tmp_path):
    """A leaf's share: its questions by file, and how many of them are wanted."""

    def make(name, *, samples=(), held_out=(), training=2, evaluation=0):
        folder = tmp_path / name
        write_jsonl(folder / "candidates.jsonl", [record(name, question, "training") for question in samples])
        write_jsonl(folder / "evaluation.jsonl", [record(name, question, "evaluation") for question in held_out])
        write_jsonl(folder / "rejected.jsonl", [{"leaf": name, "reason": "low_quality"}])
        part = Part(
            folder=folder,
            accepted=min(training, len(samples)),
            evaluation=len(held_out),
            rejected={"low_quality": 1},
            examples={},
            tally=Tally(),
        )
        return Share(
            name=name,
            leaf=name,
            held_out_in="evaluation",
            part=part,
            quota=Quota(training=training, evaluation=evaluation),
        )

    return make


def record(leaf, question, stream):
    lineage = {"stream": stream, "calls": []}
    return {
        "id": f"{leaf} {question}",
        "leaf": leaf,
        "kind": "freeform",
        "question": question,
        "answer": "A",
        "context": None,
        "chunk": None,
        "scores": {},
        "lineage": lineage,
    }


def merged(folder, *shares):
    folder.mkdir()
    merger = Merger(shares)
    merger.write(folder, taxonomy_commit="c0ffee")
    names = ("samples", "evaluation", "rejected")
    return {name: list(read_jsonl(folder / f"{name}.jsonl")) for name in names}


def questions(records):
    return [record["question"] for record in records]


def test_what_an_earlier_leaf_has_is_replaced_from_the_surplus(share, tmp_path):
    first = share("a", samples=["Who found Titan?", "Why is it hazy?"])
    second = share("b", samples=["who found the Titan", "How far is it?", "When was that?", "By whom?"])
    found = merged(tmp_path / "out", first, second)
    assert questions(found["samples"]) == ["Who found Titan?", "Why is it hazy?", "How far is it?", "When was that?"]
    assert [share.missing for share in (first, second)] == [NOTHING, NOTHING]
    by_reason = {record["reason"]: record for record in found["rejected"] if record["leaf"] == "b"}
    assert by_reason["duplicate"]["detail"] == "like one of a: Who found Titan?"
    assert by_reason["surplus"]["question"] == "By whom?"


def test_no_sample_of_any_leaf_asks_what_the_evaluation_of_another_asks(share, tmp_path):
    first = share("a", samples=["Who found Titan?", "Why is it hazy?"])
    second = share("b", held_out=["Who found Titan?"], evaluation=1, training=0)
    found = merged(tmp_path / "out", first, second)
    assert questions(found["samples"]) == ["Why is it hazy?"]
    assert questions(found["evaluation"]) == ["Who found Titan?"]
    assert first.missing == Quota(training=1, evaluation=0)
    (told,) = [record for record in found["rejected"] if record["reason"] == "in_evaluation_set"]
    assert told["detail"] == "it would give away, in b: Who found Titan?"


def test_two_leaves_do_not_hold_out_the_same_question(share, tmp_path):
    first = share("a", held_out=["Who?"], evaluation=1, training=0)
    second = share("b", held_out=["who"], evaluation=1, training=0)
    assert questions(merged(tmp_path / "out", first, second)["evaluation"]) == ["Who?"]
    assert second.missing == Quota(training=0, evaluation=1)


def test_what_a_leaf_never_had_is_not_missed(share, tmp_path):
    dry = share("a", samples=["Who?"], training=5)
    merged(tmp_path / "out", dry)
    assert dry.missing == NOTHING
    assert dry.funnel()["shortfall"] == 4


def test_the_funnel_adds_up_and_shows_an_example_of_each_reason(share, tmp_path):
    shares = [share(name, samples=["Who?", f"{name}: why?", f"{name}: how?", f"{name}: when?"]) for name in "abc"]
    found = merged(tmp_path / "out", *shares)
    reasons = Counter((record["leaf"], record["reason"]) for record in found["rejected"])
    for share_ in shares:
        funnel = share_.funnel()
        assert funnel["candidates"] == funnel["accepted"] + funnel["evaluation"] + sum(funnel["rejected"].values())
        assert {(share_.name, reason): count for reason, count in funnel["rejected"].items()}.items() <= reasons.items()
    assert shares[1].funnel()["examples"]["duplicate"] == {"question": "Who?", "detail": "like one of a: Who?"}


def test_lineage_names_the_commit_of_this_run(share, tmp_path):
    found = merged(tmp_path / "out", share("a", samples=["Who?"]))
    assert found["samples"][0]["lineage"]["taxonomy_commit"] == "c0ffee"
