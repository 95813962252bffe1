"""Parameter files: the `.env` form of the specification, or YAML (a mapping, or a ConfigMap manifest).

The `.env` form is what shells, docker and python-dotenv agree on, one `NAME=value` a line. Where they do not agree
(variables inside a value), nothing is guessed.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructlab_pipeline.params.places import Given, Layer

if TYPE_CHECKING:
    import yaml

YAML_SUFFIXES = (".yaml", ".yml", ".json")
NULL = "tag:yaml.org,2002:null"

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(?P<value>.*)", re.DOTALL)
_SINGLE_QUOTED = re.compile(r"'(?P<text>[^']*)'(?P<rest>.*)", re.DOTALL)
_DOUBLE_QUOTED = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"(?P<rest>.*)', re.DOTALL)
_VARIABLE = re.compile(r"(?<!\\)(?:\\\\)*\$[A-Za-z_{(]")


def file_layer(path: str) -> Layer:
    """What a parameter file gives; whatever is wrong with it becomes complaints that name the line."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        return Layer(place=path, complaints=[f"{path} cannot be read: {error.strerror}"])
    except ValueError as error:
        reason = "is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else "is not a path"
        return Layer(place=path, complaints=[f"{path!r} {reason}"])
    return yaml_layer(text, path) if path.lower().endswith(YAML_SUFFIXES) else env_layer(text, path)


def env_layer(text: str, place: str) -> Layer:
    given: list[Given] = []
    complaints: list[str] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line, origin = raw.strip(), f"{place}:{number}"
        if not line or line.startswith("#"):
            continue
        try:
            name, value = _assignment(line)
        except ValueError as error:
            complaints.append(f"{origin}: {error}")
        else:
            given.append(Given(name=name, text=value, origin=origin))
    return Layer(place=place, given=given, complaints=complaints)


def yaml_layer(text: str, place: str) -> Layer:
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return Layer(place=place, given=list(_entries(node, place)))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return Layer(place=place, complaints=[f"{place}:{line}: not YAML that can be read: {error.problem}"])
    except yaml.YAMLError:
        return Layer(place=place, complaints=[f"{place}: a control character in it, which YAML does not allow"])
    except RecursionError:
        return Layer(place=place, complaints=[f"{place}: nested too deeply"])
    except ValueError as error:
        return Layer(place=place, complaints=[f"{place}: {error}"])


def _assignment(line: str) -> tuple[str, str]:
    """Name and value of a line. What is wrong never quotes the line: it may hold a secret.

    Raises:
        ValueError: a sentence about the line.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError('this line is not NAME="value"')
    return match["name"].lower(), _value(match["value"])


def _value(text: str) -> str:
    if text.startswith("'"):
        return _quoted(_SINGLE_QUOTED, text)["text"]
    if text.startswith('"'):
        inner = _quoted(_DOUBLE_QUOTED, text)["text"]
        _refuse_variables(inner)
        return re.sub(r'\\(["\\$`])', r"\1", inner)
    value = re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
    _refuse_variables(value)
    return value


def _quoted(form: re.Pattern[str], text: str) -> re.Match[str]:
    match = form.fullmatch(text)
    if match is None:
        raise ValueError("the quote that opens the value is not closed on this line")
    rest = match["rest"].strip()
    if rest and not rest.startswith("#"):
        raise ValueError("there is text after the closing quote; a comment starts with #")
    return match


def _refuse_variables(text: str) -> None:
    if _VARIABLE.search(text):
        raise ValueError("variables are not expanded here: write the value itself, or put it in single quotes")


def _entries(node: "yaml.Node | None", place: str) -> Iterator[Given]:
    """The entries of a mapping, or of a ConfigMap's `data`.

    Raises:
        ValueError: it is something else.
    """
    if node is None:
        return
    pairs = _pairs(node)
    by_name = {key.value: value for key, value in pairs}
    if "kind" in by_name and by_name["kind"].value == "ConfigMap":
        pairs = _pairs(by_name["data"]) if "data" in by_name else []
    for key, value in pairs:
        yield Given(name=str(key.value).lower(), text=_text(value), origin=f"{place}:{key.start_mark.line + 1}")


def _pairs(node: "yaml.Node") -> "list[tuple[yaml.Node, yaml.Node]]":
    import yaml

    if not isinstance(node, yaml.MappingNode) or not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
        raise ValueError("a parameter file in YAML is one mapping of parameter names to values")
    return list(node.value)


def _text(node: "yaml.Node") -> str:
    """A scalar exactly as written (1.10 stays 1.10); a list or mapping as JSON, null as nothing."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return "" if node.tag == NULL else str(node.value)
    value = _constructed(node)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return ",".join(value)
    try:
        return json.dumps(value, separators=(",", ":"))
    except TypeError as error:
        line = node.start_mark.line + 1
        raise ValueError(f"the value that starts in line {line} is not JSON: {error}") from error


def _constructed(node: "yaml.Node") -> Any:
    import yaml

    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()
