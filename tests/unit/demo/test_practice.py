import random
import re
from pathlib import Path

import practice
import pytest

from instructlab_pipeline.sdg.extractive.facts import facts_of
from instructlab_pipeline.sdg.extractive.wordings import question, wordings_of

DOCUMENTS = sorted((Path(practice.__file__).parents[1] / "documents").glob("*.md"))


@pytest.fixture(scope="module")
def text():
    return "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)


@pytest.fixture(scope="module")
def facts():
    return [fact for document in DOCUMENTS for fact in facts_of(document.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def exchanges():
    return [(asked["content"], answer["content"]) for asked, answer in practice.conversations()]


def test_no_practice_thing_is_named_in_the_documents(text):
    generator = random.Random(practice.SEED)
    subjects = [subject for domain in practice.DOMAINS for subject, _ in practice.things(domain, generator)]
    written = set(re.findall(r"\w+", text.lower()))
    names = {re.sub(r"^the | Bridge$", "", subject).lower() for subject in subjects}
    assert len(names) >= 100
    assert not names & written


def test_no_practice_answer_in_words_is_an_answer_of_the_taxonomy(facts, exchanges):
    answers = {fact.object.lower() for fact in facts if not re.search(r"\d", fact.object)}
    assert not answers & {answer.lower() for _, answer in exchanges}


def test_every_relation_of_the_documents_is_practised(facts):
    assert {fact.relation for fact in facts} <= {name for domain in practice.DOMAINS for name in domain.answers}


def test_details_are_those_of_the_documents(facts):
    assert {fact.relation: fact.detail for fact in facts if fact.detail} == practice.DETAILS


def test_a_fact_is_asked_for_in_every_wording_and_always_answered_alike(exchanges):
    subject, told = next(practice.things(practice.DOMAINS[0], random.Random(practice.SEED)))
    for relation, answer in told.items():
        for wording in wordings_of(relation):
            assert (question(wording, subject), answer) in exchanges


def test_practice_is_the_same_each_time():
    assert practice.conversations() == practice.conversations()


def test_no_blank_stays_open(exchanges):
    assert not [exchange for exchange in exchanges if "{" in "".join(exchange)]
