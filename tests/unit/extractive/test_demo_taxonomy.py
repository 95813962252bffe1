import importlib.util
import os
import re
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from instructlab.schema.taxonomy import TaxonomyParser

from instructlab_pipeline.sdg.extractive.facts import facts_of
from instructlab_pipeline.sdg.extractive.skills import MOST, Example, skill_for
from instructlab_pipeline.sdg.extractive.variety import likeness, words_of
from instructlab_pipeline.sdg.extractive.verdicts import Case, points_elsewhere
from instructlab_pipeline.sdg.extractive.wordings import FORMS, WORDINGS, pairs, wordings_of

EXAMPLES = Path(__file__).parents[3] / "examples"
TAXONOMY = EXAMPLES / "taxonomy"
LEAVES = sorted(path.parent.relative_to(TAXONOMY).as_posix() for path in TAXONOMY.rglob("qna.yaml"))
KNOWLEDGE = [leaf for leaf in LEAVES if leaf.startswith("knowledge/")]
SKILLS = [leaf for leaf in LEAVES if leaf.startswith("compositional_skills/")]
DOCUMENTS = sorted(path.name for path in (EXAMPLES / "documents").iterdir())
DUPLICATE = 0.8  # a common limit on shared words


def qna(leaf):
    return yaml.safe_load((TAXONOMY / leaf / "qna.yaml").read_text())


def text_of(document):
    return (EXAMPLES / "documents" / document).read_text()


def skill_of(leaf):
    return skill_for(
        [Example(question=item["question"], context=item.get("context")) for item in qna(leaf)["seed_examples"]]
    )


def test_there_are_knowledge_freeform_and_grounded_leaves():
    grounded = [leaf for leaf in SKILLS if "context" in qna(leaf)["seed_examples"][0]]
    assert (len(KNOWLEDGE), len(SKILLS) - len(grounded), len(grounded)) == (4, 2, 1)


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_passes_instructlabs_own_schema_and_linter(leaf, monkeypatch, capsys):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # yamllint
    parser = TaxonomyParser(schema_version=0, yamllint_strict=True, message_format="standard")
    monkeypatch.chdir(TAXONOMY)
    parsed = parser.parse(Path(leaf) / "qna.yaml")
    assert (parsed.errors, parsed.warnings) == (0, 0), capsys.readouterr().out


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_has_seed_examples_and_an_attribution(leaf):
    assert len(qna(leaf)["seed_examples"]) >= 5
    assert re.match(r"Title of work: .+\nLink to work: ", (TAXONOMY / leaf / "attribution.txt").read_text())


def test_knowledge_leaves_name_the_commit_that_the_demo_builds(tmp_path):
    specification = importlib.util.spec_from_file_location("repositories", EXAMPLES / "demo" / "repositories.py")
    repositories = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(repositories)
    commit = repositories.build_documents(EXAMPLES / "documents", tmp_path / "documents")
    assert {leaf: qna(leaf)["document"]["commit"] for leaf in KNOWLEDGE} == dict.fromkeys(KNOWLEDGE, commit)
    assert sorted(pattern for leaf in KNOWLEDGE for pattern in qna(leaf)["document"]["patterns"]) == DOCUMENTS


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_is_a_few_pages_of_prose_under_headings(document):
    text = text_of(document)
    assert 700 <= len(text.split()) <= 1200
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == 6


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_states_enough_facts_in_enough_wordings(document):
    facts = facts_of(text_of(document))
    assert len(facts) >= 28
    assert set(Counter(fact.relation for fact in facts).values()) == {6}
    assert all(len(set(wordings_of(fact.relation, detail=fact.detail))) >= 6 for fact in facts)
    assert len(pairs(facts, form="fact", seed=document)) >= 170


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_fact_can_be_read_in_its_section_alone(document):
    whole = facts_of(text_of(document))
    sections = re.split(r"^(?=## )", text_of(document), flags=re.MULTILINE)
    assert [fact for section in sections for fact in facts_of(section)] == list(whole)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_answers_of_a_document_are_short(document):
    assert all(len(fact.object.split()) <= 4 for fact in facts_of(text_of(document)))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_questions_on_a_document_differ_and_stand_alone(document):
    asked = [pair.question for pair in pairs(facts_of(text_of(document)), form="fact", seed=document)]
    for one, other in combinations(map(words_of, asked), 2):
        assert likeness(one, other) < DUPLICATE, (sorted(one), sorted(other))
    assert not [text for text in asked if points_elsewhere(Case(question=text, answer=None, document="", context=None))]


@pytest.mark.parametrize("leaf", KNOWLEDGE)
def test_seed_examples_agree_with_the_document(leaf):
    [document] = qna(leaf)["document"]["patterns"]
    stated = {
        pair.question: pair.answer
        for form in FORMS
        for pair in pairs(facts_of(text_of(document)), form=form, seed="any")
    }
    for example in qna(leaf)["seed_examples"]:
        for item in example["questions_and_answers"]:
            assert stated[item["question"]] == item["answer"]
            assert item["answer"] in " ".join(example["context"].split())


@pytest.mark.parametrize("leaf", SKILLS)
def test_seed_examples_of_a_skill_are_answered_as_they_say(leaf):
    skill = skill_of(leaf)
    for item in qna(leaf)["seed_examples"]:
        assert skill.answer(item["question"], item.get("context")) == item["answer"]


@pytest.mark.parametrize("leaf", SKILLS)
def test_a_skill_can_think_of_enough_that_differs(leaf):
    skill = skill_of(leaf)
    contexts = skill.contexts() or (None,)
    asked = [(context, text) for context in contexts for text in skill.instructions(context, count=MOST)]
    answers = {skill.answer(text, context) for context, text in asked}
    assert None not in answers
    assert len(contexts if contexts[0] else asked) >= 250
    assert len(asked) == len(set(asked))


def test_relations_and_wordings_leave_no_blank():
    for relation in WORDINGS:
        for template in wordings_of(relation, detail="x"):
            assert re.findall(r"\{.*?\}", template) == ["{subject}"]
