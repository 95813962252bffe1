"""Texts as values: each function reads one form, or says why it cannot.

Text comes in without the space around it (people paste newlines). Numbers are read in ASCII digits and in the forms
that Python, YAML, JSON and Kubernetes agree on; nothing is rounded, clipped or guessed.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from instructlab_pipeline.params import uris

Value = int | float | bool | str | tuple[str, ...] | None

LARGEST_INTEGER = 2**53 - 1  # up to here every JSON reader keeps an integer exactly
METRICS = (
    "accuracy",
    "f1",
    "exact_match",
    "rouge_l",
    "mcq_accuracy",
    "judge_score",
    "judge_win_rate",
    "perplexity",
)

INTEGER_FORM = r"-?(?:0|[1-9][0-9]{0,18})"
FLOAT_FORM = r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
LONGEST_NAME = 128  # characters, of a model, and of its version, which becomes a tag
TOO_LONG_A_VERSION = f"is longer than {LONGEST_NAME} characters, the most that an image's tag has"
# The expression that semver.org suggests for version 2.0.0.
SEMANTIC_VERSION_FORM = (
    r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)"
    r"(?:-(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


@dataclass(frozen=True)
class Refusal:
    """Why a text is not a value of a kind, worded to follow it in a sentence: "is not above 0"."""

    reason: str


def nearest(name: str, names: tuple[str, ...]) -> str:
    """The name that was probably meant, as the end of a sentence; empty where none is near."""
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}" if close else ""


def integer(text: str) -> int | Refusal:
    if re.fullmatch(INTEGER_FORM, text) is None:
        has_zeros = re.fullmatch(r"-?0[0-9]+", text) is not None
        return Refusal("has zeros in front" if has_zeros else "is not an integer written in digits")
    return int(text) if abs(int(text)) <= LARGEST_INTEGER else Refusal("is beyond 2^53 - 1, where JSON rounds integers")


def positive_integer(text: str) -> int | Refusal:
    value = integer(text)
    return Refusal("is not above 0") if isinstance(value, int) and value <= 0 else value


def whole_number(text: str) -> int | Refusal:
    value = integer(text)
    return Refusal("is below 0") if isinstance(value, int) and value < 0 else value


def number(text: str) -> float | Refusal:
    if re.fullmatch(FLOAT_FORM, text) is None:
        return Refusal("is not a number")
    value = float(text)
    if math.isinf(value):
        return Refusal("is too large for a number")
    if value == 0 and re.search(r"[1-9]", text.lower().partition("e")[0]):
        return Refusal("is too small to tell from 0")
    return value + 0.0  # -0.0 becomes 0.0


def positive_float(text: str) -> float | Refusal:
    value = number(text)
    return Refusal("is not above 0") if isinstance(value, float) and value <= 0 else value


def unit_float(text: str) -> float | Refusal:
    value = number(text)
    return Refusal("is not between 0 and 1") if isinstance(value, float) and not 0 <= value <= 1 else value


def boolean(text: str) -> bool | Refusal:
    return {"true": True, "false": False}.get(text.lower(), Refusal("is neither true nor false"))


def metrics(text: str) -> tuple[str, ...] | Refusal:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if not name:
            return Refusal("has an empty name between its commas")
        if name not in METRICS:
            return Refusal(f"names {name!r}, which is not a metric{nearest(name, METRICS)}")
        if names.count(name) > 1:
            return Refusal(f"names {name} twice")
    return names


def paths(text: str) -> tuple[str, ...] | Refusal:
    paths = tuple(path.strip() for path in text.split(","))
    for path in paths:
        if not path or not path.isprintable():
            return Refusal("has an empty path between its commas" if not path else uris.CONTROL_CHARACTER)
        if paths.count(path) > 1:
            return Refusal(f"names {path} twice")
    return paths


def choice(choices: tuple[str, ...]) -> Callable[[str], Value | Refusal]:
    return lambda text: text if text in choices else Refusal(f"is not one of {', '.join(choices)}")


def unless(fault: Callable[[str], str | None]) -> Callable[[str], Value | Refusal]:
    """Read text as it is, unless a rule finds fault with it."""
    return lambda text: text if (reason := fault(text)) is None else Refusal(reason)


def text_fault(text: str) -> str | None:
    return None if text.isprintable() else uris.CONTROL_CHARACTER


def model_name_fault(text: str) -> str | None:
    """The name also names a folder for the run."""
    if len(text) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} characters"
    if text[0] in ".-" or "/" in text:
        return f"starts with {text[0]!r}" if text[0] in ".-" else "has a slash in it"
    return text_fault(text)


def version_fault(text: str) -> str | None:
    if len(text) > LONGEST_NAME:
        return TOO_LONG_A_VERSION
    if re.fullmatch(SEMANTIC_VERSION_FORM, text):
        return None
    if text[0] in "vV" and re.fullmatch(SEMANTIC_VERSION_FORM, text[1:]):
        return "starts with a v, which semantic versions do not"
    return "is not a semantic version"
