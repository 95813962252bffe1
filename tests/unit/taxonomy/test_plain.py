"""What is taken for plain, against the exact reader and InstructLab's linter."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from yamllint import linter
from yamllint.config import YamlLintConfig

from instructlab_pipeline.taxonomy.plain import plain_value
from instructlab_pipeline.taxonomy.qna import KINDS, LINT_RULES, read

RULES = YamlLintConfig(LINT_RULES)
STEPPED = """\
version: 3
created_by: me
seed_examples:
  - question: |
      What is it?

      More: of # it
    answer: A plain
      one in two
  - question: "quoted
      on two"
    answer: 'it''s'
document:
  repo: https://host/documents
  patterns:
    - "*.md"
    - moons.md
"""
LEVEL = """\
# a comment
created_by: me
seed_examples:
- context: >
    folded
    text

      stepped in

  questions_and_answers:
  - question: a
    answer: |-
      b
  - question: c
    answer: |+
      d

# another
task_description: é 漢 😀
"""
SIGNS = [
    *("\n", "\n\n", "\n\n\n", " ", "  ", "\t", "\r", "\u0085", "\u2028", "\u00a0", "\ufeff", "é", "😀"),
    *("- ", "-", ": ", ":", "? ", "#", " #", "# c", "|", ">", "|-", "|2", "|+\n", "[", "]", "{", "}", ",", "'", '"'),
    *(
        "''",
        "\\",
        "\\n",
        "\\ud800",
        "&a ",
        "*a",
        "!!str ",
        "!!bool ",
        "!!timestamp ",
        "! ",
        "---\n",
        "...\n",
        "%YAML 9",
    ),
    *("<<: ", "=", "~", "null", "yes", "0", "12", "1.5", "0x", "1:20", "2020-01-01", "9" * 5000, "@", "%", "x"),
    *("`", "%YAML 9"),
    *("key: value\n", "  key: value\n", "- item\n", "    text\n"),
]


@st.composite
def changed(draw):
    """A good text with a few signs put in, taken out, or lines moved."""
    text = draw(st.sampled_from([STEPPED, LEVEL]))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text)))
        match draw(st.sampled_from(["in", "in", "out", "line", "shift"])):
            case "in":
                text = text[:place] + draw(st.sampled_from(SIGNS)) + text[place:]
            case "out":
                text = text[:place] + text[place + draw(st.integers(1, 4)) :]
            case "line":
                lines = text.split("\n")
                lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(lines)))
                text = "\n".join(lines)
            case "shift":
                text = text[:place] + text[place:].replace("\n", "\n" + " " * draw(st.integers(1, 2)))
    return text


@pytest.mark.parametrize("text", [STEPPED, LEVEL, yaml.safe_dump(yaml.safe_load(STEPPED), sort_keys=False, width=60)])
def test_what_people_and_programs_write_is_plain(text):
    assert plain_value(text) == yaml.safe_load(text)


@given(text=changed())
@settings(max_examples=500, deadline=None)
def test_what_is_plain_says_the_same_to_the_exact_reader_and_nothing_to_the_linter(text):
    value = plain_value(text)
    if value is not None:
        assert value == yaml.safe_load(text)
        assert list(linter.run(text, RULES)) == []


@given(text=changed(), folder=st.sampled_from(list(KINDS)))
@settings(max_examples=500, deadline=None)
def test_any_change_of_a_leaf_ends_in_a_verdict(text, folder):
    qna = read("qna.yaml", text.encode(), folders=[folder])
    assert qna.data or qna.faults


@given(data=st.one_of(st.binary(), st.text().map(lambda text: text.encode(errors="surrogatepass"))))
@settings(max_examples=500, deadline=None)
def test_any_bytes_end_in_a_verdict(data):
    assert read("qna.yaml", data, folders=["knowledge"]).faults


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "text\n",
        "- item\n",
        "a: [b]\n",
        "a: {b: c}\n",
        "a: &b c\n",
        "a: !!str b\n",
        "a: yes\n",
        "a: 12\n",
        "a:\n",
        "a: b\na: c\n",
        "a: b # comment\n",
        "a:  b\n",
        "a: b \n",
        "a: b\n\n",
        "a: b",
        "a:\n  b\n",
        "a:\n  b: c\nd:\n    e: f\n",
        "a:\n- b\nc:\n  - d\n",
        "a:\n  b:\n    c:\n      d:\n        e:\n          f:\n            g: h\n",
        "a: |# no comment\n  b\n",
        "a: b\n--- \nc: d\n",
    ],
)
def test_all_else_is_left_to_the_exact_reader(text):
    assert plain_value(text) is None


@pytest.mark.parametrize("text", ["[" * 900_000, "- " * 400_000, "? " * 400_000, "{a: " * 200_000, "a: " * 300_000])
def test_no_depth_of_nesting_ends_the_process(text):
    assert plain_value(text + "\n") is None
    (fault,) = read("qna.yaml", text.encode(), folders=["knowledge"]).faults
    assert "YAML" in fault.message or "nested too deeply" in fault.message
