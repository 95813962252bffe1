"""`taxonomy check` and `taxonomy diff`: every fault before a run meets it, and what a change touches."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from instructlab_pipeline.cli.failures import print_json, told
from instructlab_pipeline.errors import SourceError, UsageError
from instructlab_pipeline.taxonomy import git
from instructlab_pipeline.taxonomy.changes import changes_since
from instructlab_pipeline.taxonomy.check import Report, check_commit, check_path
from instructlab_pipeline.taxonomy.faults import Fault, as_annotation, errors, warnings
from instructlab_pipeline.taxonomy.git_url import parse_with_login


@click.group()
def taxonomy() -> None:
    """Check a taxonomy before it is used, and see what a change touches."""


@taxonomy.command(short_help="List every fault, by file, line and column.")
@click.argument("places", nargs=-1, required=True, metavar="PATH-OR-URL...")
@click.option("--revision", help="Check what git has under this branch, tag, commit or refs/pull/N/head.")
@click.option("--strict", is_flag=True, help="Take every warning for an error.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object on stdout.")
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text", show_default=True)
def check(places: Sequence[str], revision: str | None, strict: bool, form: str) -> None:
    """Check a taxonomy, a folder in one or a single qna.yaml as it lies there, or a git repository by its URL.

    Exits with 3 when a file has an error. Warnings, which end in a [code], count only with --strict. The format
    `github` makes annotations in a workflow of GitHub.
    """
    with told(in_json=form == "json"):
        reports = [_report(place, revision) for place in places]
    num_leaves = sum(report.num_leaves for report in reports)
    faults = sorted({fault for report in reports for fault in report.faults})
    wrong = faults if strict else errors(faults)
    doubtful = [] if strict else warnings(faults)
    click.echo(_PRINTERS[form](num_leaves, wrong, doubtful))
    if wrong:
        raise SourceError(
            f"the taxonomy has {_counted(wrong, 'error')}", remedy="mend the lines listed, then check again"
        )


@taxonomy.command(short_help="List the leaves that a change touches.")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--base", required=True, metavar="REF", help="The branch, tag or commit to compare with.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def diff(path: Path, base: str, as_json: bool) -> None:
    """List the leaves below PATH that were added, changed or deleted since REF, uncommitted work included."""
    with told(in_json=as_json):
        changes = changes_since(path, base)
    if as_json:
        print_json(
            {"base": changes.base, "added": changes.added, "changed": changes.changed, "deleted": changes.deleted}
        )
        return
    marked = [(leaf, mark) for mark, leaves in changes.by_mark().items() for leaf in leaves]
    for leaf, mark in sorted(marked):
        click.echo(f"{mark:<8} {leaf}")
    if not marked:
        click.echo(f"no leaf differs from {base}", err=True)


def _report(place: str, revision: str | None) -> Report:
    """What lies there is checked as it lies there; what is to be had from git alone, at its commit."""
    if revision is None and os.path.exists(place) and not _is_bare(Path(place)):  # noqa: PTH110 - as below
        return check_path(Path(place))
    url = parse_with_login(place, os.environ)
    if url.local and not os.path.exists(url.address):  # noqa: PTH110 - what is too long a name for Path is not there
        raise UsageError(f"there is no {place}", remedy="name a file, a folder, or the URL of a git repository")
    with tempfile.TemporaryDirectory() as cache:
        return check_commit(git.checkout(url, revision, Path(cache)))


def _is_bare(folder: Path) -> bool:
    """A repository without a working tree."""
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir()


def _as_text(num_leaves: int, wrong: Sequence[Fault], doubtful: Sequence[Fault]) -> str:
    lines = map(str, sorted([*wrong, *doubtful]))
    leaves = "1 leaf" if num_leaves == 1 else f"{num_leaves} leaves"
    return "\n".join([*lines, f"{leaves} can be used, {_counted(wrong, 'error')}, {_counted(doubtful, 'warning')}"])


def _as_json(num_leaves: int, wrong: Sequence[Fault], doubtful: Sequence[Fault]) -> str:
    report = {"num_leaves": num_leaves, "errors": [*map(asdict, wrong)], "warnings": [*map(asdict, doubtful)]}
    return json.dumps(report, indent=2, ensure_ascii=False)


def _as_annotations(_num_leaves: int, wrong: Sequence[Fault], doubtful: Sequence[Fault]) -> str:
    told = [(fault, "error") for fault in wrong] + [(fault, "warning") for fault in doubtful]
    return "\n".join(as_annotation(fault, level) for fault, level in sorted(told))


_PRINTERS = {"text": _as_text, "json": _as_json, "github": _as_annotations}


def _counted(faults: Sequence[Fault], noun: str) -> str:
    return f"{len(faults)} {noun}" if len(faults) == 1 else f"{len(faults)} {noun}s"
