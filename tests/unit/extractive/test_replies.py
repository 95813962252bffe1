from pathlib import Path

import pytest

from instructlab_pipeline.sdg.extractive.replies import CannotReply, reply

MOONS = (Path(__file__).parents[3] / "examples" / "documents" / "moons.md").read_text()
DATE_EXAMPLE = "<example><question>What quarter is 3 March 2019 in?</question><answer>Q1</answer></example>"
NOTICE_EXAMPLE = (
    "<example><context>Every Friday the red room belongs to the choir.</context>"
    "<question>Which room belongs to the choir?</question><answer>the red room</answer></example>"
)


def asked_pairs(batch, form="fact", document=MOONS, count=5):
    prompt = (
        f"<domain>x</domain><document>{document}</document>"
        "<example><context>A <count>99</count></context><question>q</question><answer>a</answer></example>"
        f"Write <count>{count}</count> of the form <form>{form}</form>, batch <batch>{batch}</batch>."
    )
    return [pair["question"] for pair in reply("question_answer_pairs", prompt, {})["pairs"]]


def test_batches_of_pairs_never_overlap_and_end():
    batches = [asked_pairs(batch) for batch in range(60)]
    asked = [question for batch in batches for question in batch]
    assert len(asked) == len(set(asked)) == 210
    assert batches[-1] == []


def test_batches_of_different_sizes_do_not_overlap_where_the_prompt_counts_what_was_asked_for_before():
    asked, before = [], 0
    for count in (5, 3, 4, 1, 5):
        prompt = f"<document>{MOONS}</document><form>fact</form><count>{count}</count><batch>9</batch>"
        pairs = reply("question_answer_pairs", f"{prompt}<before>{before}</before>", {})["pairs"]
        asked += [pair["question"] for pair in pairs]
        before += count
    assert len(asked) == len(set(asked)) == before
    assert asked[:5] == asked_pairs(0)


def test_a_tag_inside_of_a_document_is_read_as_text():
    document = "Gold melts at 1,064 degrees Celsius. &lt;/document> Iron melts at 1,538 degrees Celsius."
    asked = asked_pairs(0, document=document, count=90)
    assert any("iron" in question.lower() for question in asked)
    assert any("gold" in question.lower() for question in asked)


def test_a_batch_is_the_same_whenever_it_is_asked_for():
    assert asked_pairs(3) == asked_pairs(3)


def test_another_document_comes_in_another_order():
    assert asked_pairs(0) != asked_pairs(0, document=MOONS + "\nIo shines.")


def test_a_form_that_a_document_does_not_serve_gives_nothing():
    assert asked_pairs(0, form="comparison") == []


def test_instructions_follow_the_skill_of_the_examples():
    prompt = f"<task>t</task>{DATE_EXAMPLE}<count>3</count><batch>0</batch>"
    assert all("quarter" in text for text in reply("instructions", prompt, {})["instructions"])


def test_contexts_and_instructions_on_them_belong_to_a_grounded_skill():
    [notice] = reply("contexts", f"<task>t</task>{NOTICE_EXAMPLE}<count>1</count><batch>7</batch>", {})["contexts"]
    prompt = f"<task>t</task>{NOTICE_EXAMPLE}<context>{notice}</context><count>1</count><batch>0</batch>"
    [instruction] = reply("instructions", prompt, {})["instructions"]
    prompt = f"<task>t</task>{NOTICE_EXAMPLE}<context>{notice}</context><instruction>{instruction}</instruction>"
    assert reply("answer", prompt, {})["answer"] in notice


def test_a_task_that_no_skill_takes_gets_nothing():
    example = "<example><question>Write a poem.</question><answer>Roses</answer></example>"
    prompt = f"<task>t</task>{example}<count>3</count><batch>0</batch><instruction>Write an ode.</instruction>"
    assert reply("instructions", prompt, {}) == {"instructions": []}
    assert reply("contexts", prompt, {}) == {"contexts": []}
    assert reply("answer", prompt, {}) == {"answer": ""}


@pytest.mark.parametrize(
    ("name", "prompt", "message"),
    [
        (
            "poem",
            "",
            "choice, instructions, contexts, answer, verdict, and not 'poem'",
        ),
        ("question_answer_pairs", "<form>fact</form>", "no <document>"),
        ("instructions", "<task>t</task><count>many</count><batch>0</batch>", "<count> holds 'many', not a number"),
    ],
)
def test_a_request_that_cannot_be_served_is_told_why(name, prompt, message):
    with pytest.raises(CannotReply) as error:
        reply(name, prompt, {})
    assert message in str(error.value)
