"""Flows are data: which calls lead from a leaf to its samples, in YAML (`flows/*.yaml`, `docs/flows.md`).

A step does one of three things with the reply: `each` turns every item of a list into a row of its own, `criteria`
judge the row, and otherwise the reply's fields join the row's; `same` says which of them must repeat what is known.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.errors import SourceError, UsageError, boundary
from instructlab_pipeline.sdg.calls import Form
from instructlab_pipeline.sdg.flow_rules import complaints_about
from instructlab_pipeline.sdg.leaves import KINDS, MULTIPLE_CHOICE
from instructlab_pipeline.sdg.replies import outline, strict
from instructlab_pipeline.sdg.templates import template_environment, with_tags_again

if TYPE_CHECKING:
    from jinja2 import Template

ALL_KINDS = (*KINDS, MULTIPLE_CHOICE)
BUILT_IN = Path(__file__).parent / "flows"
_MARKS = ("{{", "{%", "{#")  # of templates
BEST_SCORE, WORST_SCORE = 5, 1


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call for each row that comes to it. `by`: teacher or judge."""

    name: str
    by: str
    form: Form
    system: str
    prompt: str
    each: str | None
    item: str | None
    count: int
    criteria: Mapping[str, str]
    same: Mapping[str, str]

    def messages(self, **values: Any) -> list[dict[str, str]]:
        """The chat that asks for this step, with `values` in the templates' places."""
        named = {"count": self.count, **values, "criteria": self.criteria}
        system, prompt = self._templates
        return [
            {"role": "system", "content": system if isinstance(system, str) else system.render(named).strip()},
            {"role": "user", "content": f"{prompt.render(named).strip()}\n\n{self._form_of_reply}"},
        ]

    def plain(self, text: str) -> str:
        """A text of the reply, with the tags as the data had them."""
        return with_tags_again(text, self.system, self.prompt) if "&lt;" in text else text

    @cached_property
    def _form_of_reply(self) -> str:
        """For servers that do not hold a model to `response_format`."""
        return f"Reply with JSON alone, in this form: {outline(self.form.schema)}"

    @cached_property
    def _templates(self) -> "tuple[Template | str, Template]":
        """The system's template, or its text where it is always the same, and the prompt's."""
        environment = template_environment(self.system, self.prompt)
        is_fixed = not any(mark in self.system for mark in _MARKS)
        system = self.system.strip() if is_fixed else environment.from_string(self.system)
        prompt = environment.from_string(self.prompt)
        prompt.globals = dict(
            prompt.globals
        )  # which are copied for each rendering, name by name while they are a chain
        return system, prompt


@dataclass(frozen=True, kw_only=True)
class Flow:
    """`forms`: what kinds of item a chunk is asked for, by weight; skills have one form without a name.

    `expected_yield`: the share of asked items that are likely to pass, 0..1, until the leaf's own share is known.
    `choices`: for multiple choice, the fields that are the choices, `answer` first. `text`: the file as it was read.
    """

    name: str
    kind: str
    steps: Sequence[Step]
    forms: Mapping[str, float]
    worked_examples: int
    expected_yield: float
    choices: Sequence[str]
    digest: str
    text: str

    @property
    def fan_out(self) -> int:
        """How many rows each item of the first step leads to when nothing is lost."""
        return math.prod(step.count for step in self.steps[1:])


def chosen_flows(paths: str | None) -> dict[str, Flow]:
    """By kind: the user's own flows, and the built-in ones for the other kinds.

    paths: files, or folders of them, with commas between.

    Raises:
        UsageError: a path leads nowhere, or two of them are for one kind.
        SourceError: what is wrong with the files, each complaint with file and line.
    """
    own: dict[str, tuple[Path, Flow]] = {}
    for path in _files(paths or ""):
        flow = load_flow(path)
        if flow.kind in own:
            raise UsageError(
                f"sdg_flows names two flows for {flow.kind} leaves: {own[flow.kind][0]} and {path}",
                remedy="name one of them",
            )
        own[flow.kind] = path, flow
    return {kind: own[kind][1] if kind in own else built_in_flow(kind) for kind in ALL_KINDS}


def built_in_flow(kind: str) -> Flow:
    """One of ours, which needs no checking."""
    return _flow((BUILT_IN / f"{kind}.yaml").read_text(encoding="utf-8"))


def load_flow(path: Path) -> Flow:
    """A flow from its file.

    Raises:
        SourceError: every complaint about it, each with file and line.
    """
    with boundary(SourceError, f"reading {path}", remedy="a flow is a text file in UTF-8"):
        text = path.read_text(encoding="utf-8")
    complaints = complaints_about(text, file=str(path))
    if complaints:
        raise SourceError("\n".join(complaints), remedy="docs/flows.md explains every key of a flow")
    return _flow(text)


def _flow(text: str) -> Flow:
    import yaml

    record = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    plan = record["plan"]
    return Flow(
        name=record["flow"],
        kind=record["kind"],
        steps=tuple(_step(step) for step in record["steps"]),
        forms=plan.get("forms", {"": 1}),
        worked_examples=plan["worked_examples"],
        expected_yield=plan["expected_yield"],
        choices=record.get("choices", ()),
        digest=digest_of(record),
        text=text,
    )


def _files(paths: str) -> Iterator[Path]:
    for name in filter(None, map(str.strip, paths.split(","))):
        path = Path(name).expanduser()
        found = sorted(path.glob("*.yaml")) if path.is_dir() else [path] if path.is_file() else []
        if not found:
            what = "holds no *.yaml" if path.is_dir() else "is not there"
            raise UsageError(
                f"sdg_flows names {name}, which {what}",
                remedy="name YAML files, or folders of them, seen from where the command runs",
            )
        yield from found


def _step(record: Mapping[str, Any]) -> Step:
    criteria = record.get("criteria", {})
    return Step(
        name=record["name"],
        by=record["by"],
        form=Form(
            sampling=record["sampling"],
            schema_name=record["schema"],
            schema=strict(verdict_schema(criteria) if criteria else record["reply"]),
        ),
        system=record["system"],
        prompt=record["prompt"],
        each=record.get("each"),
        item=record.get("as"),
        count=record.get("count", 1),
        criteria=criteria,
        same=record.get("same", {}),
    )


def verdict_schema(criteria: Mapping[str, str]) -> dict[str, Any]:
    """The reason comes first: a judge that explains before it scores scores better."""
    score = {"type": "integer", "minimum": WORST_SCORE, "maximum": BEST_SCORE}
    return {"type": "object", "properties": {"reason": {"type": "string"}, **dict.fromkeys(criteria, score)}}
