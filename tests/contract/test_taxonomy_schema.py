"""Our verdict on a file against that of InstructLab's own package."""

import copy
import functools
import io
import os
import sys
from datetime import date
from pathlib import Path
from random import Random

import pytest
import yaml
from instructlab.schema.taxonomy import TaxonomyParser, TaxonomyReadingException
from yamllint import linter
from yamllint.config import YamlLintConfig

from instructlab_pipeline.taxonomy.check import check_path
from instructlab_pipeline.taxonomy.faults import errors

SKILL = {
    "version": 3,
    "created_by": "me",
    "task_description": "Do it.",
    "seed_examples": [{"question": f"Question {i}?", "answer": f"Answer {i}."} for i in range(5)],
}
KNOWLEDGE = {
    "version": 3,
    "created_by": "me",
    "domain": "moons",
    "document_outline": "About moons.",
    "document": {"repo": "../documents", "commit": "abc", "patterns": ["*.md"]},
    "seed_examples": [
        {
            "context": f"Context {i}.",
            "questions_and_answers": [{"question": f"Question {i}.{j}?", "answer": f"Answer {j}."} for j in range(3)],
        }
        for i in range(5)
    ],
}


def changed(value, path, new):
    """A copy with `new` at `path`; without what is there where `new` is None."""
    value = copy.deepcopy(value)
    place = value
    for step in path[:-1]:
        place = place[step]
    if new is None:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return yaml.safe_dump(value, sort_keys=False)


def skill(*path, new=None):
    return "compositional_skills", changed(SKILL, path, new)


def knowledge(*path, new=None):
    return "knowledge", changed(KNOWLEDGE, path, new)


def skill_text(**replaced):
    text = changed(SKILL, ("created_by",), "me")
    for old, new in replaced.values():
        assert old in text
        text = text.replace(old, new, 1)
    return "compositional_skills", text


def pairs_with_hints(first, second):
    """Two pairs that are the same but for a key that is not checked."""
    value = copy.deepcopy(KNOWLEDGE)
    pairs = value["seed_examples"][1]["questions_and_answers"]
    pairs[:2] = [{**pairs[0], "hint": "FIRST"}, {**pairs[0], "hint": "SECOND"}]
    text = yaml.safe_dump(value, sort_keys=False)
    return "knowledge", text.replace("FIRST", first).replace("SECOND", second)


SMALL = {**SKILL, "version": 1, "seed_examples": [{"question": "Question?", "answer": "Answer."}]}
PAIR = ("seed_examples", 1, "questions_and_answers", 2)
FILES = {
    "skill": skill("created_by", new="me"),
    "skill v2": skill("version", new=2),
    "skill v1": skill("version", new=1),
    "skill without version": skill("version"),
    "skill v1 with an empty description": skill_text(v1=("version: 3", "version: 1"), none=("Do it.", "''")),
    "skill v3 with an empty description": skill("task_description", new=""),
    "skill with contexts": skill("seed_examples", 0, "context", new="Given this."),
    "skill with an empty context": skill("seed_examples", 0, "context", new=""),
    "skill with a number as answer": skill("seed_examples", 0, "answer", new=5),
    "skill with a boolean as answer": skill("seed_examples", 0, "answer", new=True),
    "skill with a date as answer": skill_text(date=("Answer 0.", "2026-01-01")),
    "skill with an impossible date": skill_text(date=("Answer 0.", "2026-13-01")),
    "skill without an answer": skill("seed_examples", 0, "answer"),
    "skill with an empty answer": skill("seed_examples", 0, "answer", new=""),
    "skill with a null answer": skill_text(null=("Answer 0.", "null")),
    "skill with an unknown key": skill("attribution", new="none"),
    "skill with an unknown key in an example": skill("seed_examples", 0, "hint", new="none"),
    "skill with four examples": skill("seed_examples", new=SKILL["seed_examples"][:4]),
    "skill v1 with one example": ("compositional_skills", yaml.safe_dump(SMALL, sort_keys=False)),
    "skill v1 without examples": ("compositional_skills", "created_by: me\ntask_description: x\nseed_examples: []\n"),
    "skill with a repeated example": skill("seed_examples", 1, new=dict(SKILL["seed_examples"][0])),
    "skill with examples as a mapping": skill("seed_examples", new={"question": "a", "answer": "b"}),
    "skill without a writer": skill("created_by"),
    "skill with a number as writer": skill("created_by", new=5),
    "skill v4": skill("version", new=4),
    "skill v0": skill("version", new=0),
    "skill with a text as version": skill("version", new="3"),
    "skill with a word as version": skill("version", new="three"),
    "skill with version 3.0": skill("version", new=3.0),
    "skill with version 2.5": skill("version", new=2.5),
    "skill with a boolean as version": skill("version", new=True),
    "skill with a null version": skill_text(version=("version: 3", "version: null")),
    "skill with trailing spaces": skill_text(space=("created_by: me", "created_by: me ")),
    "skill with a blank line at its end": ("compositional_skills", skill("created_by", new="me")[1] + "\n"),
    "skill without a newline at its end": ("compositional_skills", skill("created_by", new="me")[1].rstrip("\n")),
    "skill with a key twice": skill_text(key=("created_by: me\n", "created_by: me\ncreated_by: you\n")),
    "skill v1 with a key twice": ("compositional_skills", skill("version")[1] + "created_by: you\n"),
    "skill v1 with trailing spaces": ("compositional_skills", skill("version")[1].replace("me\n", "me  \n", 1)),
    "skill with too many spaces after a colon": skill_text(space=("created_by: me", "created_by:   me")),
    "skill with a very long line": skill("task_description", new="word" * 100),
    "skill with lint switched off": skill_text(space=("created_by: me", "created_by: me  # yamllint disable-line")),
    "skill with a comment that sticks": skill_text(comment=("created_by: me", "created_by: me #sticks")),
    "skill with other indentation": ("compositional_skills", yaml.safe_dump(SKILL, sort_keys=False, indent=4)),
    "skill with two documents": ("compositional_skills", skill("created_by", new="me")[1] + "---\na: 1\n"),
    "skill with an alias": skill_text(first=("Question 0?", "&first Question?"), second=("Answer 1.", "*first")),
    "skill with a merge": skill_text(merge=("- question: Question 1?\n", "- <<: {question: Which}\n")),
    "skill with a foreign tag": skill_text(tag=("Answer 1.", "!!python/name:os.system ''")),
    "skill with windows line ends": ("compositional_skills", skill("created_by", new="me")[1].replace("\n", "\r\n")),
    "foundational skill": ("foundational_skills", yaml.safe_dump(SKILL, sort_keys=False)),
    "knowledge below skills": ("compositional_skills", yaml.safe_dump(KNOWLEDGE, sort_keys=False)),
    "skill below knowledge": ("knowledge", yaml.safe_dump(SKILL, sort_keys=False)),
    "knowledge": knowledge("created_by", new="me"),
    "knowledge v2": knowledge("version", new=2),
    "knowledge without version": knowledge("version"),
    "knowledge without domain": knowledge("domain"),
    "knowledge with a description": knowledge("task_description", new="Do it."),
    "knowledge with a relative repository": knowledge("document", "repo", new="./"),
    "knowledge without patterns": knowledge("document", "patterns", new=[]),
    "knowledge with a pattern twice": knowledge("document", "patterns", new=["*.md", "*.md"]),
    "knowledge with a pattern as text": knowledge("document", "patterns", new="*.md"),
    "knowledge with a number as commit": knowledge("document", "commit", new=1234567),
    "knowledge with an unknown key in its document": knowledge("document", "branch", new="main"),
    "knowledge with an unknown key in a pair": knowledge(*PAIR, "hint", new="none"),
    "knowledge with an unknown key in an example": knowledge("seed_examples", 1, "hint", new="none"),
    "knowledge with pairs that differ in a boolean and a number": pairs_with_hints("true", "1"),
    "knowledge with pairs that differ deep inside": pairs_with_hints("{a: [1, {b: false}]}", "{a: [1, {b: 0}]}"),
    "knowledge with pairs that are equal as numbers": pairs_with_hints("1", "1.0"),
    "knowledge with pairs of what is no number": pairs_with_hints(".nan", ".nan"),
    "knowledge with pairs of dates": pairs_with_hints("2026-01-01", "2026-01-01"),
    "knowledge below foundational skills": ("foundational_skills", yaml.safe_dump(KNOWLEDGE, sort_keys=False)),
    "knowledge with two pairs": knowledge("seed_examples", 1, "questions_and_answers", 2),
    "knowledge with a pair twice": knowledge(
        *PAIR, new=dict(KNOWLEDGE["seed_examples"][1]["questions_and_answers"][0])
    ),
    "knowledge with a number as answer": knowledge(*PAIR, "answer", new=12),
    "knowledge without a context": knowledge("seed_examples", 1, "context"),
    "an empty file": ("knowledge", ""),
    "a comment": ("knowledge", "# nothing yet\n"),
    "an empty mapping": ("knowledge", "{}\n"),
    "a list": ("knowledge", "- a\n"),
    "a text": ("knowledge", "a\n"),
    "no YAML": ("knowledge", "a: [\n"),
    "a control character": ("knowledge", "a: \x01\n"),
    "a tab as indentation": ("knowledge", "a:\n\tb: 1\n"),
    "nesting without end": ("knowledge", "[" * 3000),
    "half of a character": skill_text(half=("me", '"\\ud800"')),
    "a character in halves": skill_text(halves=("me", '"\\ud83d\\ude00"')),
    "a byte order mark": ("compositional_skills", "\ufeff" + yaml.safe_dump(SKILL, sort_keys=False)),
}


class InProcessParser(TaxonomyParser):
    """Calls the linter as a library: a process for each of hundreds of files takes a minute."""

    def __init__(self):
        super().__init__(schema_version=0, yamllint_strict=True, message_format="LOGGING")
        self.yq_available = False

    def _yamllint(self, text, taxonomy):
        for problem in linter.run(io.BytesIO(text.encode()), YamlLintConfig(self.yamllint_config), ""):
            taxonomy.error(problem.desc)


def verdict_of_instructlab(path, parser=None):
    parser = parser or TaxonomyParser(schema_version=0, yamllint_strict=True, message_format="LOGGING")
    try:
        return parser.parse(path).errors == 0
    except TaxonomyReadingException:
        return False


@pytest.mark.parametrize("name", FILES)
def test_the_verdict_is_that_of_instructlab(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # where it finds yamllint
    monkeypatch.setenv("PYTHONUTF8", "1")
    folder, text = FILES[name]
    path = tmp_path / folder / "leaf" / "qna.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode())
    faults = check_path(path).faults
    assert (not errors(faults)) == verdict_of_instructlab(path), [str(fault) for fault in faults]


VALUES = [
    *("yes", "NO", "~", "null", "", "0", "5", "017", "1_000", "1:30", ".5", ".inf", ".nan", "2026-01-01", "2026-13-01"),
    *(
        "=",
        "<<",
        "!!str 5",
        "!!int '5'",
        "!!binary aGk=",
        "!!set {a}",
        "!x y",
        "&a x",
        "*a",
        "3",
        "3.0",
        "'3'",
        "\uff13",
    ),
    *('"a\\x41"', '"\\ud800"', '"\\q"', "'it''s'", "'a'b", "[a, b]", "{a: b}", "- x", "? x", "a: b", "a #b", "a # b"),
    *("a:b", "-a", "@a", "`a`", "%a", "---", "...", "\u2028", "\x85", "\xa0", "\ufeff", "\x07", "\t", "a "),
]
LINES = [
    *("# yamllint disable", "# yamllint disable-line", "---", "...", "%YAML 1.1", "  # comment", "    ", "\tq: 1"),
    *("created_by: you", "version: 2", "x: [a,b]", "  - "),
]


def mutated(text, random):
    """With one or two places changed as people and programs change them."""
    for _ in range(random.choice([1, 1, 2])):
        lines = text.split("\n")
        at = random.randrange(len(lines))
        before, colon, _ = lines[at].partition(": ")
        match random.randrange(8):
            case 0 | 1 | 2:
                lines[at] = before + colon + random.choice(VALUES)
            case 3:
                lines.insert(at, random.choice(LINES))
            case 4:
                lines[at] = " " * random.randrange(4) + lines[at].lstrip()
            case 5:
                lines.insert(at, lines[random.randrange(len(lines))])
            case 6:
                del lines[at]
            case 7:
                place = random.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:place] + random.choice(VALUES) + lines[at][place:]
        text = "\n".join(lines)
    return text


ODD = [
    *(None, True, 0, 1, 3, 3.0, 2.5, -1, 10**30, float("nan"), float("inf"), date(2026, 1, 1), b"bytes"),
    *("", " ", "\n", "x", "3", "yes", "\t", "\u2028", "two\nlines\n", "é" * 200),
    *([], [None], ["a", "a"], [1, 1.0], [True, 1], [[]], {}, {1: 2}, {None: 1}, {"question": "q", "answer": "a"}),
]
KEYS = ["version", "created_by", "document", "context", "answer", "Question", "question ", "", 1, None, True, "<<"]
STYLES = [
    *({}, {"default_style": '"'}, {"default_style": "|"}, {"default_style": ">"}, {"default_flow_style": True}),
    *({"indent": 4}, {"indent": 6}, {"width": 30}, {"explicit_start": True}, {"explicit_end": True}),
    *({"allow_unicode": True}, {"sort_keys": True}, {"line_break": "\r\n"}, {"canonical": True}, {"version": (1, 1)}),
]


def places(value, path=()):
    """The path to every value below `value`."""
    steps = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for step in steps:
        yield (*path, step)
        yield from places(value[step], (*path, step))


def reshaped(value, random):
    """With one value dropped, doubled, put under another key, or another in its place."""
    value = copy.deepcopy(value)
    *above, last = random.choice(list(places(value)))
    place = functools.reduce(lambda place, step: place[step], above, value)
    match random.randrange(4):
        case 0:
            del place[last]
        case 1:
            place[last] = copy.deepcopy(random.choice(ODD))
        case 2 if isinstance(place, dict):
            place[random.choice(KEYS)] = place.pop(last)
        case _ if isinstance(place, list):
            place.insert(random.randrange(len(place) + 1), copy.deepcopy(place[last]))
        case _:
            place[last] = random.choice([f" {place[last]}", f"{place[last]}\n", [place[last]], str(place[last]) * 20])
    return value


@pytest.mark.parametrize("seed", range(2))
def test_the_verdict_is_that_of_instructlab_on_files_of_another_shape(seed, tmp_path):
    random = Random(seed)
    parser = InProcessParser()
    for number in range(150):
        folder, value = random.choice([("knowledge", KNOWLEDGE), ("compositional_skills", SKILL), ("x", SMALL)])
        for _ in range(random.choice([0, 1, 1, 2])):
            value = reshaped(value, random)
        path = tmp_path / str(number) / folder / "leaf" / "qna.yaml"
        path.parent.mkdir(parents=True)
        path.write_bytes(yaml.safe_dump(value, **{"sort_keys": False} | random.choice(STYLES)).encode())
        faults = check_path(path).faults
        assert (not errors(faults)) == verdict_of_instructlab(path, parser), (path.read_text(), list(map(str, faults)))


@pytest.mark.parametrize("seed", range(4))
def test_the_verdict_is_that_of_instructlab_on_files_changed_at_random(seed, tmp_path):
    random = Random(seed)
    good = [FILES[name] for name in ("skill", "skill v1", "skill with contexts", "knowledge")]
    parser = InProcessParser()
    for number in range(150):
        folder, text = random.choice(good)
        path = tmp_path / str(number) / folder / "leaf" / "qna.yaml"
        path.parent.mkdir(parents=True)
        path.write_bytes(mutated(text, random).encode())
        faults = check_path(path).faults
        assert (not errors(faults)) == verdict_of_instructlab(path, parser), (path.read_text(), list(map(str, faults)))
