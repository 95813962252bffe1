"""Question sets of the user's own: JSONL files, one question a line, asked beside the generated ones.

    {"question": "How deep is the well?", "reference": "12 metres"}
    {"question": "Which colour?", "choices": ["red", "blue"], "key": 1, "id": "colour", "leaf": "paint"}

`question`   required
`reference`  the expected answer; of a question with choices it is the right one
`choices`    two or more texts, with `key`, the index of the right one, from 0
`context`    the text that the question speaks of, if any
`id`         unique in the file; where it is missing, the number of the line
`leaf`       under which it is counted; where it is missing, `questions/` and the file's name
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import digest_of, file_digest
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.evaluation.items import Item, item_of

FIELDS = ("question", "reference", "choices", "key", "context", "id", "leaf")
LEAST_CHOICES = 2
PARAMETER = "eval_questions"
COMPLAINTS_SHOWN = 20

_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")

Asked = tuple[str, str | None, frozenset[str]]  # question, context, choices


def own_items(paths: Iterable[str]) -> list[Item]:
    """The questions of all files, in order. Ids start with the file's name, so that they are unique over all of them.

    Raises:
        SourceError: a file is not there, or lines of it cannot be used; all of them are named.
    """
    items: dict[str, Item] = {}
    asked: dict[Asked, str] = {}  # where each question stands
    names: list[str] = []
    complaints: list[str] = []
    for path in map(Path, paths):
        names.append(_name(path, names))
        for number, line in _lines(path):
            place, (record, complaint) = f"{path}:{number}", _read(line)
            if complaint is None:
                item = _item(record, names[-1], number)
                complaint = _twin(item, items, asked)
                items[item.id] = item
                asked.setdefault(_asked(item), place)
            if complaint is not None:
                complaints.append(f"{place}: {complaint}")
    if complaints:
        more = len(complaints) - COMPLAINTS_SHOWN
        shown = [*complaints[:COMPLAINTS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise SourceError(
            "eval_questions cannot be used:\n" + "\n".join(shown),
            remedy="mend these lines; docs/evaluation.md says what a line holds",
        )
    return list(items.values())


def content_digest(paths: Sequence[str], *, parameter: str = PARAMETER) -> str:
    """Stands for every byte of these files; empty without any."""
    _require_files(paths, parameter)
    return digest_of([[path, file_digest(Path(path))] for path in paths]) if paths else ""


def _require_files(paths: Iterable[str], parameter: str) -> None:
    for path in map(Path, paths):
        if not path.is_file():
            fault = f"{path} is a folder, or can be read but once" if path.exists() else f"there is no file {path}"
            raise SourceError(
                f"{parameter}: {fault}", remedy=f"correct {parameter}: it names files, with commas between"
            )


def _name(path: Path, taken: Sequence[str]) -> str:
    """`questions/` and the file's name, with a number where another file of the same name came before."""
    name = f"questions/{path.stem}"
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    _require_files([str(path)], PARAMETER)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # a text may hold the other signs that end a line
    except UnicodeDecodeError as error:
        raise SourceError(f"eval_questions: {path} is not UTF-8: {error}", remedy="save it as UTF-8") from error
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not filled:
        raise SourceError(f"eval_questions: {path} holds no question", remedy="correct eval_questions")
    yield from filled


def _read(line: str) -> tuple[dict[str, Any], str | None]:
    """The record of a line, or what is wrong with it."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {}, f"is not JSON: {error}"
    if not isinstance(record, dict):
        return {}, "is not a JSON object"
    if _HALF_A_CHARACTER.search(json.dumps(record, ensure_ascii=False)):
        return {}, "holds half of a character (\\ud800 to \\udfff), which no tokenizer takes"
    return record, _fault(record)


def _fault(record: Mapping[str, Any]) -> str | None:
    if unknown := sorted(set(record) - set(FIELDS)):
        return f"{unknown[0]!r} is not known; known are {', '.join(FIELDS)}"
    if not _is_text(record.get("question")):
        return "question is missing, or no text"
    wrong = next((name for name in ("context", "id", "leaf") if name in record and not _is_text(record[name])), None)
    if wrong is not None:
        return f"{wrong} is no text"
    if "choices" in record or "key" in record:
        return _choices_fault(record)
    return None if _is_text(record.get("reference")) else "reference is missing, or no text"


def _choices_fault(record: Mapping[str, Any]) -> str | None:
    choices, key = record.get("choices"), record.get("key")
    if not isinstance(choices, list) or len(choices) < LEAST_CHOICES or not all(map(_is_text, choices)):
        return "choices is no list of two or more texts"
    if len(set(choices)) < len(choices):
        return "two choices are the same"
    if not isinstance(key, int) or isinstance(key, bool) or not 0 <= key < len(choices):
        return f"key is no index of a choice, 0 to {len(choices) - 1}"
    if record.get("reference", choices[key]) != choices[key]:
        return "reference is not the choice at key"
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _item(record: Mapping[str, Any], prefix: str, number: int) -> Item:
    reference = record["choices"][record["key"]] if "choices" in record else record["reference"]
    name = record.get("id", str(number))
    return item_of({"leaf": prefix, **record, "id": f"{prefix}/{name}", "reference": reference})


def _twin(item: Item, items: Mapping[str, Item], asked: Mapping[Asked, str]) -> str | None:
    """Two lines of one question would count as two proofs."""
    if item.id in items:
        return f"the id {item.id.rpartition('/')[2]} is there already"
    place = asked.get(_asked(item))
    return None if place is None else f"asks the same as {place}"


def _asked(item: Item) -> Asked:
    question = unicodedata.normalize("NFC", " ".join(item.question.split()))
    return question, item.context, frozenset(item.choices)
