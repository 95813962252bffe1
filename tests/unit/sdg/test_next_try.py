import pytest

from instructlab_pipeline.sdg.calls import REFUSED, Call, Form
from instructlab_pipeline.sdg.replies import BadReply
from instructlab_pipeline.sdg.rows import LAST_TRY, TRAINING, Ask, Row, next_try

ROW = Row(place=(0, 0), ask=Ask(stream=TRAINING, chunk=None, form="", batch=0, seed_example=0, count=1, before=0))


def tries_after(reason, *, finish="stop"):
    tries, row = [], ROW
    while row is not None:
        tries.append(row.tries)
        row = next_try(row, BadReply(reason, ""), finish=finish)
    return tries


@pytest.mark.parametrize("reason", ["empty", "not_json", "truncated"])
def test_what_may_have_broken_on_its_way_is_asked_for_again_and_then_anew(reason):
    assert tries_after(reason) == [0, 1, 2, LAST_TRY]


def test_what_the_model_does_wrong_is_asked_anew_at_once():
    assert tries_after("not_as_asked") == [0, LAST_TRY]
    assert tries_after("truncated", finish="length") == [0, LAST_TRY]


def test_a_call_that_was_refused_is_not_asked_again():
    assert tries_after("refused_by_endpoint", finish=REFUSED) == [0]


def test_the_same_call_is_known_by_one_key_and_each_attempt_by_its_own():
    form = Form(sampling={}, schema_name="s", schema={})
    calls = [Call(model="m", messages=[], form=form, random_seed=1, tries=tries) for tries in range(3)]
    assert len({call.key for call in calls}) == 1
    assert len({call.attempt_key for call in calls} | {calls[0].key}) == 4
