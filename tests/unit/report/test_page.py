import json
from html.parser import HTMLParser

import pytest

from instructlab_pipeline.artifacts import seal
from instructlab_pipeline.evaluation.statistics import wilson
from instructlab_pipeline.report.findings import Findings
from instructlab_pipeline.report.page import page_of, sections

VOID = {"meta", "br", "i", "circle", "line", "rect"}
METRICS = {
    "accuracy": {
        "n": 2,
        "ungraded": 1,
        "base": 0.1,
        "tuned": 0.75,
        "interval": [0.6, 0.86],
        "difference": {"value": 0.65, "interval95": [0.51, 0.77], "p_value": 0.001},
        "threshold": 0.8,
        "passed": False,
        "clear": False,
    },
    "perplexity": {
        "n": 2,
        "ungraded": 0,
        "base": 40.0,
        "tuned": 3.5,
        "interval": [3, 4],
        "threshold": None,
        "passed": None,
    },
}


class Strict(HTMLParser):
    """Fails on a tag that is closed by another's end; keeps the text and the addresses."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.addresses, self.tags = [], [], [], set()
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def write_lines(path, records):
    write(path, "".join(json.dumps(record) + "\n" for record in records))


def sealed(run, stage, facts=None):
    (run / stage).mkdir(parents=True, exist_ok=True)
    seal(run / stage, kind=stage, key="k", inputs={}, facts=facts or {})


def answer(number, leaf, grade, tuned="so"):
    grades = {"accuracy": {"base": 0.0, "tuned": grade}}
    return {
        "id": f"a{number}", "leaf": leaf, "question": f"question {number}?", "context": None,
        "reference": "right", "base": "no", "tuned": tuned, "grades": grades,
    }  # fmt: skip


@pytest.fixture
def begun(tmp_path):
    write(tmp_path / "run.json", {"parameters": {"output_model_name": {"value": "rivers", "origin": "here"}}})
    return tmp_path


@pytest.fixture
def judged(begun):
    funnel = {"knowledge/moons": {"target": 4, "accepted": 3, "shortfall": 1, "candidates": 6,
              "rejected": {"judged too low": 2, "duplicate": 1}, "evaluation": 2}}  # fmt: skip
    write(begun / "sdg" / "funnel.json", funnel)
    candidate = {"leaf": "knowledge/moons", "reason": "duplicate", "detail": "of another", "question": "Again?",
                 "answer": "Yes"}  # fmt: skip
    write_lines(begun / "sdg" / "rejected.jsonl", [candidate])
    write_lines(begun / "sdg" / "samples.jsonl", [])
    facts = {"samples": 3, "target": 4, "teacher": "t", "judge": "t", "leaves": funnel}
    sealed(begun, "sdg", facts)
    answers = [answer(1, "knowledge/moons", 1.0), answer(2, "skills/tone", 0.0, "<script>alert(1)</script>")]
    write_lines(begun / "eval_final" / "answers.jsonl", answers)
    verdict = {
        "verdict": "fail",
        "clear": False,
        "reasons": ["accuracy is 0.750, below 0.8"],
        "n": 2,
        "threshold": 0.8,
        "metrics": METRICS,
        "regressions": {"accuracy": ["skills/tone"]},
    }
    write(begun / "eval_final" / "verdict.json", verdict)
    sealed(begun, "eval_final")
    events = [
        {"time": 1, "event": "start", "name": "sdg"},
        {"time": 3, "event": "end", "name": "sdg", "ok": True, "seconds": 2},
        {"time": 3, "event": "point", "name": "notice", "message": "the disk is slow"},
    ]  # fmt: skip
    write_lines(begun / "events.jsonl", events)
    for stage in ("model", "taxonomy", "dataset", "train_phase_1", "eval_phase_1", "train_phase_2"):
        sealed(begun, stage)
    return begun


def test_a_run_that_has_only_begun_has_a_page_that_says_what_comes_next(begun):
    page = Strict(page_of(begun))
    assert "not finished: model comes next" in " ".join(page.text)


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(judged):
    page = Strict(page_of(judged))
    assert page.addresses == []
    assert "script" not in page.tags


def test_what_a_model_says_is_text_and_never_markup(judged):
    page = page_of(judged)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_refusal_of_the_gate_comes_first_and_wrong_answers_before_right_ones(judged):
    text = " ".join(Strict(page_of(judged)).text)
    assert "not published: the quality gate said no" in text
    assert text.index("question 2?") < text.index("question 1?")


def test_metrics_come_with_what_was_gained_what_nobody_graded_and_what_was_lost(judged):
    text = " ".join(" ".join(Strict(page_of(judged)).text).split())
    assert "0.510 to 0.770" in text
    assert "2 , 1 ungraded" in text or "2, 1 ungraded" in text
    assert "accuracy is 0.750, below 0.8" in text
    assert "Worse than the base model" in text
    assert "informs only" in text


def test_a_metric_that_is_no_share_is_not_drawn_as_one(judged):
    assert "perplexity" not in sections(Findings(judged))["metrics_chart"]


def test_every_reason_of_the_funnel_has_its_bar_and_its_name(judged):
    shown = sections(Findings(judged))
    assert shown["funnel_kinds"] == ["accepted", "evaluation", "judged too low", "duplicate"]
    for words in ("3 accepted", "2 evaluation", "2 judged too low", "1 duplicate"):
        assert words in shown["funnel_chart"]


def test_notices_and_durations_are_told(judged):
    text = " ".join(Strict(page_of(judged)).text)
    assert "the disk is slow" in text
    assert "2.0 s" in text


def test_a_published_run_says_so(judged):
    write(judged / "publish" / "published.json", {})
    sealed(judged, "publish", {"reference": "registry/rivers:1", "digest": "sha256:77"})
    shown = sections(Findings(judged))
    assert shown["outcome"] == {"state": "good", "words": "published"}
    assert ("image", "registry/rivers:1 · sha256:77") in shown["origins"]


def test_a_run_that_failed_names_the_stage_and_the_error(begun):
    end = {"time": 2, "event": "end", "name": "taxonomy", "ok": False, "seconds": 1, "error": "no such branch"}
    write_lines(begun / "events.jsonl", [{"time": 1, "event": "start", "name": "taxonomy"}, end])
    sealed(begun, "model")
    assert sections(Findings(begun))["outcome"]["words"] == "stopped in taxonomy: no such branch"


def test_losses_come_from_the_steps_or_else_from_the_epochs(begun):
    write(begun / "train_phase_1" / "training.json", {"epoch_losses": [3.0, 1.5]})
    found = Findings(begun)
    assert found.losses("train_phase_1") == {"epoch": [(1, 3.0), (2, 1.5)]}
    steps = [{"kind": "tokenized"}, {"kind": "step", "step": 1, "loss": 4.0}, {"kind": "step", "step": 1, "loss": 3.9}]
    write_lines(begun / "train_phase_1" / "work" / "telemetry.jsonl", steps)
    assert found.losses("train_phase_1") == {"optimizer step": [(1, 3.9)]}


def test_leaves_come_with_intervals_the_weakest_first_and_without_what_nobody_graded(judged):
    answers = [
        answer(1, "a", 1.0),
        answer(2, "a", 0.0),
        answer(3, "b", 0.0),
        answer(4, "b", None),
        answer(5, "c", None),
    ]
    write_lines(judged / "eval_final" / "answers.jsonl", answers)
    scores = sections(Findings(judged))["leaves"]["accuracy"]["scores"]
    assert [(leaf, own.tuned, own.n, own.ungraded) for leaf, own in scores.items()] == [
        ("b", 0, 2, 1),
        ("a", 0.5, 2, 0),
    ]
    assert scores["a"].interval == wilson(1, 2)
    assert scores["b"].interval.high == wilson(1, 2).high


@pytest.mark.parametrize(
    ("verdict", "clear", "metric_is_clear", "words"),
    [
        ("pass", True, True, "pass, and clearly: every interval lies above the threshold of 0.8"),
        ("fail", True, True, "fail, and clearly: an interval lies wholly below the threshold of 0.8"),
        ("pass", False, False, "pass, but not clearly: the interval of accuracy reaches across"),
        ("fail", False, False, "fail, but not clearly: the interval of accuracy reaches across"),
    ],
)
def test_the_page_says_how_sure_the_verdict_is(verdict, clear, metric_is_clear, words, judged):
    metric = {**METRICS["accuracy"], "passed": verdict == "pass", "clear": metric_is_clear}
    record = {"verdict": verdict, "clear": clear, "n": 2, "threshold": 0.8, "metrics": {"accuracy": metric}}
    write(judged / "eval_final" / "verdict.json", record)
    text = " ".join(" ".join(Strict(page_of(judged)).text).split())
    assert words in text
    assert ("not clearly" in text) is not clear


def test_what_was_published_before_and_what_lm_eval_found_is_told(judged):
    compared = {"published": 0.91, "tuned": 0.75, "difference": -0.16, "p_value": 0.02, "worse": True}
    (judged / "eval_final" / "manifest.json").chmod(0o644)
    sealed(judged, "eval_final", {"published": {"accuracy": compared}})
    tasks = {"capitals": {"acc": {"base": 0.3, "tuned": 0.7, "stderr": {"base": 0.02, "tuned": None}}}}
    verdict = json.loads((judged / "eval_final" / "verdict.json").read_text())
    (judged / "eval_final" / "verdict.json").chmod(0o644)
    write(judged / "eval_final" / "verdict.json", {**verdict, "lm_eval": tasks})
    text = " ".join(" ".join(Strict(page_of(judged)).text).split())
    assert "accuracy 0.910 0.750 -0.160 0.020 yes, significantly" in text
    assert "capitals acc 0.300 ± 0.020 0.700" in text


def test_what_an_earlier_attempt_left_behind_is_not_told_as_the_outcome(judged):
    sealed(judged, "publish", {"reference": "registry/rivers:1", "digest": "sha256:77"})
    (judged / "dataset" / "manifest.json").unlink()
    shown = sections(Findings(judged))
    assert shown["outcome"] == {"state": "open", "words": "not finished: dataset comes next"}
    assert shown["certainty"] == ""


def test_a_registry_that_refuses_before_the_first_stage_is_told(begun):
    end = {"time": 2, "event": "end", "name": "publish", "ok": False, "seconds": 1, "error": "wrong password"}
    write_lines(begun / "events.jsonl", [end])
    assert sections(Findings(begun))["outcome"]["words"] == "stopped in publish: wrong password"
