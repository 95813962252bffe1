"""One `qna.yaml`: from its bytes to a checked mapping, or to every fault at once.

A file is accepted exactly when InstructLab's schema 0.4.2, its linter taken strictly, accepts it. What that lets pass
and we doubt is a warning with a code.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.taxonomy import positions, shapes
from instructlab_pipeline.taxonomy.faults import Fault
from instructlab_pipeline.taxonomy.positions import Positioned, YamlFault
from instructlab_pipeline.taxonomy.shapes import KNOWLEDGE, SKILL

FILE_NAME = "qna.yaml"
KINDS = {"knowledge": KNOWLEDGE, "compositional_skills": SKILL, "foundational_skills": SKILL}  # by folder
MAX_BYTES = 1 << 20  # a hundred times what people write
LINT_RULES = "{extends: relaxed, rules: {line-length: disable}}"  # InstructLab's own


@dataclass(frozen=True, kw_only=True)
class Qna:
    """A file that was read. Where it cannot be used, or is empty, `data` is empty and `faults` say why."""

    path: str
    kind: str
    data: Mapping[str, Any]
    faults: tuple[Fault, ...]
    source: Positioned

    @property
    def version(self) -> int:
        return int(self.data.get("version", 1))

    def fault(self, where: positions.YamlPath, message: str, *, code: str = "") -> Fault:
        """One that other rooms of the check find later, at the value at `where`."""
        return _fault(self.path, self.source, where, message, code=code)


def read(path: str, data: bytes, *, folders: Sequence[str]) -> Qna:
    """`path` is for messages; `folders` are those in which the file lies, outermost first: they say its kind."""
    try:
        text = _decoded(data)
        source = positions.load(text)
    except YamlFault as found:
        fault = Fault(path=path, line=found.line, column=found.column, message=found.message)
        return _unusable(path, [fault], Positioned(None, None))
    if not source.value:
        fault = _fault(path, source, (), "the file is empty and is left out", code="empty-file")
        return _unusable(path, [fault], source)
    if not isinstance(source.value, dict):
        return _unusable(path, [_fault(path, source, (), "the file is not a mapping of keys to values")], source)
    return _checked(path, text, source, _kind(folders, source.value))


def _decoded(data: bytes) -> str:
    """UTF-8, with the line ends of any system as newlines."""
    if len(data) > MAX_BYTES:
        raise YamlFault(f"the file has {len(data)} bytes, at most {MAX_BYTES} are taken")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise YamlFault("the file is not UTF-8 text", line=data[: error.start].count(b"\n") + 1) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _kind(folders: Sequence[str], value: Mapping[str, Any]) -> str:
    """As the innermost folder of the taxonomy says; outside them, a file with a document is knowledge."""
    named = [KINDS[folder] for folder in folders if folder in KINDS]
    return named[-1] if named else KNOWLEDGE if "document" in value else SKILL


def _checked(path: str, text: str, source: Positioned, kind: str) -> Qna:
    version = _version(source.value.get("version", 1))
    faults = list(_shape_faults(path, source, kind, version))
    if version > 1:
        faults += _lint_faults(path, text)
    if any(not fault.code for fault in faults):
        return _unusable(path, faults, source)
    faults += _doubts(path, source, kind)
    return Qna(path=path, kind=kind, data=source.value, faults=tuple(faults), source=source)


def _version(value: Any) -> int:
    """The version whose rules apply; 0 for one that nobody knows. What is no number at all is judged as version 1."""
    try:
        version = 0 if isinstance(value, bool) else int(value)
    except OverflowError:
        version = 0
    except (TypeError, ValueError):
        version = 1
    return version if version in shapes.VERSIONS else 0


def _shape_faults(path: str, source: Positioned, kind: str, version: int) -> Iterator[Fault]:
    if version == 0:
        yield _fault(path, source, ("version",), f"version {source.value['version']} is not known; the newest is 3")
    elif kind == KNOWLEDGE and version < shapes.OLDEST_KNOWLEDGE:
        yield _fault(path, source, ("version",), f"knowledge of version {version} is not taken; write it as version 3")
    else:
        for complaint in shapes.complaints(shapes.shape_of(kind, version), source.value):
            place = source.position_of_key if complaint.of_key else source.position
            line, column = place(complaint.path)
            yield Fault(path=path, line=line, column=column, message=complaint.message)


def _lint_faults(path: str, text: str) -> Iterator[Fault]:
    """Every problem counts, whatever its level."""
    from yamllint import linter  # type: ignore[import-untyped]
    from yamllint.config import YamlLintConfig  # type: ignore[import-untyped]

    for problem in linter.run(text, YamlLintConfig(LINT_RULES)):
        yield Fault(path=path, line=problem.line, column=problem.column, message=f"{problem.desc} ({problem.rule})")


def _doubts(path: str, source: Positioned, kind: str) -> Iterator[Fault]:
    examples = source.value["seed_examples"]
    yield from _repeated_questions(path, source, kind)
    if kind == SKILL and len({"context" in example for example in examples}) > 1:
        message = "some examples have a context and some have none; each context is taken as part of its question"
        yield _fault(path, source, ("seed_examples",), message, code="mixed-contexts")


def _repeated_questions(path: str, source: Positioned, kind: str) -> Iterator[Fault]:
    """The same question about the same context twice."""
    seen = set()
    for index, example in enumerate(source.value["seed_examples"]):
        pairs = example["questions_and_answers"] if kind == KNOWLEDGE else [example]
        for number, pair in enumerate(pairs):
            asked = (example.get("context"), pair["question"].strip())
            if asked in seen:
                inner = ("questions_and_answers", number) if kind == KNOWLEDGE else ()
                where = ("seed_examples", index, *inner, "question")
                yield _fault(path, source, where, "this question was asked before", code="repeated-question")
            seen.add(asked)


def _unusable(path: str, faults: Sequence[Fault], source: Positioned) -> Qna:
    return Qna(path=path, kind="", data={}, faults=tuple(faults), source=source)


def _fault(path: str, source: Positioned, where: positions.YamlPath, message: str, *, code: str = "") -> Fault:
    line, column = source.position(where)
    return Fault(path=path, line=line, column=column, message=message, code=code)
