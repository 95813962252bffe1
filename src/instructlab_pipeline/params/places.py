"""The places that give parameters: each value with the origin that `params show` prints."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.table import ALIASES, PARAMETERS

RECORD = "run record"
# How alike a variable's name must be to a parameter's to be taken for a slip of the pen.
ALIKE = 0.9
PREFIXES = ("sdg_", "train_", "eval_", "k8s_", "s3_", "notify_", "output_")


@dataclass(frozen=True, kw_only=True)
class Given:
    """One value, as somebody wrote it somewhere. `explicit`: it is not a profile's default, written down."""

    name: str
    text: str
    origin: str
    explicit: bool = True


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What one place gives, and what is wrong with the place itself."""

    place: str
    given: Sequence[Given] = ()
    complaints: Sequence[str] = ()
    notices: Sequence[str] = ()


def record_layer(record: Mapping[str, Mapping[str, Any]]) -> Layer:
    """What a run recorded of its parameters, `{"<name>": {"value": ..., "origin": ...}}`, for its single stages."""
    return Layer(place=RECORD, given=[*_recorded(record)])


def environment_layer(environment: Mapping[str, str]) -> Layer:
    """The variables that are named for parameters. No other variable's value is looked at."""
    names = {name.upper(): name for name in (*PARAMETERS, *ALIASES)}
    given = [
        Given(name=names[variable], text=text, origin=f"environment {variable}")
        for variable, text in environment.items()
        if variable in names
    ]
    slips = [
        f"{variable} in the environment is not a parameter and was not used; did you mean {meant}"
        for variable in environment
        if (meant := _meant(variable))
    ]
    return Layer(place="environment", given=given, notices=slips)


def command_line_layer(options: Sequence[tuple[str, str]]) -> Layer:
    return Layer(
        place="command line", given=[Given(name=name, text=text, origin="command line") for name, text in options]
    )


def _recorded(record: Mapping[str, Mapping[str, Any]]) -> Iterator[Given]:
    for name, entry in record.items():
        value, origin = entry["value"], entry["origin"]
        leader = PARAMETERS[name].follows if name in PARAMETERS else None
        if value is None or (leader and origin.startswith(f"{leader} (")):
            continue
        text = text_of(tuple(value) if isinstance(value, list) else value)
        origin = origin if origin.startswith(RECORD) else f"{RECORD}, {origin}"
        yield Given(name=name, text=text, origin=origin, explicit=not origin.endswith(" profile"))


def _meant(variable: str) -> str:
    """The variable of the parameter that this one nearly names; empty for parameters themselves and for all others."""
    name = variable.lower()
    if variable == variable.upper() and (name in PARAMETERS or name in ALIASES):
        return ""
    if not name.startswith(PREFIXES):
        return ""
    close = get_close_matches(name, PARAMETERS, n=1, cutoff=ALIKE)
    return close[0].upper() if close else ""
