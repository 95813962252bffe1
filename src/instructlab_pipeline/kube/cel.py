"""The few words of CEL, the API server's expression language, that the admission policy is written in.

An expression is a text here. A *fault* is an expression of type string: why a value is refused, or '' where it is not.
Of Kubernetes's own functions only `find` and `findAll` are used; the rest is CEL with its strings extension.
"""

from collections.abc import Iterable

NO_FAULT = "''"


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def listed(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(quoted, texts))}]"


def pattern(text: str) -> str:
    """A raw string literal for a regular expression, which CEL hands to RE2."""
    return f"r'''{text}'''" if "'" in text else f"r'{text}'"


def matches(value: str, expression: str) -> str:
    """Whether `expression` matches all of `value`."""
    return f"{value}.matches({pattern(f'^(?s:{expression})$')})"


def finds(value: str, expression: str) -> str:
    """Whether `expression` matches somewhere in `value`."""
    return f"{value}.matches({pattern(expression)})"


def sentence(*parts: str) -> str:
    """Expressions of strings, one after another."""
    return " + ".join(parts)


def first_fault(*rules: tuple[str, str], otherwise: str = NO_FAULT) -> str:
    """The reason of the first rule whose condition holds: each rule is (condition, reason), both expressions."""
    return f"({''.join(f'{condition} ? {reason} : ' for condition, reason in rules)}{otherwise})"


def first_of(*rules: tuple[str, str]) -> str:
    """As `first_fault`, for rules that can all be evaluated, in an expression that is flat: parsers limit the depth."""
    return first_in(f"[{', '.join(f'{condition} ? {reason} : {NO_FAULT}' for condition, reason in rules)}]")


def first_in(faults: str) -> str:
    """The first fault of a list of them."""
    return f"({faults}.filter(f, f != '') + [''])[0]"


def bind(name: str, value: str, body: str) -> str:
    """`body` with `name` standing for `value`; CEL itself has no such form that every API server knows."""
    return f"[{value}].map({name}, {body})[0]"


def in_quotes(value: str) -> str:
    """A value as Python's repr shows a short text."""
    return sentence(quoted("'"), value, quoted("'"))
