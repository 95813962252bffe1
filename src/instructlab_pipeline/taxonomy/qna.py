"""One `qna.yaml`: from its bytes to a checked mapping, or to every fault at once.

A file is accepted exactly when InstructLab's schema 0.4.2, its linter taken strictly, accepts it. What that lets pass
and we doubt is a warning with a code. A good file in plain YAML is accepted without the exact reader and the linter,
which take fifty times as long and are needed only to explain.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from instructlab_pipeline.taxonomy import positions, shapes
from instructlab_pipeline.taxonomy.faults import Fault
from instructlab_pipeline.taxonomy.plain import plain_value
from instructlab_pipeline.taxonomy.positions import Positioned, YamlFault, YamlPath
from instructlab_pipeline.taxonomy.shapes import KNOWLEDGE, SKILL, Complaint

FILE_NAME = "qna.yaml"
FOUNDATIONAL = "foundational_skills"  # unknown to the schema, which tells by what stands in the file
KINDS = {"knowledge": KNOWLEDGE, "compositional_skills": SKILL, FOUNDATIONAL: SKILL}  # by folder
MAX_BYTES = 1 << 20  # a hundred times what people write
MAX_FAULTS = 100  # a file; whoever has mended those sees the next
A_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
LINT_RULES = "{extends: relaxed, rules: {line-length: disable}}"  # InstructLab's own


@dataclass(frozen=True, kw_only=True)
class Qna:
    """A file that was read. Where it cannot be used, or is empty, `data` is empty and `faults` say why."""

    path: str
    kind: str = ""
    data: Mapping[str, Any]
    faults: tuple[Fault, ...]
    text: str = ""

    @property
    def version(self) -> int:
        return int(self.data.get("version", 1))

    def fault(self, where: YamlPath, message: str, *, code: str = "") -> Fault:
        """One that other rooms of the check find later, at the value at `where`."""
        return _fault(self.path, positions.load(self.text), Complaint(path=tuple(where), message=message, code=code))


def read(path: str, data: bytes, *, folders: Sequence[str]) -> Qna:
    """`path` is for messages; `folders` are those in which the file lies, outermost first: they say its kind."""
    try:
        text = _decoded(data)
        return _accepted(path, text, folders) or _explained(path, text, folders)
    except YamlFault as found:
        fault = Fault(path=path, line=found.line, column=found.column, message=found.message)
        return _unusable(path, [fault])


def _decoded(data: bytes) -> str:
    """UTF-8, with the line ends of any system as newlines."""
    if len(data) > MAX_BYTES:
        raise YamlFault(f"the file has {len(data)} bytes, at most {MAX_BYTES} are taken")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise YamlFault("the file is not UTF-8 text", line=line, column=column) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _accepted(path: str, text: str, folders: Sequence[str]) -> Qna | None:
    """A good file in plain YAML; None where it takes a closer look to tell."""
    value = plain_value(text)
    if not value:
        return None
    kind = _kind(folders, value)
    if any(_complaints(value, kind)):
        return None
    doubts = list(_doubts(value, kind, folders))
    source = positions.load(text) if doubts else None
    faults = tuple(_fault(path, source, doubt) for doubt in doubts if source)
    return Qna(path=path, kind=kind, data=value, faults=faults, text=text)


def _explained(path: str, text: str, folders: Sequence[str]) -> Qna:
    """Any file, with all its faults.

    Raises:
        YamlFault: it is no YAML that we take.
    """
    source = positions.load(text)
    if not source.value:
        empty = Complaint(path=(), message="the file is empty and is left out", code="empty-file")
        return _unusable(path, [_fault(path, source, empty)])
    if not isinstance(source.value, dict):
        no_mapping = Complaint(path=(), message="the file is not a mapping of keys to values")
        return _unusable(path, [_fault(path, source, no_mapping)])
    kind = _kind(folders, source.value)
    faults = [_fault(path, source, complaint) for complaint in _complaints(source.value, kind)]
    if _version(source.value) > 1:
        faults += _lint_faults(path, text)
    if any(not fault.code for fault in faults):
        return _unusable(path, faults)
    data = _writable(source.value)
    if data != source.value:
        message = "an escape names half of a character; write the whole one"
        faults.append(_fault(path, source, Complaint(path=(), message=message, code="half-character")))
    faults += [_fault(path, source, doubt) for doubt in _doubts(data, kind, folders)]
    return Qna(path=path, kind=kind, data=data, faults=tuple(faults), text=text)


def _kind(folders: Sequence[str], value: Mapping[str, Any]) -> str:
    """As the innermost folder of the taxonomy says; elsewhere, a file with a document is knowledge."""
    named = [KINDS[folder] for folder in folders if folder in KINDS and folder != FOUNDATIONAL]
    return named[-1] if named else KNOWLEDGE if "document" in value else SKILL


def _writable(value: Any) -> Any:
    """With the halves of characters joined, as in JSON's escapes, or replaced: a file can hold none."""
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_writable(item) for item in value]
        case dict():
            return {key: _writable(item) for key, item in value.items()}
    return value


def _version(value: Mapping[str, Any]) -> int:
    """The version whose rules apply; 0 for one that nobody knows. What is no number at all is judged as version 1."""
    told = value.get("version", 1)
    try:
        version = 0 if isinstance(told, bool) else int(told)
    except OverflowError:
        version = 0
    except (TypeError, ValueError):
        version = 1
    return version if version in shapes.VERSIONS else 0


def _complaints(value: Mapping[str, Any], kind: str) -> Iterator[Complaint]:
    version = _version(value)
    if version == 0:
        message = f"version {_short(value['version'])} is not known; the newest is {max(shapes.VERSIONS)}"
        yield Complaint(path=("version",), message=message)
    elif kind == KNOWLEDGE and version < shapes.OLDEST_KNOWLEDGE:
        message = f"knowledge of version {version} is not taken; write it as version {shapes.OLDEST_KNOWLEDGE}"
        yield Complaint(path=("version",), message=message)
    else:
        yield from shapes.complaints(shapes.shape_of(kind, version), value)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:20]}..."


def _lint_faults(path: str, text: str) -> Iterator[Fault]:
    """Every problem counts, whatever its level."""
    from yamllint import linter  # type: ignore[import-untyped]

    for problem in linter.run(text, _lint_rules()):
        yield Fault(path=path, line=problem.line, column=problem.column, message=f"{problem.desc} ({problem.rule})")


@cache
def _lint_rules() -> Any:
    from yamllint.config import YamlLintConfig  # type: ignore[import-untyped]

    return YamlLintConfig(LINT_RULES)


def _doubts(value: Mapping[str, Any], kind: str, folders: Sequence[str]) -> Iterator[Complaint]:
    if kind == KNOWLEDGE and FOUNDATIONAL in folders:
        message = "knowledge lies among skills; it is taken as knowledge"
        yield Complaint(path=(), message=message, code="other-kind")
    if kind == KNOWLEDGE and not A_COMMIT.fullmatch(value["document"]["commit"].strip()):
        message = "this is no commit but a name that can move to other documents; write the commit's number"
        yield Complaint(path=("document", "commit"), message=message, code="moving-commit")
    if _has_blank(value):
        yield from _blank_texts(value)
    yield from _repeated_questions(value["seed_examples"], kind)
    if kind == SKILL and len({"context" in example for example in value["seed_examples"]}) > 1:
        message = "some examples have a context and some have none; each context is taken as part of its question"
        yield Complaint(path=("seed_examples",), message=message, code="mixed-contexts")


def _has_blank(value: Any) -> bool:
    if isinstance(value, str):
        return value.isspace()
    if isinstance(value, dict):
        return any(map(_has_blank, value.values()))
    return isinstance(value, list) and any(map(_has_blank, value))


def _blank_texts(value: Any, path: shapes.Path = ()) -> Iterator[Complaint]:
    """Nothing but spaces and line ends: InstructLab counts them as letters."""
    match value:
        case str():
            if value.isspace():
                message = f"{shapes.name_of(path)} holds nothing but space"
                yield Complaint(path=path, message=message, code="blank-text")
        case list():
            for index, item in enumerate(value):
                yield from _blank_texts(item, (*path, index))
        case dict():
            for key, item in value.items():
                yield from _blank_texts(item, (*path, key))


def _repeated_questions(examples: Sequence[Mapping[str, Any]], kind: str) -> Iterator[Complaint]:
    """The same question about the same context twice."""
    seen = set()
    for index, example in enumerate(examples):
        pairs = example["questions_and_answers"] if kind == KNOWLEDGE else [example]
        for number, pair in enumerate(pairs):
            asked = (example.get("context"), pair["question"].strip())
            if asked in seen:
                inner = ("questions_and_answers", number) if kind == KNOWLEDGE else ()
                where = ("seed_examples", index, *inner, "question")
                yield Complaint(path=where, message="this question was asked before", code="repeated-question")
            seen.add(asked)


def _unusable(path: str, faults: Sequence[Fault]) -> Qna:
    told = sorted(faults)[:MAX_FAULTS]
    if len(faults) > len(told):
        last, rest = told[-1], len(faults) - len(told)
        told.append(Fault(path=path, line=last.line, column=last.column, message=f"and {rest} more in this file"))
    return Qna(path=path, data={}, faults=tuple(told))


def _fault(path: str, source: Positioned, complaint: Complaint) -> Fault:
    place = source.position_of_key if complaint.of_key else source.position
    line, column = place(complaint.path)
    return Fault(path=path, line=line, column=column, message=complaint.message, code=complaint.code)
