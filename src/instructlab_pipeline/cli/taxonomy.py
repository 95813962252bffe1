"""`taxonomy check PATH...`: every fault of a taxonomy before it is committed, let alone used."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from instructlab_pipeline.cli.failures import told
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy.faults import Fault, errors, warnings
from instructlab_pipeline.taxonomy.tree import leaves_of_path


@click.group()
def taxonomy() -> None:
    """Check a taxonomy before it is used."""


@taxonomy.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def check(paths: Sequence[Path], as_json: bool) -> None:
    """Check each PATH: a taxonomy, a folder in one, or a single qna.yaml, as it lies there.

    Exits with 3 when a file has an error. Warnings, which end in a [code], do not count.
    """
    with told(in_json=as_json):
        results = [leaves_of_path(path) for path in paths]
    num_leaves = sum(len(leaves) for leaves, _ in results)
    faults = [fault for _, found in results for fault in found]
    click.echo(_as_json(num_leaves, faults) if as_json else _in_words(num_leaves, faults))
    wrong = errors(faults)
    if wrong:
        raise SourceError(f"the taxonomy has {len(wrong)} errors", remedy="mend the lines listed, then check again")


def _as_json(num_leaves: int, faults: Sequence[Fault]) -> str:
    report = {
        "num_leaves": num_leaves,
        "errors": [asdict(fault) for fault in errors(faults)],
        "warnings": [asdict(fault) for fault in warnings(faults)],
    }
    return json.dumps(report, indent=2, ensure_ascii=False)


def _in_words(num_leaves: int, faults: Sequence[Fault]) -> str:
    counts = f"{num_leaves} leaves can be used, {len(errors(faults))} errors, {len(warnings(faults))} warnings"
    return "\n".join([*map(str, sorted(faults)), counts])
