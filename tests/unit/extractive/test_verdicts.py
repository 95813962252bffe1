import pytest

from instructlab_pipeline.sdg.extractive.verdicts import NO_OBJECTION, Case, verdict

MARK = {"type": "integer", "minimum": 1, "maximum": 5}
KNOWLEDGE = {"reason": {"type": "string"}, "faithfulness": MARK, "relevance": MARK, "standalone": MARK}
SKILL = {"reason": {"type": "string"}, "correctness": MARK, "relevance": MARK}
DOCUMENT = "Io orbits Jupiter. Io has a diameter of 3,643 kilometres."


def about_document(question, answer):
    return verdict(Case(question=question, answer=answer, document=DOCUMENT, context=None), KNOWLEDGE)


def about_task(question, answer, context=None):
    return verdict(Case(question=question, answer=answer, document=None, context=context), SKILL)


def test_a_good_pair_gets_the_best_mark_everywhere():
    made = about_document("How wide is Io?", "3,643 kilometres")
    assert made == {"reason": NO_OBJECTION, "faithfulness": 5, "relevance": 5, "standalone": 5}


@pytest.mark.parametrize(
    ("question", "answer", "failed"),
    [
        ("How wide is Io?", "3,644 kilometres", {"faithfulness"}),
        ("How wide is it?", "3,643 kilometres", {"relevance", "standalone"}),
        ("According to the document, what does Io orbit?", "Jupiter", {"standalone"}),
        ("How old are you?", "3,643 kilometres", {"relevance"}),
        ("How wide is Io?", "", {"faithfulness", "relevance", "standalone"}),
        ("", "Jupiter", {"faithfulness", "relevance", "standalone"}),
    ],
)
def test_an_objection_gives_the_worst_mark_to_its_criterion(question, answer, failed):
    made = about_document(question, answer)
    assert {name for name, mark in made.items() if mark == 1} == failed
    assert made["reason"] != NO_OBJECTION


def test_a_skills_answer_must_be_what_the_rules_give():
    assert about_task("What quarter is 3 March 2019 in?", "Q1")["correctness"] == 5
    wrong = about_task("What quarter is 3 March 2019 in?", "Q2")
    assert (wrong["correctness"], wrong["reason"]) == (1, 'By the rules the answer is "Q1".')


def test_an_answer_that_no_rule_can_check_does_not_pass():
    assert about_task("Write a poem about tin.", "Tin, o tin!")["correctness"] == 1


def test_a_grounded_answer_is_checked_against_its_context():
    notice = "Every Friday the red room belongs to the choir."
    assert about_task("Which room belongs to the choir?", "the red room", notice)["correctness"] == 5
    assert about_task("Which room belongs to the choir?", "the blue room", notice)["correctness"] == 1


def test_an_instruction_without_an_answer_can_be_judged():
    made = verdict(
        Case(question="What quarter is 3 March 2019 in?", answer=None, document=None, context=None),
        {"reason": {"type": "string"}, "relevance": MARK, "clarity": MARK},
    )
    assert made == {"reason": NO_OBJECTION, "relevance": 5, "clarity": 5}


def test_an_unknown_criterion_is_met_where_every_rule_is():
    properties = {"elegance": {"type": "integer", "minimum": 0, "maximum": 10}}
    good = Case(question="What does Io orbit?", answer="Jupiter", document=DOCUMENT, context=None)
    bad = Case(question="What does Io orbit?", answer="Saturn", document=DOCUMENT, context=None)
    assert verdict(good, properties)["elegance"] == 10
    assert verdict(bad, properties)["elegance"] == 0
