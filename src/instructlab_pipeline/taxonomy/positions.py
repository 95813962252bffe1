"""YAML with the position of every value, safe to read whoever wrote it.

PyYAML's own parser rather than libyaml's: the latter overflows the C stack on deep nesting and differs in rare corners
from what InstructLab reads with. What is plain and good never comes here (see `plain`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

NUMBERS = ("int", "float")
SHOWN = 30  # characters of a value in a message
MAX_DIGITS = 4300  # Python's own limit: longer numbers take seconds to read
MAX_NODES = 100_000  # each alias counted as all that it stands for: ten lines of aliases can stand for 10^10 nodes

YamlPath = Sequence[str | int]


class YamlFault(Exception):  # noqa: N818 - a verdict on the text, which the caller turns into a Fault
    """The text is no YAML that we take. `line` and `column` count from 1."""

    def __init__(self, message: str, *, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column


@dataclass(frozen=True)
class Positioned:
    """A value and the tree of nodes that it was built from; None for an empty text."""

    value: Any
    node: yaml.Node | None

    def position(self, path: YamlPath = ()) -> tuple[int, int]:
        """Line and column, from 1, of the value at `path`, or of the nearest one above it."""
        node = self.node
        for step in path:
            child = _child(node, step)
            if child is None:
                break
            node = child
        return _position(node)

    def position_of_key(self, path: YamlPath) -> tuple[int, int]:
        """As `position`, but of the key that stands before the value."""
        node = self.node
        for step in path[:-1]:
            node = _child(node, step)
        keys = [key for key, _ in node.value if key.value == path[-1]] if isinstance(node, yaml.MappingNode) else []
        return _position(keys[-1] if keys else node)


def load(text: str) -> Positioned:
    """Read one document.

    Raises:
        YamlFault: it is not valid, nested too deeply, or larger than it looks.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Positioned(None, None)
        if _num_nodes(node, {}) > MAX_NODES:
            raise YamlFault(f"aliases make this stand for more than {MAX_NODES} values")
        return Positioned(loader.construct_document(node), node)
    except yaml.MarkedYAMLError as error:
        raise _fault_at(f"not valid YAML: {_problem_of(error)}", error.problem_mark) from error
    except yaml.reader.ReaderError as error:
        raise _unprintable(text, error) from error
    except (ValueError, OverflowError) as error:  # an escape for a character that does not exist
        mark = loader.get_mark() if loader else None
        raise _fault_at(f"not valid YAML: {error}", mark) from error
    except RecursionError as error:
        raise YamlFault("nested too deeply") from error


def _problem_of(error: yaml.MarkedYAMLError) -> str:
    """PyYAML tells some as a half of a sentence."""
    problem = error.problem or error.context
    return f"{error.context}, {problem}" if error.context and str(problem).startswith("but ") else str(problem)


class _Loader(yaml.SafeLoader):
    """Tells the place of what PyYAML stumbles over: dates and numbers that do not exist, tags that do not fit."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        return super().construct_object(node, deep=deep)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        try:
            if kind in NUMBERS and len(node.value) > MAX_DIGITS:
                raise _problem(f"a number of {len(node.value)} digits is longer than any that we take", node)
            return super().construct_object(node)
        except (ValueError, OverflowError) as error:
            raise _problem(f"{_short(node.value)} is no {kind}: {error}", node) from error
        except (AttributeError, LookupError, TypeError) as error:
            raise _problem(f"{_short(node.value)} is no {kind}", node) from error


def _problem(message: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, message, node.start_mark)


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def _num_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """All that `node` stands for; more than any limit where an alias points to what it stands in."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MAX_NODES + 1  # while it is open
        children = [child for item in node.value for child in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_num_nodes(child, known) for child in children)
    return known[id(node)]


def _child(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    """The last of several equal keys counts, as in the value."""
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in reversed(node.value) if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        child: yaml.Node = node.value[step]
        return child
    return None


def _position(node: yaml.Node | None) -> tuple[int, int]:
    return (node.start_mark.line + 1, node.start_mark.column + 1) if node else (1, 1)


def _fault_at(message: str, mark: yaml.Mark | None) -> YamlFault:
    return YamlFault(message, line=mark.line + 1, column=mark.column + 1) if mark else YamlFault(message)


def _unprintable(text: str, error: yaml.reader.ReaderError) -> YamlFault:
    before = text[: error.position]
    return YamlFault(
        f"not valid YAML: character #x{ord(text[error.position]):04x} is not allowed",
        line=before.count("\n") + 1,
        column=error.position - before.rfind("\n"),
    )
