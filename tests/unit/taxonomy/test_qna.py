import pytest
import yaml

from instructlab_pipeline.taxonomy.qna import MAX_BYTES, read


def skill(**changes):
    examples = [{"question": f"Question {i}?", "answer": f"Answer {i}."} for i in range(5)]
    return {"version": 3, "created_by": "me", "task_description": "Do it.", "seed_examples": examples} | changes


def knowledge(**changes):
    def pairs(i):
        return [{"question": f"Question {i}.{j}?", "answer": f"Answer {j}."} for j in range(3)]

    return {
        "version": 3,
        "created_by": "me",
        "domain": "moons",
        "document_outline": "About moons.",
        "document": {"repo": "../documents", "commit": "a" * 40, "patterns": ["*.md"]},
        "seed_examples": [{"context": f"Context {i}", "questions_and_answers": pairs(i)} for i in range(5)],
    } | changes


def dumped(value):
    return yaml.safe_dump(value, sort_keys=False).encode()


def faults(data, folder="compositional_skills"):
    if not isinstance(data, bytes):
        data = dumped(data)
    return [str(fault) for fault in read("leaf/qna.yaml", data, folders=[folder, "leaf"]).faults]


@pytest.mark.parametrize(("value", "folder"), [(skill(), "compositional_skills"), (knowledge(), "knowledge")])
def test_a_good_file_has_no_faults(value, folder):
    assert faults(value, folder) == []


def test_every_fault_is_told_with_its_place():
    text = b"""\
version: 3
created_by: me
seed_examples:
  - question: Which?
    answer: 5
  - question: ""
    answer: yes
    hint: none
"""
    assert sorted(faults(text)) == [
        "leaf/qna.yaml:1:1: task_description is missing",
        "leaf/qna.yaml:4:3: seed_examples has 2 of the at least 5 items that it needs",
        "leaf/qna.yaml:5:13: answer is a number, not text; put it in quotes",
        "leaf/qna.yaml:6:15: question is empty",
        "leaf/qna.yaml:7:13: answer is a boolean, not text; put it in quotes",
        "leaf/qna.yaml:8:5: 'hint' is not a key that we know here",
    ]


def test_a_repeated_example_is_told_by_its_number():
    examples = skill()["seed_examples"]
    (fault,) = faults(skill(seed_examples=[*examples, dict(examples[1])]))
    assert fault.endswith(":15:3: seed_examples 6 repeats number 2")


@pytest.mark.parametrize("version", [1, 2])
def test_old_knowledge_is_refused(version):
    (fault,) = faults(knowledge(version=version), "knowledge")
    assert f"knowledge of version {version} is not taken" in fault


@pytest.mark.parametrize("version", [0, 4, -1, True])
def test_an_unknown_version_is_refused(version):
    (fault,) = faults(skill(version=version))
    assert "is not known" in fault


def test_a_skill_of_version_one_needs_little():
    assert faults({"created_by": "me", "task_description": "", "seed_examples": skill()["seed_examples"][:1]}) == []


def test_foundational_skills_are_skills():
    assert faults(skill(), "foundational_skills") == []


def test_knowledge_among_foundational_skills_is_knowledge_and_a_warning():
    qna = read("q", dumped(knowledge()), folders=["foundational_skills", "leaf"])
    assert (qna.kind, [fault.code for fault in qna.faults]) == ("knowledge", ["other-kind"])


def test_halves_of_characters_are_joined_or_replaced_with_a_warning():
    text = dumped(skill()).decode().replace("created_by: me", 'created_by: "\\ud83d\\ude00 \\ud800"')
    qna = read("q", text.encode(), folders=["compositional_skills"])
    assert qna.data["created_by"] == "\U0001f600 \ufffd"
    assert [fault.code for fault in qna.faults] == ["half-character"]


def test_the_innermost_folder_says_the_kind():
    qna = read("q", dumped(skill()), folders=["knowledge", "compositional_skills", "leaf"])
    assert qna.kind == "skill"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: [", "1:5: not valid YAML"),
        (b"a: 1\nb: \x01", "2:4: not valid YAML: character #x0001 is not allowed"),
        (b"a: 2020-13-45", "month must be in 1..12"),
        (b"\xff\xfe", "1:1: the file is not UTF-8 text"),
        (b"- a", "the file is not a mapping"),
        (b"a: !!python/object:os.system {}", "not valid YAML: could not determine a constructor"),
        (b"a: 1\n---\nb: 2", "not valid YAML"),
        (b"[" * 5000, "nested too deeply"),
        (b"a: &a [*a]", "stand for more than"),
        (b" " * (MAX_BYTES + 1), "at most"),
    ],
)
def test_what_is_no_yaml_that_we_take_is_told(data, message):
    (fault,) = faults(data)
    assert message in fault


def test_a_bomb_of_aliases_is_refused():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (fault,) = faults("\n".join(lines).encode())
    assert "stand for more than" in fault


def test_merges_and_aliases_are_read_as_yaml_has_them():
    text = dumped(skill()).decode().replace("- question: Question 1?\n", "- <<: {question: Which}\n")
    assert faults(text.encode()) == []


def test_lint_counts_from_version_two_on():
    trailing = dumped(skill()).replace(b"Do it.", b"Do it. ")
    assert faults(trailing) == ["leaf/qna.yaml:3:25: trailing spaces (trailing-spaces)"]
    assert faults(trailing.replace(b"version: 3\n", b"")) == []


def test_windows_line_ends_are_fine():
    assert faults(dumped(skill()).replace(b"\n", b"\r\n")) == []


def test_an_empty_file_is_a_warning():
    assert faults(b"# nothing yet\n") == ["leaf/qna.yaml:1:1: the file is empty and is left out [empty-file]"]


def test_a_question_asked_twice_is_a_warning():
    examples = skill()["seed_examples"]
    (fault,) = faults(skill(seed_examples=[*examples, {"question": "Question 0?", "answer": "Something else."}]))
    assert fault.endswith("this question was asked before [repeated-question]")


def test_a_leaf_with_and_without_contexts_is_a_warning():
    examples = skill()["seed_examples"]
    (fault,) = faults(skill(seed_examples=[{**examples[0], "context": "Given this."}, *examples[1:]]))
    assert fault.endswith("[mixed-contexts]")


def test_documents_of_a_branch_or_tag_are_doubted():
    value = knowledge(document=knowledge()["document"] | {"commit": "main"})
    (fault,) = faults(value, "knowledge")
    assert fault.startswith("leaf/qna.yaml:7:11: this is no commit but a name that can move")


def test_a_key_with_a_letter_wrong_is_told_with_the_right_one():
    value = skill()
    value["task_descripton"] = value.pop("task_description")
    assert faults(value)[1].endswith("'task_descripton' is not a key that we know here; near it: task_description")


def test_a_text_of_nothing_but_space_is_doubted():
    examples = skill()["seed_examples"]
    value = skill(task_description=" \n", seed_examples=[{**examples[0], "answer": "\n"}, *examples[1:]])
    assert faults(value) == [
        "leaf/qna.yaml:3:19: task_description holds nothing but space [blank-text]",
        "leaf/qna.yaml:6:11: answer holds nothing but space [blank-text]",
    ]


def test_a_second_document_is_told_in_a_whole_sentence():
    (fault,) = faults(dumped(skill()) + b"---\na: 1\n")
    assert fault.endswith("expected a single document in the stream, but found another document")


def test_the_place_of_what_is_no_utf_8_is_told():
    assert faults(b"version: 3\ncreated_by: gr\xf6\xdfer\n") == ["leaf/qna.yaml:2:15: the file is not UTF-8 text"]
