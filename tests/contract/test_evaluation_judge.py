"""The evaluation with a judge, and with a candidate that is served: real HTTP on loopback, scripted replies."""

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from aiohttp import web

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.evaluation.answers import Settings
from instructlab_pipeline.evaluation.candidate import Candidate
from instructlab_pipeline.evaluation.comparison import Comparison
from instructlab_pipeline.evaluation.endpoint import Address, Patience, model_of
from instructlab_pipeline.evaluation.evidence import served_answers
from instructlab_pipeline.evaluation.grading import Evidence, Responses
from instructlab_pipeline.evaluation.items import Item
from instructlab_pipeline.evaluation.judging import judge_at, with_judgement
from instructlab_pipeline.evaluation.metrics import chosen
from instructlab_pipeline.evaluation.tasks import Task
from instructlab_pipeline.evaluation.verdict import decide
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context
from servers.loopback import free_port
from servers.teacher_server import MODEL, TeacherServer, tags

COUNT = 60
HASTY = Patience(first_delay_s=0.001, longest_delay_s=0.01)
METRICS = chosen(["accuracy", "judge_score", "judge_win_rate"], judged=True)


@pytest.fixture
def context(tmp_path) -> Context:
    return Context(folder=tmp_path / "stage", cache=tmp_path / "cache", events=Events())


def evidence() -> Evidence:
    """A base model that knows a third of the answers, and a tuned one that knows nine of ten."""
    items = [
        Item(id=f"{n:03}", leaf=f"leaf {n % 2}", question=f"Question {n}?", context=None, reference=f"right {n}")
        for n in range(COUNT)
    ]
    return Evidence(
        items=items,
        base=Responses(texts={item.id: f"right {n}" if n % 3 == 0 else "wrong" for n, item in enumerate(items)}),
        tuned=Responses(texts={item.id: f"right {n}" if n % 10 else "false" for n, item in enumerate(items)}),
    )


def mark(asked):
    shown = tags(asked)
    right = shown["answer"] == shown["reference"]
    return {"reason": "as scripted", "correct": right, "mark": 5 if right else 1}


def prefer(asked):
    shown = tags(asked)
    first, second = (shown[name] == shown["reference"] for name in ("first", "second"))
    return {"reason": "as scripted", "better": "neither" if first == second else "first" if first else "second"}


SCRIPTS = {"mark": mark, "choice": prefer}


def at(server: TeacherServer, role: str = "judge") -> Address:
    return Address(role=role, endpoint=server.url, model=None, patience=HASTY)


def judged(server: TeacherServer, context: Context, given: Evidence | None = None) -> Comparison:
    judge = judge_at(at(server), at_once=8)
    return Comparison(evidence=with_judgement(given or evidence(), METRICS, judge, context), metrics=METRICS)


def test_a_judge_grades_both_models_and_compares_them_in_both_orders(context):
    with TeacherServer(scripts=SCRIPTS) as server:
        scores = judged(server, context).scores
        assert (scores["accuracy"].base, scores["accuracy"].tuned) == (pytest.approx(1 / 3), pytest.approx(0.9))
        assert scores["judge_score"].tuned == pytest.approx(0.9)
        assert scores["judge_win_rate"].tuned == pytest.approx(0.5 + (36 - 2) / (2 * COUNT))
        assert len(server.asked_for("choice")) == 2 * COUNT - 18  # 18 pairs of equal answers have one order
        assert server.most_in_flight <= 8


def test_a_judge_that_prefers_whoever_stands_first_decides_nothing(context):
    scripts = SCRIPTS | {"choice": lambda asked: {"reason": "I read it first", "better": "first"}}
    with TeacherServer(scripts=scripts) as server:
        win_rate = judged(server, context).scores["judge_win_rate"]
    assert (win_rate.base, win_rate.tuned, win_rate.difference.p_value) == (0.5, 0.5, 1.0)


def test_a_judge_whose_replies_are_useless_half_of_the_time_is_asked_again_and_the_rest_is_counted(context):
    """Half of all replies are garbage; an eighth of the questions get three such replies."""
    with TeacherServer(scripts=SCRIPTS, faults={"garbage": 0.5}) as server:
        comparison = judged(server, context)
        asked = Counter(json.dumps(request["messages"]) for request in server.asked_for("mark"))
    accuracy = comparison.scores["accuracy"]
    assert max(asked.values()) == 3
    assert 0 < accuracy.ungraded < COUNT / 2
    grades = comparison.grades["accuracy"]
    known = [grade for grade in grades.tuned if grade is not None]
    assert accuracy.tuned == pytest.approx(sum(known) / len(known))
    assert accuracy.n == COUNT
    complete = judged_without_faults(context)
    assert [g for g in grades.tuned if g is not None] == [
        right for right, g in zip(complete.grades["accuracy"].tuned, grades.tuned, strict=True) if g is not None
    ]
    assert accuracy.interval.low < complete.scores["accuracy"].interval.low
    assert not decide({"accuracy": accuracy}, 0.8).clear


def judged_without_faults(context: Context) -> Comparison:
    with TeacherServer(scripts=SCRIPTS) as server:
        return judged(server, replace(context, cache=context.cache / "another"))


def test_what_was_judged_is_never_asked_again_nor_graded_differently(context):
    with TeacherServer(scripts=SCRIPTS, faults={"garbage": 0.3, "500": 0.1}) as server:
        first = judged(server, context)
        requests = len(server.requests)
        again = judged(server, context)
        assert len(server.requests) == requests
    assert again.grades == first.grades


def test_a_judge_that_went_away_is_asked_only_for_what_is_missing_when_it_is_back(context):
    given = evidence()
    half = replace(given, items=given.items[: COUNT // 2])
    with TeacherServer(scripts=SCRIPTS) as server:
        judged(server, context, half)
        before = len(server.requests)
        server.down = True
        with pytest.raises(ServiceError, match=r"judge at .* does not answer.*500") as caught:
            judged(server, context)
        assert "every finished reply is kept" in caught.value.remedy
        server.down = False
        judged(server, context)
        assert len(server.answered) == before + before
        assert server.repeated() == 0


def test_errors_and_broken_connections_cost_attempts_and_no_grade(context):
    with TeacherServer(scripts=SCRIPTS, faults={"500": 0.2, "429": 0.02, "disconnect": 0.1, "cut": 0.1}) as server:
        comparison = judged(server, context)
    assert comparison.scores["accuracy"].ungraded == 0
    assert comparison.grades == judged_without_faults(context).grades


class Unfair(TeacherServer):
    """Turns the first requests about one of the questions away, and takes all others."""

    async def _answer(self, request, asked, digest):
        if tags(asked)["question"].strip() == "Question 7?" and self._seen[digest] <= 9:
            return web.json_response({"error": {"message": "too many requests"}}, status=429)
        return await super()._answer(request, asked, digest)


def test_a_judge_that_takes_others_first_costs_patience_and_no_grade(context):
    with Unfair(scripts=SCRIPTS, latency_s=(0.01, 0.01)) as server:
        patience = Patience(attempts=4, first_delay_s=0.02, longest_delay_s=0.02)
        judge = judge_at(replace(at(server), patience=patience), at_once=3)
        found = with_judgement(evidence(), METRICS, judge, context)
        assert max(server.answered.values()) == 1
    assert None not in found.tuned.judgements.values()


def test_a_judge_that_never_replies_is_given_up_after_three_attempts(context):
    patience = Patience(reply_timeout_s=1.0, first_delay_s=0.001)
    with TeacherServer(scripts=SCRIPTS, latency_s=(30.0, 30.0)) as server:
        judge = judge_at(replace(at(server), patience=patience), at_once=1)
        with pytest.raises(ServiceError, match=r"does not answer: .*no reply within 1 s"):
            with_judgement(evidence(), METRICS, judge, context)
        assert len(server.requests) == 3


def test_a_judge_of_no_use_at_all_is_an_error_and_no_verdict(context):
    with (
        TeacherServer(scripts={"mark": lambda asked: "I would rather not."}) as server,
        pytest.raises(ServiceError, match="usable opinions in 0 of 120 cases") as caught,
    ):
        judged(server, context)
    assert "eval_judge_model" in caught.value.remedy


def test_a_judge_whose_server_refuses_what_is_asked_is_quoted(context):
    with (
        TeacherServer(scripts=SCRIPTS, faults={"refused": 1.0}) as server,
        pytest.raises(ServiceError, match=r"in 0 of 120 cases.*requests were refused: .*context length is 4096"),
    ):
        judged(server, context)


def test_a_judge_that_is_mended_under_its_name_is_asked_again_for_what_was_of_no_use(context):
    heeded = {f"Question {n}?" for n in range(20)}

    def mark_some(asked):
        return mark(asked) if tags(asked)["question"].strip() in heeded else {"verdict": "fine"}

    with TeacherServer(scripts=SCRIPTS | {"mark": mark_some}) as server, pytest.raises(ServiceError, match="in 40 of"):
        judged(server, context)
    with TeacherServer(scripts=SCRIPTS) as server:
        assert judged(server, context).grades == judged_without_faults(context).grades
        assert {tags(asked)["question"].strip() for asked in server.asked_for("mark")}.isdisjoint(heeded)


def test_a_judge_that_grades_one_model_alone_compares_nothing_and_gives_no_verdict(context):
    """Were the metric left out instead, the others could pass without it."""

    def mark_the_base_alone(asked):
        return mark(asked) if tags(asked)["answer"].strip() == "wrong" else "I would rather not."

    given = evidence()
    given = replace(
        given,
        base=Responses(texts={item.id: "wrong" for item in given.items}),
        tuned=Responses(texts={item.id: item.reference for item in given.items}),
    )
    with (
        TeacherServer(scripts=SCRIPTS | {"mark": mark_the_base_alone}) as server,
        pytest.raises(ServiceError, match="usable opinions in 60 of 120 cases"),
    ):
        judged(server, context, given)


def test_a_judge_of_which_most_is_of_no_use_gives_no_verdict_on_the_rest(context):
    """Were the few that it grades the mean, it would pass a model by three answers of sixty."""
    kind = {f"Question {n}?" for n in range(3)}
    scripts = {"mark": lambda asked: mark(asked) if tags(asked)["question"].strip() in kind else "Let me think."}
    with TeacherServer(scripts=scripts) as server, pytest.raises(ServiceError, match="in 6 of 120 cases, too few"):
        judged(server, context)


def test_a_wrong_key_says_which_variable_holds_it(context, monkeypatch):
    with TeacherServer(scripts=SCRIPTS, api_key="right") as server:
        with pytest.raises(ServiceError, match="401") as caught:
            judged(server, context)
        assert "JUDGE_API_KEY" in caught.value.remedy
        monkeypatch.setenv("OPENAI_API_KEY", "teachers")
        monkeypatch.setenv("JUDGE_API_KEY", " right\n")
        judged(server, context)


def test_a_server_with_several_models_wants_to_be_told_which():
    with TeacherServer(models=("one", "two")) as server, pytest.raises(UsageError, match="one, two") as caught:
        model_of(at(server))
    assert "eval_judge_model" in caught.value.remedy


def test_a_judge_that_is_not_there_is_named_with_its_parameter():
    nowhere = Address(role="judge", endpoint=f"http://127.0.0.1:{free_port()}", model=None, patience=HASTY)
    with pytest.raises(ServiceError, match="does not answer") as caught:
        model_of(nowhere)
    assert "eval_judge_endpoint" in caught.value.remedy


def test_a_served_candidate_answers_once_and_for_these_weights_alone(context, tmp_path):
    tuned = Candidate(stage="train_phase_2", folder=tmp_path, files={"model.safetensors": "1"})
    tasks = [Task(messages=[{"role": "user", "content": f"Question {n}?"}]) for n in range(9)]
    settings = Settings(max_new_tokens=16, batch_size=4)
    with TeacherServer(scripts={"plain": lambda asked: f" To {asked['messages'][0]['content']}\ud83d "}) as server:
        address = at(server, "candidate")
        found = served_answers(tuned, address, tasks, settings, context)
        assert found.known[tasks[3].key(max_new_tokens=16)] == "To Question 3??"
        assert (found.made, server.requests[0]["max_tokens"], server.requests[0]["model"]) == (9, 16, MODEL)
        assert served_answers(tuned, address, tasks, settings, context).made == 0
        other = replace(tuned, files={"model.safetensors": "2"})
        assert served_answers(other, address, tasks, settings, context).made == 9


class Odd(TeacherServer):
    """Answers every question with `status`, `headers` and `body`."""

    status, headers, body = 200, {}, ""

    async def _answer(self, request, asked, digest):
        return web.Response(status=self.status, headers=self.headers, text=self.body)


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (200, {}, '{"error": {"message": "still loading"}}', "other than a chat completion: .*still loading"),
        (200, {}, '{"choices": [{"message": {"content": 5}}]}', "other than a chat completion"),
        (200, {}, "", "other than a chat completion"),
        (307, {"Location": "https://elsewhere.example/v1"}, "", "answered 307: go to https://elsewhere.example/v1"),
        (404, {}, '{"error": {"message": "no such model"}}', "answered 404: .*no such model.*eval_candidate_model"),
        (429, {}, '{"error": {"code": "insufficient_quota"}}', "answered 429: .*raise the quota"),
    ],
)
def test_a_server_that_answers_oddly_is_quoted(context, tmp_path, status, headers, body, words):
    task = Task(messages=[{"role": "user", "content": "Who?"}])
    tuned = Candidate(stage="train_phase_2", folder=tmp_path, files={})
    with Odd() as server:
        server.status, server.headers, server.body = status, headers, body
        with pytest.raises(ServiceError) as caught:
            served_answers(tuned, at(server, "candidate"), [task], Settings(max_new_tokens=4, batch_size=1), context)
    assert re.search(words, f"{caught.value.message} {caught.value.remedy}")


@pytest.mark.parametrize(
    ("content", "answer"), [(None, ""), ([{"type": "text", "text": "To "}, {"type": "text", "text": "go"}], "To go")]
)
def test_an_answer_may_come_in_parts_or_be_none(context, tmp_path, content, answer):
    task = Task(messages=[{"role": "user", "content": "Who?"}])
    tuned = Candidate(stage="train_phase_2", folder=tmp_path, files={})
    with Odd() as server:
        server.body = json.dumps({"choices": [{"message": {"content": content}}]})
        settings = Settings(max_new_tokens=4, batch_size=1)
        found = served_answers(tuned, at(server, "candidate"), [task], settings, context)
    assert list(found.known.values()) == [answer]


def test_a_served_candidate_that_refuses_a_question_is_an_error_with_its_words(context, tmp_path):
    tuned = Candidate(stage="train_phase_2", folder=tmp_path, files={})
    task = Task(messages=[{"role": "user", "content": "Too long?"}])
    settings = Settings(max_new_tokens=16, batch_size=1)
    with (
        TeacherServer(faults={"refused": 1.0}) as server,
        pytest.raises(ServiceError, match=r"refused.*Too long.*context length is 4096"),
    ):
        served_answers(tuned, at(server, "candidate"), [task], settings, context)
