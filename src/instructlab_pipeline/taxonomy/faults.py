"""A fault in a file of the taxonomy: where, what, and whether the file can be used all the same."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from instructlab_pipeline.errors import SourceError

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # would break the line, or steer the terminal


@dataclass(frozen=True, order=True, kw_only=True)
class Fault:
    """`line` and `column` count from 1. One with a `code` is a warning: InstructLab takes the file, and so do we."""

    path: str
    line: int
    column: int
    message: str
    code: str = ""

    def __str__(self) -> str:
        code = f" [{self.code}]" if self.code else ""
        line = f"{self.path}:{self.line}:{self.column}: {self.message}{code}"
        return CONTROL.sub(lambda sign: sign[0].encode("unicode_escape").decode(), line)


def errors(faults: Iterable[Fault]) -> list[Fault]:
    return sorted(fault for fault in faults if not fault.code)


def warnings(faults: Iterable[Fault]) -> list[Fault]:
    return sorted(fault for fault in faults if fault.code)


def as_annotation(fault: Fault, level: str) -> str:
    """As a workflow of GitHub shows it beside the line; `level` is error or warning."""
    title = f",title={_escaped(fault.code, ':,')}" if fault.code else ""
    place = f"file={_escaped(fault.path, ':,')},line={fault.line},col={fault.column}{title}"
    return f"::{level} {place}::{_escaped(fault.message)}"


def _escaped(text: str, also: str = "") -> str:
    """Percent signs, line ends and the characters of `also` as their codes, as GitHub's commands want them."""
    return "".join(f"%{ord(letter):02X}" if letter in f"%\r\n{also}" else letter for letter in text)


def refuse(faults: Iterable[Fault]) -> None:
    """Raise one SourceError that lists every error, if there is any."""
    lines = [str(fault) for fault in errors(faults)]
    if lines:
        raise SourceError("\n".join(lines), remedy="mend these lines, then run the same command again")
