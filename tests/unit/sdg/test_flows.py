import re
import shutil
from itertools import takewhile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.errors import SourceError, UsageError
from instructlab_pipeline.sdg.flows import BUILT_IN, built_in_flow, chosen_flows, load_flow

KINDS = ("knowledge", "freeform", "grounded", "multiple_choice")
VALUES = {
    "task": "T",
    "domain": "D",
    "outline": "O",
    "document": "The document.",
    "form": "fact",
    "batch": 3,
    "before": 14,
    "examples": [{"context": "C", "pairs": [{"question": "Q1", "answer": "A1"}, {"question": "Q2", "answer": "A2"}]}],
    "question": "The question?",
    "answer": "The answer.",
    "context": "The context.",
    "choices": ["The answer.", "One.", "Two.", "Three."],
}
PROTOCOL = {
    "question_answer_pairs": {"domain", "document", "form", "example", "count", "batch", "before"},
    "multiple_choice_items": {"domain", "document", "form", "example", "count", "batch", "before"},
    "choice": {"document", "question", "choice"},
    "instructions": {"task", "example", "count", "batch"},
    "contexts": {"task", "example", "count", "batch", "before"},
    "answer": {"task", "example", "instruction"},
    "verdict": {"question"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_flow_loads_and_speaks_the_protocol(kind):
    flow = built_in_flow(kind)
    assert (flow.name, flow.kind) == (kind, kind)
    for step in flow.steps:
        system, user = (message["content"] for message in step.messages(**VALUES))
        assert PROTOCOL[step.form.schema_name] <= set(re.findall(r"<(\w+)>", user))
        assert system == system.strip()
        assert user == user.strip()
        for content in (system, user):
            assert "{{" not in content
            assert "{%" not in content
            assert "\n\n\n" not in content
            assert max(len(line) for line in content.splitlines() if "<example>" not in line) <= 160


def test_verdicts_ask_for_the_reason_first_and_for_whole_numbers():
    verdict = built_in_flow("knowledge").steps[-1]
    assert list(verdict.form.schema["properties"]) == ["reason", "faithfulness", "relevance", "standalone"]
    assert verdict.form.schema["properties"]["relevance"] == {"type": "integer", "minimum": 1, "maximum": 5}
    assert verdict.form.schema["required"] == list(verdict.form.schema["properties"])


@pytest.mark.parametrize("form", ["fact", "definition", "explanation", "comparison", "summary"])
def test_each_form_of_question_is_explained(form):
    step = built_in_flow("knowledge").steps[0]
    other = step.messages(**{**VALUES, "form": "fact" if form == "summary" else "summary"})[1]["content"]
    text = step.messages(**{**VALUES, "form": form})[1]["content"]
    assert f"<form>{form}</form>" in text
    assert text.replace(form, "") != other.replace("fact", "").replace("summary", "")


def complaints(tmp_path, old, new, kind="freeform"):
    text = (BUILT_IN / f"{kind}.yaml").read_text()
    assert old in text
    path = tmp_path / "flow.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(SourceError) as caught:
        load_flow(path)
    assert "docs/flows.md" in caught.value.remedy
    return caught.value.message.splitlines(), path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind: freeform", "kind: poem", "'poem' is not one of"),
        ("by: teacher", "by: nobody", "'nobody' is not one of"),
        ("expected_yield: 0.65", "expected_yield: 7", "7 is greater than the maximum of 1"),
        ("count: 5", "count: many", "'many' is not of type 'integer'"),
        ("each: instructions", "each: orders", "is not a list of the reply"),
        ("as: question\n", "as: order\n", "`question` is not known here"),
        ("{{ task }}", "{{ tsk }}", "`tsk` is not known here"),
        ("{% for example in examples %}", "{% for example in %}", "of the template"),
        ("max_tokens: 2048", "max_token: 2048", "'max_tokens' is a required property"),
        ("    criteria:\n", "    reply: {type: string}\n    criteria:\n", "either `reply` or `criteria`"),
        ("each: instructions", "each: [", "not YAML"),
    ],
)
def test_a_mistake_in_a_flow_is_named_with_its_line(tmp_path, old, new, words):
    lines, path = complaints(tmp_path, old, new)
    text = path.read_text()
    found = next(line for line in lines if words in line)
    number = int(re.match(rf"{re.escape(str(path))}:(\d+): ", found).group(1))
    assert 1 <= number <= text.count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("choices: [answer, wrong_1", "choices: [wrong_2, wrong_1", "'answer' was expected"),
        ("choices: [answer, wrong_1", "choices: [answer, wrong_4, wrong_1", "no step makes the row's `wrong_4`"),
        ("choices: [answer, wrong_1, wrong_2, wrong_3]\n", "", "has `choices`, and no other one has"),
        ("same: {chosen: answer}", "same: {picked: answer}", "`picked: answer`: one must be in the reply"),
    ],
)
def test_a_mistake_in_a_multiple_choice_flow_is_named(tmp_path, old, new, words):
    lines, _ = complaints(tmp_path, old, new, kind="multiple_choice")
    assert any(words in line for line in lines)


def test_the_line_is_that_of_the_mistake(tmp_path):
    lines, path = complaints(tmp_path, "kind: freeform", "kind: poem")
    assert lines[0].startswith(f"{path}:4: kind:")


def test_all_mistakes_are_told_at_once(tmp_path):
    path = tmp_path / "flow.yaml"
    path.write_text("flow: mine\nkind: poem\nplan: {worked_examples: 0}\nsteps: []\n")
    with pytest.raises(SourceError) as caught:
        load_flow(path)
    assert [int(line.split(":")[1]) for line in caught.value.message.splitlines()] == [2, 3, 3, 4]


def test_a_template_cannot_leave_its_sandbox(tmp_path):
    path = tmp_path / "flow.yaml"
    escape = "{{ task.__class__.__mro__ }}"
    path.write_text((BUILT_IN / "freeform.yaml").read_text().replace("{{ task }}", escape, 1))
    from jinja2.exceptions import SecurityError

    with pytest.raises(SecurityError):
        load_flow(path).steps[0].messages(**VALUES)


def test_comments_do_not_change_a_flows_digest(tmp_path):
    path = tmp_path / "flow.yaml"
    path.write_text("# another comment\n" + (BUILT_IN / "freeform.yaml").read_text())
    assert load_flow(path).digest == built_in_flow("freeform").digest


def test_the_manual_of_flows_names_every_key():
    manual = (Path(__file__).parents[3] / "docs/flows.md").read_text()
    for name in ("expected_yield", "worked_examples", "forms", "sampling", "criteria", "each", "as", "count", "reply"):
        assert f"`{name}`" in manual


EXAMPLE = Path(__file__).parents[3] / "examples/flows/terms.yaml"


def test_a_flow_of_the_user_s_own_takes_the_place_of_the_built_in_one_for_its_kind(tmp_path):
    shutil.copy(EXAMPLE, tmp_path)
    for paths in (str(EXAMPLE), f" {EXAMPLE} ,", str(tmp_path)):
        flows = chosen_flows(paths)
        assert {kind: flow.name for kind, flow in flows.items()} == {
            "knowledge": "terms",
            "freeform": "freeform",
            "grounded": "grounded",
            "multiple_choice": "multiple_choice",
        }


def test_comments_and_places_of_a_flow_do_not_matter_but_its_words_do(tmp_path):
    text = EXAMPLE.read_text()
    digest = load_flow(EXAMPLE).digest
    (tmp_path / "moved.yaml").write_text(f"# another comment\n{text}")
    assert load_flow(tmp_path / "moved.yaml").digest == digest
    (tmp_path / "reworded.yaml").write_text(text.replace("one plain sentence", "two plain sentences"))
    assert load_flow(tmp_path / "reworded.yaml").digest != digest


@pytest.mark.parametrize(
    ("paths", "words"), [("no.yaml", "is not there"), ("{folder}", "holds no"), (f"{EXAMPLE},{{twin}}", "two flows")]
)
def test_paths_that_cannot_be_used_are_named(tmp_path, paths, words):
    (tmp_path / "empty").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "twin.yaml")
    with pytest.raises(UsageError, match=words) as caught:
        chosen_flows(paths.format(folder=tmp_path / "empty", twin=tmp_path / "twin.yaml"))
    assert caught.value.remedy


def test_a_flow_that_is_no_text_is_refused_with_its_name(tmp_path):
    (tmp_path / "flow.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match=r"flow\.yaml"):
        chosen_flows(str(tmp_path))


texts = st.lists(st.sampled_from([*"<>/ &;x", "document", "</document>", "<count>", "&lt;", "\n", "answer"])).map(
    "".join
)


KNOWLEDGE_VERDICT = built_in_flow("knowledge").steps[-1]


@given(texts, texts)
def test_no_document_ends_before_its_end_or_passes_for_an_instruction(document, question):
    step = KNOWLEDGE_VERDICT
    content = step.messages(**{**VALUES, "document": document, "question": question})[1]["content"]
    found = re.search(r"<document>(.*?)</document>\n\n<question>(.*?)</question>\n<answer>", content, re.DOTALL)
    assert step.plain(found[1]) == step.plain(document)
    assert step.plain(found[2]) == step.plain(question)


def test_only_tags_of_the_prompt_are_written_differently():
    step = built_in_flow("knowledge").steps[-1]
    html = "<b>Saturn</b> < <p class='x'> </Document > &amp;"
    content = step.messages(**{**VALUES, "document": html})[1]["content"]
    assert "<b>Saturn</b> < <p class='x'> &lt;/Document > &amp;" in content


def test_each_prompt_ends_with_the_form_of_its_reply():
    last = {
        step.name: step.messages(**VALUES)[1]["content"].splitlines()[-1] for step in built_in_flow("knowledge").steps
    }
    begin = "Reply with JSON alone, in this form: "
    assert last["pairs"] == begin + '{"pairs": [{"question": "...", "answer": "..."}, ...]}'
    assert last["verdict"].endswith(
        '{"reason": "...", "faithfulness": 1 to 5, "relevance": 1 to 5, "standalone": 1 to 5}'
    )


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_begin_with_what_rows_share(kind):
    """A server that keeps what it has read reads criteria, task, examples and document once for many rows."""
    shared_values = {"task": "the-task", "document": "the-document"}
    for step in built_in_flow(kind).steps:
        one, other = (
            step.messages(**{**VALUES, **shared_values, "question": number, "context": number, "batch": number})
            for number in ("1", "2")
        )
        texts = one[1]["content"], other[1]["content"]
        beginning = "".join(pair[0] for pair in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))
        rest = texts[0].removeprefix(beginning)
        assert one[0] == other[0]
        assert not any(text in rest for text in (*shared_values.values(), "Q1"))
        assert kind == "grounded" or all(meaning in beginning for meaning in step.criteria.values())
