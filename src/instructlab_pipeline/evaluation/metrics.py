"""What an answer is worth against its reference: pure functions from (answer, reference) to 0..1.

Texts are compared as SQuAD's evaluation script does (Rajpurkar et al. 2016): lower case, without ASCII punctuation and
English articles, blanks as one. So "The Moon." equals "moon", and, as there, "3.5" equals "35".
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from instructlab_pipeline.errors import ParameterError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """`grade` gives one answer's worth; `is_share` where it can only be 0 or 1, so that the mean is a share."""

    grade: Callable[[str, str], float]
    is_share: bool


def normalise(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, reference: str) -> float:
    """1 where both are the same after normalising, else 0."""
    return float(normalise(answer) == normalise(reference))


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the bag of normalised words; two empty texts agree."""
    given, expected = _words(answer), _words(reference)
    if not given or not expected:
        return float(given == expected)
    shared = (Counter(given) & Counter(expected)).total()
    return _f1(shared, len(given), len(expected))


def rouge_l(answer: str, reference: str) -> float:
    """F-measure of the longest common subsequence of normalised words (Lin 2004, beta = 1)."""
    given, expected = _words(answer), _words(reference)
    if not given or not expected:
        return float(given == expected)
    return _f1(_common_subsequence(given, expected), len(given), len(expected))


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(grade=exact_match, is_share=True),  # what "correct" means while no judge grades
    "exact_match": Metric(grade=exact_match, is_share=True),
    "f1": Metric(grade=token_f1, is_share=False),
    "rouge_l": Metric(grade=rouge_l, is_share=False),
}


def chosen(names: Iterable[str]) -> dict[str, Metric]:
    """The metrics of these names, in their order.

    Raises:
        ParameterError: for names that are not known, all at once, and where none is named.
    """
    names = list(names)
    complaints = [
        f"eval_metrics: {name!r} is not a metric; known are {', '.join(METRICS)}"
        for name in names
        if name not in METRICS
    ]
    if not names:
        complaints.append(f"eval_metrics: name at least one of {', '.join(METRICS)}")
    if complaints:
        raise ParameterError(complaints)
    return {name: METRICS[name] for name in names}


def _words(text: str) -> list[str]:
    return normalise(text).split()


def _f1(shared: int, given: int, expected: int) -> float:
    return 2 * shared / (given + expected)


def _common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence, one row of the table at a time."""
    row = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        for column, other in enumerate(right, start=1):
            above = row[column]
            row[column] = diagonal + 1 if word == other else max(above, row[column - 1])
            diagonal = above
    return row[-1]
