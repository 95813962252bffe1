"""What the metrics are, and what an answer is worth: pure functions.

Texts are compared as SQuAD's evaluation script does (Rajpurkar et al. 2016): lower case, without ASCII punctuation and
English articles, blanks as one. So "The Moon." equals "moon", and, as there, "3.5" equals "35". Words are what stands
between blanks: in a script without them a text is one word. Beyond that script, an accented letter is the same one
however it is encoded (Unicode's NFC): tokenizers and PDF files differ in that.
"""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from instructlab_pipeline.errors import ParameterError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Scale(StrEnum):
    """What one item's grade is, and so what a metric is over many.

    SHARE       0 or 1           the share of items with 1
    UNIT        0..1             the mean
    PERPLEXITY  nats per token   e to the mean over all tokens; lower is better, without an upper bound
    """

    SHARE = "share"
    UNIT = "unit"
    PERPLEXITY = "perplexity"


class Source(StrEnum):
    """What a grade is made from."""

    TEXT = "the answer and the reference"
    JUDGE = "the judge's opinion of an answer"
    PREFERENCE = "the judge's choice between the base model's answer and the tuned model's"
    REFERENCE = "the likelihood of the reference"
    CHOICES = "the likelihoods of the choices"


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """How likely a model holds a text to be as the answer: `nats` is the log-likelihood of its `tokens` together."""

    nats: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Metric:
    """`grade` gives a text's worth against its reference, where the source is TEXT."""

    scale: Scale
    source: Source
    grade: Callable[[str, str], float] | None = None

    @property
    def decides(self) -> bool:
        """Whether it lies in 0..1 and more is better, so that a threshold of 0..1 means something."""
        return self.scale is not Scale.PERPLEXITY

    @property
    def wants_choices(self) -> bool:
        """Whether it grades the questions with choices, or all others."""
        return self.source is Source.CHOICES


def normalise(text: str) -> str:
    """What is nothing but punctuation and articles stays as it is, in lower case: "+" is no "-", and "A" no silence."""
    lower = text.lower()
    bare = _ARTICLES.sub(" ", unicodedata.normalize("NFC", lower.translate(_PUNCTUATION))).split()
    return " ".join(bare or lower.split())


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
    return _f1(common_subsequence(given, expected), len(given), len(expected))


def perplexity(nats_per_token: Sequence[float], tokens: Sequence[float]) -> float:
    """E to the mean negative log-likelihood over all tokens of all references (Jelinek et al. 1977)."""
    total = math.fsum(nats * count for nats, count in zip(nats_per_token, tokens, strict=True))
    return math.exp(total / math.fsum(tokens))


def likeliest(choices: Sequence[str], likelihoods: Sequence[Likelihood]) -> int:
    """The index of the choice with the highest log-likelihood per byte; of equal ones the first.

    By bytes, as a sum favours short choices, and as bytes, unlike tokens, are the same for every model.
    """
    worths = [each.nats / max(1, len(text.encode())) for text, each in zip(choices, likelihoods, strict=True)]
    return worths.index(max(worths))


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(scale=Scale.SHARE, source=Source.TEXT, grade=exact_match),  # while no judge is configured
    "exact_match": Metric(scale=Scale.SHARE, source=Source.TEXT, grade=exact_match),
    "f1": Metric(scale=Scale.UNIT, source=Source.TEXT, grade=token_f1),
    "rouge_l": Metric(scale=Scale.UNIT, source=Source.TEXT, grade=rouge_l),
    "mcq_accuracy": Metric(scale=Scale.SHARE, source=Source.CHOICES),
    "judge_score": Metric(scale=Scale.UNIT, source=Source.JUDGE),
    "judge_win_rate": Metric(scale=Scale.UNIT, source=Source.PREFERENCE),
    "perplexity": Metric(scale=Scale.PERPLEXITY, source=Source.REFERENCE),
}


def chosen(names: Iterable[str], *, judged: bool = False) -> dict[str, Metric]:
    """The metrics of these names, in their order; where a judge is configured, it says what is accurate.

    Raises:
        ParameterError: names that are not known or need a judge that is not there, all at once, and a choice in which
            nothing decides.
    """
    names = list(names)
    complaints = [complaint for name in names if (complaint := _complaint(name, judged=judged)) is not None]
    if not any(METRICS[name].decides for name in names if name in METRICS) and not complaints:
        deciding = ", ".join(name for name, metric in METRICS.items() if metric.decides)
        complaints.append(f"eval_metrics: no metric decides whether the model is good enough; name one of {deciding}")
    if complaints:
        raise ParameterError(complaints)
    metrics = {name: METRICS[name] for name in names}
    if judged and "accuracy" in metrics:
        metrics["accuracy"] = replace(METRICS["accuracy"], source=Source.JUDGE, grade=None)
    return metrics


def _complaint(name: str, *, judged: bool) -> str | None:
    if name not in METRICS:
        return f"eval_metrics: {name!r} is not a metric; known are {', '.join(METRICS)}"
    if METRICS[name].source in (Source.JUDGE, Source.PREFERENCE) and not judged:
        return f"eval_metrics: {name} needs a judge, and eval_judge_endpoint is not set"
    return None


def _words(text: str) -> list[str]:
    return normalise(text).split()


def _f1(shared: int, given: int, expected: int) -> float:
    return 2 * shared / (given + expected)


def common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence, one row of the table at a time."""
    row = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        for column, other in enumerate(right, start=1):
            above = row[column]
            row[column] = diagonal + 1 if word == other else max(above, row[column - 1])
            diagonal = above
    return row[-1]
