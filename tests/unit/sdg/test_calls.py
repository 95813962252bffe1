import json

from instructlab_pipeline.sdg.calls import Call, Form

FORM = Form(
    sampling={"temperature": 0.7, "max_tokens": 20},
    schema_name="answer",
    schema={"type": "object", "properties": {"answer": {"type": "string"}}},
)
CHAT = [{"role": "system", "content": 'Say "hé".'}, {"role": "user", "content": "a\n\u2028b"}]


def call(**changed):
    return Call(**{"model": "m/1", "messages": CHAT, "form": FORM, "random_seed": 42, **changed})


def test_a_body_is_the_json_of_a_chat_completion():
    asked = json.loads(call().body)
    assert asked == {
        "model": "m/1",
        "messages": CHAT,
        "temperature": 0.7,
        "max_tokens": 20,
        "seed": call().seed,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": FORM.schema, "strict": True},
        },
    }


def test_a_form_without_sampling_leaves_no_gap_in_the_json():
    assert "seed" in json.loads(call(form=Form(sampling={}, schema_name="s", schema={})).body)


def test_keys_stay_what_they_were_so_that_no_journal_is_lost_to_an_update():
    assert call().key == "4a3a8a1aafc24427943a08a093c471fc403ecd30d2e1ba1f2724f700bf607d51"


def test_another_variant_or_another_random_seed_is_another_call():
    calls = [call(), call(variant=1), call(random_seed=43)]
    assert len({asked.seed for asked in calls}) == len({asked.key for asked in calls}) == 3
    assert all(0 <= asked.seed < 2**31 for asked in calls)
