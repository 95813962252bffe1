import pytest
import yaml

from instructlab_pipeline.taxonomy.leaves import is_leaf_file, misplaced, read_leaves

EXAMPLES = [{"question": f"Question {i}?\n", "answer": f"Answer {i}."} for i in range(5)]


def skill(examples=EXAMPLES):
    value = {"version": 3, "created_by": "me", "task_description": "Do it.\n", "seed_examples": examples}
    return yaml.safe_dump(value).encode()


def one(data):
    ((leaf,), faults) = read_leaves([("compositional_skills/a/qna.yaml", data)])
    return leaf, faults


def test_a_skill_without_contexts_is_freeform():
    leaf, faults = one(skill())
    assert (leaf.path, leaf.kind, faults) == ("compositional_skills/a", "freeform", [])
    assert leaf.task_description == "Do it."
    assert leaf.seed_examples[0] == {"context": None, "pairs": [{"question": "Question 0?", "answer": "Answer 0."}]}


def test_a_skill_whose_examples_all_have_contexts_is_grounded():
    leaf, _ = one(skill([{**example, "context": "Given this."} for example in EXAMPLES]))
    assert leaf.kind == "grounded"
    assert leaf.seed_examples[0]["context"] == "Given this."


def test_in_a_mixed_skill_a_context_becomes_the_head_of_its_question():
    leaf, faults = one(skill([{**EXAMPLES[0], "context": "Given this."}, *EXAMPLES[1:]]))
    assert leaf.kind == "freeform"
    assert leaf.seed_examples[0]["pairs"][0]["question"] == "Given this.\n\nQuestion 0?"
    assert [fault.code for fault in faults] == ["mixed-contexts"]


def test_leaves_come_sorted_by_path_whatever_the_order_of_files():
    paths = ["compositional_skills/b/qna.yaml", "compositional_skills/a/qna.yaml"]
    leaves, _ = read_leaves((path, skill()) for path in paths)
    assert [leaf.path for leaf in leaves] == ["compositional_skills/a", "compositional_skills/b"]


def test_leaves_that_instructlab_would_take_for_one_are_a_warning():
    paths = ["compositional_skills/a_b/c/qna.yaml", "compositional_skills/a/b_c/qna.yaml"]
    leaves, faults = read_leaves((path, skill()) for path in paths)
    assert len(leaves) == 2
    assert [fault.code for fault in faults] == ["colliding-name"]


def test_faults_of_all_files_come_together():
    leaves, faults = read_leaves([("knowledge/a/qna.yaml", b"- 1"), ("knowledge/b/qna.yaml", b"- 2")])
    assert leaves == []
    assert [fault.path for fault in faults] == ["knowledge/a/qna.yaml", "knowledge/b/qna.yaml"]


def test_a_leaf_file_lies_in_a_folder_of_its_own_below_the_taxonomys():
    assert is_leaf_file("knowledge/a/qna.yaml")
    assert not is_leaf_file("knowledge/qna.yaml")
    assert not is_leaf_file("docs/a/qna.yaml")
    assert not is_leaf_file("knowledge/a/other.yaml")


def test_files_that_were_perhaps_meant_as_leaves_are_told():
    faults = misplaced(["skills/a/qna.yaml", "knowledge/a/qna.yml", "knowledge/a/qna.yaml", ".github/x.yaml", "a.md"])
    assert [(fault.path, fault.code) for fault in faults] == [
        ("knowledge/a/qna.yml", "file-name"),
        ("skills/a/qna.yaml", "outside-folders"),
    ]


@pytest.mark.parametrize(("one", "other"), [("Ask", "ask"), ("caf\u00e9", "cafe\u0301")])
def test_leaves_that_differ_in_upper_case_or_the_way_of_an_accent_alone_are_told(one, other):
    _, faults = read_leaves((f"compositional_skills/{name}/qna.yaml", skill()) for name in (one, other, "tell"))
    assert len(faults) == 1
    assert faults[0].code == "colliding-name"
