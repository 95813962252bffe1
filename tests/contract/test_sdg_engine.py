"""The sdg stage against a real server: exact counts, the same bytes whatever happens on the way, nothing paid twice."""

import json
import random
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.sdg.stage import fingerprint
from servers.sdg_inputs import (
    FREEFORM,
    GROUNDED,
    KNOWLEDGE,
    leaf,
    outputs,
    records,
    run_sdg,
    sdg_inputs,
    seal_taxonomy,
    three_chunks,
    three_leaves,
)
from servers.teacher_server import MODEL, TeacherServer, tags, verdict

TESTS = Path(__file__).parents[1]
TRANSPORT_FAULTS = {"500": 0.05, "503": 0.02, "429": 0.02, "disconnect": 0.02, "cut": 0.02}


@pytest.fixture
def taxonomy(tmp_path):
    return seal_taxonomy(tmp_path / "taxonomy")


@pytest.fixture
def clean(tmp_path, taxonomy):
    """What an undisturbed run gives."""
    with TeacherServer() as teacher:
        run_sdg(tmp_path / "clean", sdg_inputs(taxonomy, teacher.url))
    return outputs(tmp_path / "clean")


def test_every_leaf_ends_with_exactly_its_target_spread_evenly(tmp_path, taxonomy):
    with TeacherServer(scripts={"verdict": partial(verdict, share_of_passes=1.0)}) as teacher:
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url, sdg_scale_factor=10, eval_num_samples=14))
    samples = records(tmp_path, "samples")
    assert facts["samples"] == facts["target"] == len(samples) == 3 * 3 * 10
    by_example = Counter((sample["leaf"], sample["seed_example"]) for sample in samples)
    assert set(by_example.values()) == {10}
    by_chunk = Counter(sample["chunk"] for sample in samples if sample["leaf"] == KNOWLEDGE)
    assert sorted(by_chunk.values()) == [10, 10, 10]
    assert set(Counter(item["leaf"] for item in records(tmp_path, "evaluation")).values()) == {5}


def test_samples_come_leaf_by_leaf_in_turns_and_say_where_they_come_from(tmp_path, taxonomy):
    with TeacherServer() as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
    samples = records(tmp_path, "samples")
    assert samples == sorted(samples, key=lambda sample: sample["leaf"])
    assert [sample["seed_example"] for sample in samples[:6]] == [0, 1, 2, 0, 1, 2]
    assert len({sample["id"] for sample in samples}) == len(samples)
    for sample in samples:
        assert sample["quality"] == min(sample["scores"].values()) >= 0.7
        assert sample["lineage"]["teacher"] == sample["lineage"]["judge"] == MODEL
    steps = Counter((sample["kind"], len(sample["lineage"]["calls"])) for sample in samples)
    assert set(steps) == {("knowledge", 2), ("freeform", 4), ("grounded", 5)}
    knowledge = next(sample for sample in samples if sample["kind"] == "knowledge")
    assert knowledge["context"].startswith("Moon number")
    assert knowledge["document"].keys() == {"repo", "commit", "path", "start", "end"}
    assert next(sample for sample in samples if sample["kind"] == "freeform")["context"] is None


def test_every_candidate_is_accounted_for(tmp_path, taxonomy):
    with TeacherServer(faults={"garbage": 0.3, "empty": 0.1, "truncated": 0.1, "refused": 0.02}) as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url, sdg_scale_factor=20))
    rejected = Counter(record["leaf"] for record in records(tmp_path, "rejected"))
    reasons = Counter(record["reason"] for record in records(tmp_path, "rejected"))
    assert {"low_quality", "surplus", "refused_by_endpoint"} <= set(reasons)
    assert {"not_json", "empty", "truncated"} & set(reasons)
    for path, funnel in json.loads((tmp_path / "sdg/funnel.json").read_text()).items():
        assert funnel["accepted"] + funnel["shortfall"] == funnel["target"] == 60
        assert sum(funnel["rejected"].values()) == rejected[path]
        assert funnel["candidates"] == funnel["accepted"] + funnel["evaluation"] + rejected[path]


def test_the_evaluation_takes_its_own_first_batches_and_shares_no_question(tmp_path, taxonomy):
    with TeacherServer() as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url, eval_num_samples=30))
    held_out = {item["question"] for item in records(tmp_path, "evaluation")}
    assert len(held_out) == 30
    assert not held_out & {sample["question"] for sample in records(tmp_path, "samples")}
    asked = [
        (tags(request)["document"], tags(request)["form"]) for request in teacher.asked_for("question_answer_pairs")
    ]
    batches = [tags(request)["batch"] for request in teacher.asked_for("question_answer_pairs")]
    assert len(set(zip(asked, batches, strict=True))) == len(batches)


@pytest.mark.parametrize("in_flight", [1, 2, 3, 5, 8, 16, 29, 64])
def test_the_bytes_are_the_same_whatever_the_order_and_the_transport_faults(tmp_path, taxonomy, clean, in_flight):
    latency_s = (0.0, random.Random(in_flight).choice([0.002, 0.01, 0.03]))
    with TeacherServer(latency_s=latency_s, faults=TRANSPORT_FAULTS if in_flight > 2 else {}) as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url, sdg_num_workers=1, sdg_batch_size=in_flight))
        assert teacher.most_in_flight <= in_flight
    assert outputs(tmp_path) == clean
    assert teacher.repeated() == 0


def test_the_in_flight_limit_is_used_and_kept(tmp_path, taxonomy):
    with TeacherServer(latency_s=(0.02, 0.02)) as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url, sdg_num_workers=3, sdg_batch_size=4))
    assert teacher.most_in_flight == 12


def test_an_endpoint_with_little_room_slows_the_run_and_loses_nothing(tmp_path, taxonomy, clean):
    with TeacherServer(latency_s=(0.005, 0.01), room=3) as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
    assert outputs(tmp_path) == clean


def test_a_second_run_pays_for_nothing(tmp_path, taxonomy):
    with TeacherServer() as teacher:
        first = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
        before = outputs(tmp_path)
        second = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
    assert outputs(tmp_path) == before
    assert (second["calls"]["made"], second["calls"]["reused"]) == (0, first["calls"]["made"])
    assert second["tokens"] == first["tokens"]
    assert sum(teacher.answered.values()) == first["calls"]["made"]


def test_a_changed_leaf_alone_is_made_again(tmp_path, taxonomy):
    with TeacherServer() as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
        leaves = three_leaves()
        changed = next(record for record in leaves if record["path"] == FREEFORM)
        changed["seed_examples"][0]["pairs"][0]["answer"] = "Quite another answer."
        changed["digest"] = digest_of(changed)
        second = seal_taxonomy(tmp_path / "second", leaves=leaves)
        facts = run_sdg(tmp_path, sdg_inputs(second, teacher.url))
    made = {path: counts["made"] for path, counts in facts["leaves"].items()}
    assert made.pop(FREEFORM) > 0
    assert set(made.values()) == {0}


def test_a_teacher_that_runs_dry_ends_in_a_counted_shortfall(tmp_path):
    def three_and_no_more(asked):
        found = tags(asked)
        if found["batch"] != "0" or found["form"] != "fact":
            return {"pairs": []}
        return {
            "pairs": [{"question": f"{found['document']} {word}?", "answer": word} for word in ("ONE", "TWO", "SIX")]
        }

    taxonomy = seal_taxonomy(tmp_path / "taxonomy", leaves=[leaf(KNOWLEDGE, "knowledge")], chunks=three_chunks(count=9))
    notices = []
    all_pass = partial(verdict, share_of_passes=1.0)
    with TeacherServer(scripts={"question_answer_pairs": three_and_no_more, "verdict": all_pass}) as teacher:
        inputs = sdg_inputs(taxonomy, teacher.url, sdg_scale_factor=100, eval_num_samples=2)
        run_sdg(
            tmp_path, inputs, [lambda event: notices.append(event["message"]) if event["name"] == "notice" else None]
        )
    funnel = json.loads((tmp_path / "sdg/funnel.json").read_text())[KNOWLEDGE]
    assert funnel["evaluation"] == 2
    assert 0 < funnel["accepted"] <= 27
    assert funnel["shortfall"] == 300 - funnel["accepted"]
    assert any("300 samples" in notice for notice in notices)


def test_held_out_questions_that_leave_nothing_to_train_on_name_their_parameter(tmp_path):
    def the_same_three(asked):
        document = tags(asked)["document"]
        return {"pairs": [{"question": f"{document} {word}?", "answer": word} for word in ("ONE", "TWO", "SIX")]}

    taxonomy = seal_taxonomy(tmp_path / "taxonomy", leaves=[leaf(KNOWLEDGE, "knowledge")], chunks=three_chunks(count=2))
    all_pass = partial(verdict, share_of_passes=1.0)
    with TeacherServer(scripts={"question_answer_pairs": the_same_three, "verdict": all_pass}) as teacher:
        inputs = sdg_inputs(taxonomy, teacher.url, eval_num_samples=100)
        with pytest.raises(SourceError, match="not one sample was accepted") as caught:
            run_sdg(tmp_path, inputs)
    assert "lower eval_num_samples" in caught.value.remedy


def test_need_moves_on_from_what_is_exhausted_and_that_costs_no_round(tmp_path):
    def facts_only(asked):
        found = tags(asked)
        first = 5 * int(found["batch"])
        numbers = range(first, first + 5) if found["form"] == "fact" else ()
        return {"pairs": [{"question": f"{found['document']} Item {number}?", "answer": "Yes"} for number in numbers]}

    taxonomy = seal_taxonomy(tmp_path / "taxonomy", leaves=[leaf(KNOWLEDGE, "knowledge")])
    all_pass = partial(verdict, share_of_passes=1.0)
    with TeacherServer(scripts={"question_answer_pairs": facts_only, "verdict": all_pass}) as teacher:
        inputs = sdg_inputs(taxonomy, teacher.url, sdg_scale_factor=40, eval_num_samples=10, sdg_max_attempts=1)
        facts = run_sdg(tmp_path, inputs)
    assert facts["samples"] == 120


def test_wordings_that_the_teacher_repeats_are_no_second_sample(tmp_path):
    def same_again(asked):
        return {
            "instructions": [
                "Name the largest moon!",
                "name the   largest Moon",
                *(f"Name moon {n}." for n in range(3)),
            ]
        }

    taxonomy = seal_taxonomy(tmp_path / "taxonomy", leaves=[leaf(FREEFORM, "freeform")], chunks=[])
    with TeacherServer(scripts={"instructions": same_again}) as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url, eval_num_samples=1))
    questions = [sample["question"] for sample in records(tmp_path, "samples")]
    assert len(questions) == len(set(questions)) <= 4
    reasons = Counter(record["reason"] for record in records(tmp_path, "rejected"))
    assert reasons["duplicate"] > 0
    assert reasons["in_evaluation_set"] > 0


def test_what_leaves_have_in_common_is_kept_once_and_every_leaf_still_ends_with_its_target(tmp_path):
    def from_a_small_stock(asked):
        """Twenty questions that every leaf knows, shuffled, and then some of its own."""
        found = tags(asked)
        if found["batch"] in "0123":
            return {"instructions": [f"Name moon number {5 * int(found['batch']) + index}." for index in range(5)]}
        return {"instructions": [f"Describe {found['task']} {found['batch']} {index}." for index in range(5)]}

    leaves = [leaf(f"compositional_skills/{name}", "freeform") for name in ("one", "two", "three")]
    taxonomy = seal_taxonomy(tmp_path / "taxonomy", leaves=leaves, chunks=[])
    digests = set()
    for attempt in range(2):
        with TeacherServer(scripts={"instructions": from_a_small_stock}, latency_s=(0.0, 0.01 * attempt)) as teacher:
            folder = tmp_path / str(attempt)
            facts = run_sdg(folder, sdg_inputs(taxonomy, teacher.url, sdg_scale_factor=10, eval_num_samples=9))
            assert teacher.repeated() == 0
        digests.add(digest_of([facts["tokens"], {name: text.decode() for name, text in outputs(folder).items()}]))
    assert len(digests) == 1
    assert facts["calls"] == {"made": sum(teacher.answered.values()), "reused": 0, "retries": 0}
    assert {counts["accepted"] for counts in facts["leaves"].values()} == {30}
    assert facts["evaluation"] == 9
    questions = [record["question"] for name in ("samples", "evaluation") for record in records(folder, name)]
    assert len(set(questions)) == len(questions) == 99
    assert any("like one of" in record["detail"] for record in records(folder, "rejected"))


def test_a_finished_leaf_is_taken_as_it_is_also_without_the_journal(tmp_path, taxonomy):
    with TeacherServer() as teacher:
        first = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
        before = outputs(tmp_path)
        shutil.rmtree(tmp_path / "cache" / "journal")
        second = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
        assert sum(teacher.answered.values()) == first["calls"]["made"]
    assert outputs(tmp_path) == before
    assert second["tokens"] == first["tokens"]
    assert second["calls"] == {"made": 0, "reused": first["calls"]["made"], "retries": first["calls"]["retries"]}


def test_a_finished_leaf_that_was_copied_half_is_made_again_from_the_journal(tmp_path, taxonomy):
    with TeacherServer() as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
        before = outputs(tmp_path)
        for path in (tmp_path / "cache" / "leaves").glob("*/candidates.jsonl"):
            path.write_bytes(path.read_bytes()[:-100])
        facts = run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
        assert teacher.repeated() == 0
    assert outputs(tmp_path) == before
    assert facts["calls"]["made"] == 0


def test_a_flow_by_path_makes_its_kind_of_leaf_anew_and_no_other(tmp_path, taxonomy):
    flow = TESTS.parent / "examples/flows/terms.yaml"
    with TeacherServer() as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url))
        before = fingerprint(sdg_inputs(taxonomy, teacher.url))
        inputs = sdg_inputs(taxonomy, teacher.url, sdg_flows=str(flow))
        facts = run_sdg(tmp_path, inputs)
        assert fingerprint(inputs) != before
    assert {path for path, counts in facts["leaves"].items() if counts["made"]} == {KNOWLEDGE}
    flows = {sample["leaf"]: sample["lineage"]["flow"] for sample in records(tmp_path, "samples")}
    assert flows == {KNOWLEDGE: "terms", FREEFORM: "freeform", GROUNDED: "grounded"}
    assert (tmp_path / "sdg/flows/terms.yaml").read_text() == flow.read_text()


def test_multiple_choice_items_are_made_when_a_metric_asks_for_them_each_with_a_key_found_twice(tmp_path, taxonomy):
    with TeacherServer() as teacher:
        inputs = sdg_inputs(taxonomy, teacher.url)
        run_sdg(tmp_path, inputs)
        plain, before = outputs(tmp_path), fingerprint(inputs)
        assert not (tmp_path / "sdg/multiple_choice.jsonl").exists()
        asking = sdg_inputs(taxonomy, teacher.url, eval_metrics=("accuracy", "mcq_accuracy"), eval_num_samples=6)
        facts = run_sdg(tmp_path, asking)
        assert fingerprint(asking) != before
    items = records(tmp_path, "multiple_choice")
    assert len(items) == 6
    for item in items:
        word = item["question"].split()[2]
        assert item["choices"][item["key"]] == item["reference"] == f"For {word}"
        assert len(set(item["choices"])) == 4
        assert (item["kind"], item["leaf"], item["context"]) == ("mcq", KNOWLEDGE, None)
        assert item["document"]["path"] == "moons.md"
        assert len(item["lineage"]["calls"]) == 3
    assert {item["key"] for item in items} != {0}
    assert (tmp_path / "sdg/samples.jsonl").read_bytes() == plain["samples.jsonl"]
    funnel = json.loads((tmp_path / "sdg/funnel.json").read_text())[f"{KNOWLEDGE} (multiple choice)"]
    assert funnel["rejected"]["not_confirmed"] > 0
    assert facts["multiple_choice"] == facts["leaves"][KNOWLEDGE]["multiple_choice"] == 6
    for request in teacher.asked_for("choice"):
        assert "answer" not in tags(request)


def test_a_reply_in_another_language_is_rejected_and_shown(tmp_path):
    def answer(asked):
        return {"answer": "Вот ответ на вопрос." if "3" in tags(asked)["instruction"] else "Here is the answer."}

    taxonomy = seal_taxonomy(tmp_path / "taxonomy", leaves=[leaf(FREEFORM, "freeform")], chunks=[])
    with TeacherServer(scripts={"answer": answer}) as teacher:
        run_sdg(tmp_path, sdg_inputs(taxonomy, teacher.url, sdg_scale_factor=20))
    funnel = json.loads((tmp_path / "sdg/funnel.json").read_text())[FREEFORM]
    assert funnel["rejected"]["other_language"] > 0
    assert "Cyrillic" in funnel["examples"]["other_language"]["detail"]


def test_generation_tells_how_busy_the_endpoint_is_and_how_long_it_will_take(tmp_path, taxonomy):
    told = []
    with TeacherServer(latency_s=(0.02, 0.04)) as teacher:
        inputs = sdg_inputs(taxonomy, teacher.url, sdg_scale_factor=20)
        run_sdg(tmp_path, inputs, [lambda event: told.append(event) if event["event"] == "progress" else None])
    under_way = [event for event in told if event["done"] < event["total"]]
    assert under_way
    assert all(0 < event["busy"] <= 1 and event["calls_per_s"] > 0 and event["left_s"] > 0 for event in under_way)
    assert told[-1]["done"] == told[-1]["total"] == 3 * 3 * 20 + 6
