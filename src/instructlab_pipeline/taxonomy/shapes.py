"""What a `qna.yaml` must look like, version by version: the rules of InstructLab's schema 0.4.2 as a small table."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from typing import Any

Path = tuple[str | int, ...]
KNOWLEDGE = "knowledge"
SKILL = "skill"
OLDEST_KNOWLEDGE = 3
VERSIONS = (1, 2, 3)

# What YAML makes of a value; people write `yes` or `5` and mean text. A boolean is a number to Python: it comes first.
YAML_KINDS: tuple[tuple[Any, str], ...] = (
    (type(None), "empty"),
    (bool, "a boolean"),
    (int | float, "a number"),
    (date, "a date"),
    (dict, "a mapping"),
    (list, "a list"),
    (str, "text"),
)


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """`path` leads to the value; `of_key` points at its key instead. One with a `code` is a warning."""

    path: Path
    message: str
    of_key: bool = False
    code: str = ""


@dataclass(frozen=True)
class Text:
    min_length: int = 1


@dataclass(frozen=True)
class Version:
    number: int


@dataclass(frozen=True, kw_only=True)
class List:
    of: "Shape"
    min_items: int
    unique: bool = True


@dataclass(frozen=True, kw_only=True)
class Record:
    """A mapping. Other keys than these are errors unless it is `open`."""

    required: Mapping[str, "Shape"]
    optional: Mapping[str, "Shape"] = field(default_factory=dict)
    open: bool = False


Shape = Text | Version | List | Record

ANSWERED: Mapping[str, Shape] = {"question": Text(), "answer": Text()}
SKILL_EXAMPLE = Record(required=ANSWERED, optional={"context": Text()})
KNOWLEDGE_EXAMPLE = Record(
    required={
        "context": Text(),
        "questions_and_answers": List(of=Record(required=ANSWERED, open=True), min_items=3),
    }
)
DOCUMENT = Record(required={"repo": Text(), "commit": Text(), "patterns": List(of=Text(), min_items=1)})


def shape_of(kind: str, version: int) -> Record:
    """The shape of a file of this kind and version, both known."""
    if kind == KNOWLEDGE:
        return Record(
            required={
                "version": Version(version),
                "created_by": Text(),
                "domain": Text(),
                "document_outline": Text(),
                "document": DOCUMENT,
                "seed_examples": List(of=KNOWLEDGE_EXAMPLE, min_items=5),
            }
        )
    if version == 1:
        return Record(
            required={
                "created_by": Text(),
                "task_description": Text(min_length=0),
                "seed_examples": List(of=SKILL_EXAMPLE, min_items=1, unique=False),
            },
            optional={"version": Version(1)},
        )
    return Record(
        required={
            "version": Version(version),
            "created_by": Text(),
            "task_description": Text(),
            "seed_examples": List(of=SKILL_EXAMPLE, min_items=5),
        }
    )


def complaints(shape: Shape, value: Any, path: Path = ()) -> Iterator[Complaint]:
    """Every way in which `value` is not of `shape`."""
    match shape:
        case Text():
            yield from _about_text(shape, value, path)
        case Version():
            if isinstance(value, bool) or not isinstance(value, int | float) or value != shape.number:
                yield Complaint(path=path, message=f"version is {_kind(value)}, not the number {shape.number}")
        case List():
            yield from _about_list(shape, value, path)
        case Record():
            yield from _about_record(shape, value, path)


def _about_text(shape: Text, value: Any, path: Path) -> Iterator[Complaint]:
    if not isinstance(value, str):
        hint = "" if value is None or isinstance(value, dict | list) else "; put it in quotes"
        yield Complaint(path=path, message=f"{name_of(path)} is {_kind(value)}, not text{hint}")
    elif len(value) < shape.min_length:
        yield Complaint(path=path, message=f"{name_of(path)} is empty")


def _about_list(shape: List, value: Any, path: Path) -> Iterator[Complaint]:
    if not isinstance(value, list):
        yield Complaint(path=path, message=f"{name_of(path)} is {_kind(value)}, not a list")
        return
    if len(value) < shape.min_items:
        message = f"{name_of(path)} has {len(value)} of the at least {shape.min_items} items that it needs"
        yield Complaint(path=path, message=message)
    seen: dict[Hashable, int] = {}
    for index, item in enumerate(value):
        here = (*path, index)
        if shape.unique and (first := seen.setdefault(_comparable(item), index)) != index:
            yield Complaint(path=here, message=f"{name_of(here)} repeats number {first + 1}")
        yield from complaints(shape.of, item, here)


def _comparable(value: Any) -> Hashable:
    """Equal where JSON says so: to Python a boolean is a number, too."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return frozenset([(key, _comparable(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return (list, *map(_comparable, value))
    if isinstance(value, set):
        return frozenset(value)
    return (bool, value) if isinstance(value, bool) else value


def _about_record(shape: Record, value: Any, path: Path) -> Iterator[Complaint]:
    if not isinstance(value, dict):
        yield Complaint(path=path, message=f"{name_of(path)} is {_kind(value)}, not a mapping")
        return
    for name in shape.required:
        if name not in value:
            yield Complaint(path=path, message=f"{name} is missing" + (f" in {name_of(path)}" if path else ""))
    known = {**shape.required, **shape.optional}
    for name, item in value.items():
        if name in known:
            yield from complaints(known[name], item, (*path, name))
        elif not shape.open:
            near = get_close_matches(str(name), known, n=1)
            hint = f"; near it: {near[0]}" if near else ""
            yield Complaint(path=(*path, name), message=f"{name!r} is not a key that we know here{hint}", of_key=True)


def name_of(path: Path) -> str:
    """For a person: `seed_examples 2`, `answer`."""
    *above, last = path or ("the file",)
    return f"{above[-1]} {last + 1}" if isinstance(last, int) else str(last)


def _kind(value: Any) -> str:
    return next((name for kind, name in YAML_KINDS if isinstance(value, kind)), "of a kind that has no place here")
