"""From layers to parameters: later layers win, every value keeps its origin, all complaints come at once.

profile < (what a run recorded) < parameter files, in the order given < environment < command line
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.errors import ParameterError
from instructlab_pipeline.params.files import file_layer
from instructlab_pipeline.params.places import Given, Layer, command_line_layer, environment_layer
from instructlab_pipeline.params.readers import Refusal, Value, nearest
from instructlab_pipeline.params.rules import Setting, notices_on
from instructlab_pipeline.params.table import ALIASES, PARAMETERS, PROFILES, Parameter, Parameters
from instructlab_pipeline.params.uris import without_secrets

MISSING = "missing"
SECRET_PREFIXES = ("openai_", "aws_", "judge_api_", "candidate_api_")
LONGEST_SHOWN = 120


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What the layers come to. `faults` are wrong values and names, `missing` the required ones that nobody gave."""

    profile: str
    settings: Mapping[str, Setting]
    notices: tuple[str, ...]
    faults: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def complaints(self) -> tuple[str, ...]:
        """Everything that stands in the way of a run."""
        return (*self.faults, *self.missing)

    @property
    def values(self) -> dict[str, Value]:
        return {name: setting.value for name, setting in self.settings.items()}

    @property
    def origins(self) -> dict[str, str]:
        return {name: setting.origin for name, setting in self.settings.items()}

    @property
    def parameters(self) -> Parameters:
        """The parameters of a run.

        Raises:
            ParameterError: with every complaint.
        """
        if self.complaints:
            raise ParameterError(self.complaints)
        values: dict[str, Any] = self.values
        return Parameters(**values)

    def as_json(self) -> dict[str, dict[str, Any]]:
        """`{"<name>": {"value": ..., "origin": ...}}`, as `params show --json` prints it and run.json keeps it.

        What would open a webhook is left out.

        Raises:
            ParameterError: a value is wrong. A required one that is missing is null here, with the origin "missing".
        """
        if self.faults:
            raise ParameterError(self.complaints)
        shown = {name: PARAMETERS[name].kind.shown(value) for name, value in self.values.items()}
        return {
            name: {"value": list(value) if isinstance(value, tuple) else value, "origin": self.settings[name].origin}
            for name, value in shown.items()
        }


def resolve(
    *,
    profile: str = PROFILES[0],
    files: Sequence[str] = (),
    environment: Mapping[str, str],
    overrides: Sequence[tuple[str, str]] = (),
    base: Sequence[Layer] = (),
) -> Resolved:
    """Resolve every parameter. Nothing is raised here: complaints are part of the result.

    overrides: name and text of each option of the command line, in order.
    base: layers between the profile and the parameter files, such as what a run recorded.
    """
    layers = [*base, *map(file_layer, files), environment_layer(environment), command_line_layer(overrides)]
    return resolve_layers(profile, layers)


def resolve_layers(profile: str, layers: Sequence[Layer]) -> Resolved:
    """Layers in ascending order, on top of the profile."""
    readings = [_read_layer(layer) for layer in layers]
    settings = _profile_settings(profile)
    for reading in readings:
        settings.update(reading.settings)
    settings = {name: _followed(PARAMETERS[name], settings) for name in settings}
    refused = frozenset(name for reading in readings for name in reading.refused)
    return Resolved(
        profile=profile,
        settings=settings,
        notices=(*(notice for reading in readings for notice in reading.notices), *notices_on(settings)),
        faults=tuple(fault for reading in readings for fault in reading.faults),
        missing=tuple(_missing(settings, refused, profile, layers)),
    )


@dataclass(kw_only=True)
class _Reading:
    """What became of one layer."""

    settings: dict[str, Setting]
    faults: list[str]
    notices: list[str]
    refused: list[str]


def _read_layer(layer: Layer) -> _Reading:
    reading = _Reading(settings={}, faults=list(layer.complaints), notices=list(layer.notices), refused=[])
    texts: dict[str, Given] = {}
    for given in layer.given:
        parameter = PARAMETERS.get(ALIASES.get(given.name, given.name))
        if parameter is None:
            reading.faults.append(_unknown(given))
            continue
        if given.name in ALIASES:
            reading.notices.append(f"{given.name} ({given.origin}) is taken as {parameter.name}, its name here")
        earlier = texts.setdefault(parameter.name, given)
        if earlier is given:
            _read_into(reading, parameter, given)
        elif earlier.text.strip() != given.text.strip():
            reading.faults.append(_contradiction(parameter, earlier, given))
    return reading


def _read_into(reading: _Reading, parameter: Parameter, given: Given) -> None:
    value = _value(parameter, given.text.strip())
    if isinstance(value, Refusal):
        reading.faults.append(
            f"{parameter.name}: {_shown(given.text)} ({_origin(given)}) {value.reason}; valid: {parameter.kind.valid}"
        )
        reading.refused.append(parameter.name)
    else:
        reading.settings[parameter.name] = Setting(value=value, origin=_origin(given), explicit=given.explicit)


def _value(parameter: Parameter, text: str) -> Value | Refusal:
    """Empty text is a value for some kinds, unsets what may be unset, and is refused otherwise."""
    if text:
        return parameter.kind.read(text)
    if parameter.kind.empty_is_a_value:
        return ""
    return None if parameter.may_be_unset else Refusal("is empty")


def _profile_settings(profile: str) -> dict[str, Setting]:
    return {
        name: Setting(value=parameter.defaults[profile], origin=MISSING if parameter.required else f"{profile} profile")
        for name, parameter in PARAMETERS.items()
    }


def _followed(parameter: Parameter, settings: Mapping[str, Setting]) -> Setting:
    """The setting, or where it is unset that of the parameter that it follows."""
    setting = settings[parameter.name]
    if setting.value is not None or parameter.follows is None:
        return setting
    leader = settings[parameter.follows]
    return Setting(value=leader.value, origin=f"{parameter.follows} ({leader.origin})")


def _missing(
    settings: Mapping[str, Setting], refused: Iterable[str], profile: str, layers: Sequence[Layer]
) -> Iterator[str]:
    if any(layer.complaints and not layer.given for layer in layers):
        return  # what is missing may stand in the file that could not be read
    for name, parameter in PARAMETERS.items():
        if not parameter.required or settings[name].value is not None or name in refused:
            continue
        places = [f"{profile} profile", *(_searched(layer.place, parameter) for layer in layers)]
        yield f"{name}: missing; searched, in order: {', '.join(places)}; valid: {parameter.kind.valid}"


def _searched(place: str, parameter: Parameter) -> str:
    spelling = {"environment": f" {parameter.environment_name}", "command line": f" --{parameter.name}"}
    return place + spelling.get(place, "")


def _unknown(given: Given) -> str:
    name = given.name if given.name.isprintable() else _shown(given.name)
    if given.name.startswith(SECRET_PREFIXES):
        return f"{name} ({given.origin}) is not a parameter: it is read from the environment, and belongs into no file"
    meant = nearest(given.name, (*PARAMETERS, *ALIASES))
    return f"{name} ({given.origin}) is not a parameter{meant}"


def _contradiction(parameter: Parameter, earlier: Given, later: Given) -> str:
    return (
        f"{parameter.name}: {_shown(later.text)} ({_origin(later)}) contradicts "
        f"{_shown(earlier.text)} ({_origin(earlier)}); valid: one of them"
    )


def _origin(given: Given) -> str:
    return f"{given.origin} as {given.name}" if given.name in ALIASES else given.origin


def _shown(text: str) -> str:
    """A text on one line, without secrets, and short enough to be read."""
    shown = json.dumps(without_secrets(text), ensure_ascii=not text.isprintable())
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…"
