"""Each metric against an independent, slower way to say the same."""

import math
import re
import unicodedata
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.errors import ParameterError
from instructlab_pipeline.evaluation.metrics import (
    METRICS,
    Likelihood,
    Scale,
    Source,
    chosen,
    exact_match,
    likeliest,
    normalise,
    perplexity,
    rouge_l,
    token_f1,
)

TEXT_METRICS = [metric for metric in METRICS.values() if metric.source is Source.TEXT]

words = st.lists(st.sampled_from(["moon", "sun", "the", "12", "red", "a"]), max_size=7).map(" ".join)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Moon.", "moon"),
        ("an  answer,\n(short)", "answer short"),
        ("Theatre", "theatre"),
        ("3.5", "35"),
        ("a", "a"),
        ("  + ", "+"),
        ("The +", "the +"),
        ("", ""),
        ("Übung, ja!", "übung ja"),
        (unicodedata.normalize("NFD", "Der Äther, á la carte"), "der äther á la carte"),
    ],
)
def test_texts_are_normalised_as_squad_does(text, normal):
    assert normalise(text) == normal


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once


@pytest.mark.parametrize(("answer", "reference"), [("-", "+"), ("", "A"), ("the", "A"), ("", "?"), ("!", "...")])
def test_an_answer_of_which_normalising_would_leave_nothing_is_right_only_where_it_is_the_same(answer, reference):
    for metric in TEXT_METRICS:
        assert metric.grade(answer, reference) == 0
        assert metric.grade(reference.lower(), reference) == 1


@given(words, words)
def test_exact_match_agrees_with_comparing_kept_words(left, right):
    def kept(text):
        return [word for word in text.split() if word not in {"a", "an", "the"}] or text.split()

    assert exact_match(left, right) == float(kept(left) == kept(right))


@given(words, words)
def test_token_f1_agrees_with_crossing_off_words_one_by_one(left, right):
    given_words, expected = normalise(left).split(), normalise(right).split()
    rest, shared = list(expected), 0
    for word in given_words:
        if word in rest:
            rest.remove(word)
            shared += 1
    if not given_words or not expected:
        wanted = float(given_words == expected)
    elif shared == 0:
        wanted = 0.0
    else:
        precision, recall = shared / len(given_words), shared / len(expected)
        wanted = 2 * precision * recall / (precision + recall)
    assert token_f1(left, right) == pytest.approx(wanted)


@given(words, words)
def test_rouge_l_agrees_with_trying_every_subsequence(left, right):
    given_words, expected = normalise(left).split(), normalise(right).split()
    longest = max(size for size in range(len(given_words) + 1) if any_common(given_words, expected, size))
    total = len(given_words) + len(expected)
    wanted = 2 * longest / total if given_words and expected else float(given_words == expected)
    assert rouge_l(left, right) == pytest.approx(wanted)


def any_common(left, right, size):
    """Is some subsequence of `size` words of `left` one of `right`, too?"""
    for part in combinations(left, size):
        rest = iter(right)
        if all(word in rest for word in part):
            return True
    return False


@given(words, words)
def test_every_metric_is_symmetric_and_within_zero_and_one(left, right):
    for metric in TEXT_METRICS:
        assert 0 <= metric.grade(left, right) == metric.grade(right, left) <= 1
        assert metric.grade(left, left) == 1


@given(words, words)
def test_order_lowers_rouge_l_but_never_f1(left, right):
    assert exact_match(left, right) <= rouge_l(left, right) <= token_f1(left, right)
    assert token_f1(" ".join(sorted(left.split())), left) == 1


@given(words, words)
def test_shares_are_never_in_between(left, right):
    for metric in TEXT_METRICS:
        if metric.scale is Scale.SHARE:
            assert metric.grade(left, right) in {0.0, 1.0}


def test_unknown_metrics_are_refused_at_once_with_the_known_ones():
    with pytest.raises(ParameterError) as caught:
        chosen(["acuracy", "f1", "bleu"])
    assert len(caught.value.complaints) == 2
    for complaint, name in zip(caught.value.complaints, ["acuracy", "bleu"], strict=True):
        assert name in complaint
        assert re.search("accuracy, .*f1.*rouge_l", complaint)


def test_no_metric_at_all_is_refused():
    with pytest.raises(ParameterError, match="no metric decides"):
        chosen([])


def test_metrics_keep_the_order_they_were_asked_in():
    assert list(chosen(["f1", "accuracy"])) == ["f1", "accuracy"]


@given(st.lists(st.lists(st.floats(-6, -0.01), min_size=1, max_size=5), min_size=1, max_size=6))
def test_perplexity_is_the_inverse_geometric_mean_of_every_tokens_probability(log_probabilities):
    """Independently: the product of all tokens' probabilities, to the power of -1 over their number."""
    every = np.concatenate([np.asarray(tokens) for tokens in log_probabilities])
    wanted = float(np.prod(np.exp(every)) ** (-1 / len(every)))
    per_token = [-math.fsum(tokens) / len(tokens) for tokens in log_probabilities]
    assert perplexity(per_token, [len(tokens) for tokens in log_probabilities]) == pytest.approx(wanted)


def test_a_model_that_guesses_among_ten_tokens_has_a_perplexity_of_ten():
    assert perplexity([math.log(10)] * 3, [1, 7, 2]) == pytest.approx(10)


def test_the_likeliest_choice_is_the_one_with_the_most_probability_for_each_byte():
    choices = ["no", "no, never at all"]
    assert likeliest(choices, [Likelihood(nats=-2.0, tokens=1), Likelihood(nats=-8.0, tokens=4)]) == 1
    assert likeliest(choices, [Likelihood(nats=-0.5, tokens=1), Likelihood(nats=-8.0, tokens=4)]) == 0


def test_of_equally_likely_choices_the_first_is_taken():
    assert likeliest(["ab", "cd"], [Likelihood(nats=-2.0, tokens=1)] * 2) == 0


def test_a_judge_where_there_is_one_says_what_is_accurate():
    assert chosen(["accuracy"])["accuracy"].source is Source.TEXT
    judged = chosen(["accuracy", "exact_match"], judged=True)
    assert (judged["accuracy"].source, judged["accuracy"].scale) == (Source.JUDGE, Scale.SHARE)
    assert judged["exact_match"].source is Source.TEXT


def test_a_metric_of_the_judge_is_refused_without_one():
    with pytest.raises(ParameterError) as caught:
        chosen(["judge_score", "f1", "judge_win_rate"])
    assert [complaint.split()[1] for complaint in caught.value.complaints] == ["judge_score", "judge_win_rate"]
    assert "eval_judge_endpoint is not set" in caught.value.complaints[0]


def test_a_perplexity_alone_decides_nothing_and_is_refused():
    with pytest.raises(ParameterError, match=r"no metric decides.*accuracy"):
        chosen(["perplexity"])
    assert list(chosen(["perplexity", "f1"])) == ["perplexity", "f1"]
