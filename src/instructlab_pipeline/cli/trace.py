"""`trace RUN SAMPLE` and `trace RUN --document PATH`: from a sample back to its sentence, from a document forward."""

from collections import Counter
from collections.abc import Iterator, Mapping
from textwrap import indent
from typing import Any

import click

from instructlab_pipeline.cli.failures import print_json, told
from instructlab_pipeline.lineage import ledger_of

ID_SHOWN = 12  # characters
Record = Mapping[str, Any]


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("sample", required=False)
@click.option("--document", metavar="PATH", help="A document's path: show all that was made from it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def trace(run: str, sample: str | None, document: str | None, as_json: bool) -> None:
    """Show where a SAMPLE of the run in RUN comes from, a folder or s3://bucket/prefix, or what became of a document.

    SAMPLE is the beginning of an id (of a sample, an evaluation item or a training record), or words of a question.
    """
    with told(in_json=as_json):
        if (sample is None) == (document is None):
            raise click.UsageError("name either a SAMPLE or a --document")
        ledger = ledger_of(run)
        found = ledger.way_forward(document) if document else ledger.way_back(str(sample))
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(_forward_in_words(found) if document else _back_in_words(found)))


def _back_in_words(found: Record) -> Iterator[str]:
    yield f"{found['item']} {found['id']}"
    yield from _rows(
        {
            "question": found["question"],
            "choices": "; ".join(found["choices"] or ()),
            "answer": found["answer"],
            "scores": ", ".join(f"{name} {score:g}" for name, score in found["scores"].items()),
        }
    )
    yield ""
    yield from _rows(
        {
            "leaf": found["leaf"],
            "taxonomy": f"{found['taxonomy']['url']} at {found['taxonomy']['commit']}",
            "seed example": _example_in_words(found["seed_example"]),
            **_document_in_words(found["document"]),
            "flow": _flow_in_words(found["flow"]),
            "became": _fate_in_words(found),
        }
    )
    for number, call in enumerate(found["calls"], start=1):
        yield ""
        yield from _call_in_words(call, f"call {number} of {len(found['calls'])}")


def _rows(rows: Mapping[str, str]) -> Iterator[str]:
    for name, text in rows.items():
        if text:
            first, *others = text.splitlines()
            yield f"  {name:<14}{first}"
            yield from (" " * 16 + line for line in others)


def _example_in_words(example: Record) -> str:
    pairs = "\n".join(f"{pair['question']} -> {pair['answer']}" for pair in example["pairs"])
    return f"number {example['index']}, counted from 0\n{pairs}"


def _document_in_words(document: Record | None) -> Record:
    if document is None:
        return {}
    sentence = document["sentence"]
    span = f"characters {document['start']} to {document['end']}"
    nearest = f"characters {sentence['start']} to {sentence['end']}\n{sentence['text']}" if sentence else ""
    return {
        "document": f"{document['path']} of {document['repo']} at {document['commit']}, {span}",
        "sentence": nearest,
    }


def _flow_in_words(flow: Record) -> str:
    form = f", form {flow['form']}" if flow["form"] else ""
    return f"{flow['name']} {flow['digest'][:ID_SHOWN]}{form}, batch {flow['batch']}"


def _fate_in_words(found: Record) -> str:
    """Where an item was trained, left out or asked, one line each."""
    lines = [f"{place['phase']}.jsonl, {place['part'].replace('_', ' ')}: {place['id']}" for place in found["trained"]]
    lines += [f"left out of training: {record['reason']}" for record in found["left_out"]]
    for answer in found["evaluated"]:
        grades = ", ".join(f"{name} {grade['tuned']}" for name, grade in answer["grades"].items())
        lines.append(f"{answer['stage']}: {answer['tuned']!r} ({grades}); the base model: {answer['base']!r}")
    return "\n".join(lines) or "nothing yet: no later stage has it"


def _call_in_words(call: Record, title: str) -> Iterator[str]:
    reply = call["reply"]
    spent = f", {reply['tokens_in']} tokens in, {reply['tokens_out']} out" if reply else ""
    again = ", asked anew" if call["asked_anew"] else ""
    yield f"{title}: {call['step']}, by the {call['by']} {call['model']}{spent}{again}"
    yield f"  key {call['key']}"
    for message in call["prompt"] or [{"role": "prompt", "content": "(cannot be told: its replies are not known)"}]:
        yield f"  {message['role']}:"
        yield indent(message["content"], "    | ", lambda _line: True)
    yield "  reply:"
    yield indent(reply["text"] if reply else "(not in the journal any more)", "    | ", lambda _line: True)


def _forward_in_words(found: Record) -> Iterator[str]:
    document = found["document"]
    items = [item for chunk in found["chunks"] for item in chunk["items"]]
    trained = Counter(place["phase"] for item in items for place in item["trained"])
    asked = sum(bool(item["evaluated"]) for item in items)
    counts = Counter(item["item"] for item in items)
    yield f"{document['path']} of {document['repo']} at {document['commit']}"
    yield from _rows(
        {
            "leaves": "\n".join(found["leaves"]),
            "made": ", ".join(f"{count} x {kind}" for kind, count in counts.items()) or "nothing",
            "rejected": ", ".join(f"{count} {reason}" for reason, count in found["rejected"].items()),
            "trained": ", ".join(f"{count} records of {phase}" for phase, count in sorted(trained.items())),
            "asked": f"{asked} of them in an evaluation" if asked else "",
        }
    )
    for chunk in found["chunks"]:
        yield ""
        title = " > ".join(chunk["headings"])
        yield f"characters {chunk['start']} to {chunk['end']}" + (f", {title}" if title else "")
        for item in chunk["items"]:
            yield f"  {item['id'][:ID_SHOWN]}  {item['question']} -> {item['answer']}"
            yield f"  {'':<{ID_SHOWN}}  {_fate_in_short(item)}"


def _fate_in_short(item: Record) -> str:
    parts = sorted({f"{place['phase']} ({place['part'].replace('_', ' ')})" for place in item["trained"]})
    parts += [f"left out: {record['reason']}" for record in item["left_out"]]
    parts += [f"{answer['stage']}: {answer['tuned']!r}" for answer in item["evaluated"]]
    return f"{item['item']}: {', '.join(parts) or 'in no later stage yet'}"
