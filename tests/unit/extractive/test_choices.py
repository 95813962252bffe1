from instructlab_pipeline.sdg.extractive.replies import reply

DOCUMENT = (
    "The erhu comes from China. The erhu has two strings. The erhu is played with a bow. "
    "The kora comes from Mali. The kora has twenty-one strings."
)
ASKED = f"<document>{DOCUMENT}</document> <form>fact</form> <count>50</count> <batch>0</batch>"


def items():
    return reply("multiple_choice_items", ASKED, {})["items"]


def choices_of(item):
    return [item[name] for name in ("answer", "wrong_1", "wrong_2", "wrong_3")]


def test_every_fact_with_three_others_beside_it_becomes_an_item():
    assert len(items()) == 5
    for item in items():
        assert len(set(choices_of(item))) == 4


def test_a_wrong_choice_is_of_the_same_kind_where_there_is_one():
    wrong = {item["answer"]: item["wrong_1"] for item in items()}
    assert (wrong["China"], wrong["two"]) == ("Mali", "twenty-one")


def test_the_teacher_finds_its_own_key_again_by_the_document_alone():
    for item in items():
        shown = "".join(f"<choice>{choice}</choice>" for choice in reversed(choices_of(item)))
        prompt = f"<document>{DOCUMENT}</document><question>{item['question']}</question>{shown}"
        assert reply("choice", prompt, {}) == {"chosen": item["answer"]}


def test_a_question_that_the_document_does_not_answer_has_no_right_choice():
    prompt = f"<document>{DOCUMENT}</document><question>Who built it?</question><choice>China</choice>"
    assert reply("choice", prompt, {}) == {"chosen": "none"}


def test_a_document_with_few_facts_gives_no_item():
    prompt = ASKED.replace(DOCUMENT, "The erhu comes from China. The erhu has two strings.")
    assert reply("multiple_choice_items", prompt, {}) == {"items": []}
