from instructlab_pipeline.cli.step import RETRIED, metrics_of
from instructlab_pipeline.errors import PipelineError


def test_the_exits_that_are_tried_again_are_those_whose_errors_say_so():
    def kinds(kind):
        return [kind, *(each for below in kind.__subclasses__() for each in kinds(below))]

    assert {kind.exit_code for kind in kinds(PipelineError) if kind.retry_helps} == RETRIED


def test_an_evaluation_shows_each_metric_of_both_models():
    facts = {
        "n": 9,
        "verdict": "pass",
        "clear": True,
        "metrics": {"f1": {"tuned": 0.9, "base": 0.1, "interval": [0, 1]}},
    }
    assert metrics_of(facts) == {"n": 9.0, "f1": 0.9, "f1_base": 0.1}


def test_a_stage_without_an_evaluation_shows_its_numbers():
    assert metrics_of({"samples": 30, "teacher": "t", "skipped": None, "metrics": None}) == {"samples": 30.0}
