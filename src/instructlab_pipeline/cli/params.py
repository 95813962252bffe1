"""`params`: what the parameters are, what they come to here, and where they go to."""

import json
from collections.abc import Sequence
from itertools import groupby
from textwrap import wrap
from typing import Any

import click

from instructlab_pipeline.cli.failures import told
from instructlab_pipeline.cli.options import ParameterCommand, parameter_options, resolved_options
from instructlab_pipeline.cli.params_export import export
from instructlab_pipeline.cli.params_patch import patch
from instructlab_pipeline.errors import ParameterError
from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.layers import Resolved
from instructlab_pipeline.params.readers import nearest
from instructlab_pipeline.params.table import ALIASES, PARAMETERS, Parameter

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


@click.group()
def params() -> None:
    """Show, check, list, describe, export and patch the parameters."""


@params.command(cls=ParameterCommand)
@json_option
@parameter_options
def show(as_json: bool, **options: Any) -> None:
    """Show every parameter's value and where it comes from."""
    with told(in_json=as_json):
        resolved = resolved_options(options)
        values = resolved.as_json()
    _print_notices(resolved)
    click.echo(_as_text(values) if as_json else _in_words(resolved))


@params.command(cls=ParameterCommand, short_help="List everything that is wrong with them.")
@json_option
@parameter_options
def check(as_json: bool, **options: Any) -> None:
    """Check that a run could start with these parameters; list everything that is wrong with them."""
    resolved = resolved_options(options)
    _print_notices(resolved)
    if as_json:
        click.echo(_as_text({"ok": not resolved.complaints, "complaints": list(resolved.complaints)}))
    if resolved.complaints:
        raise ParameterError(resolved.complaints)
    if not as_json:
        click.echo(f"all {len(PARAMETERS)} parameters are valid ({resolved.profile} profile)")


params.add_command(export)
params.add_command(patch)


@params.command(name="list", short_help="Explain all, or those named.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the page docs/parameters.md.")
def list_parameters(names: Sequence[str], as_json: bool, as_markdown: bool) -> None:
    """List every parameter, or those named, with type, defaults, valid values and meaning."""
    from instructlab_pipeline.params.reference import markdown
    from instructlab_pipeline.params.schema import described

    if as_json and as_markdown:
        raise click.UsageError("--json and --markdown exclude each other")
    chosen = _chosen(names)
    if as_markdown:
        click.echo(markdown(), nl=False)
    elif as_json:
        click.echo(_as_text([entry for entry in described() if entry["name"] in chosen]))
    else:
        click.echo(_listing(chosen))


def _chosen(names: Sequence[str]) -> list[str]:
    """The parameters of these names, in any spelling; all where none is named."""
    spelt = [name.lower().lstrip("-").replace("-", "_") for name in names]
    unknown = [name for name in spelt if name not in PARAMETERS and name not in ALIASES]
    if unknown:
        known = (*PARAMETERS, *ALIASES)
        raise ParameterError([f"{name} is not a parameter{nearest(name, known)}" for name in unknown])
    return [ALIASES.get(name, name) for name in spelt] or list(PARAMETERS)


@params.command()
def schema() -> None:
    """Print a JSON Schema for a mapping of parameters."""
    from instructlab_pipeline.params.schema import json_schema

    click.echo(_as_text(json_schema()))


def _as_text(value: Any) -> str:
    return json.dumps(value, indent=2)


def _print_notices(resolved: Resolved) -> None:
    for notice in resolved.notices:
        click.echo(f"note: {notice}", err=True)


def _in_words(resolved: Resolved) -> str:
    rows = [(name, _value_in_words(resolved, name), setting.origin) for name, setting in resolved.settings.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = []
    for title, group in groupby(rows, key=lambda row: PARAMETERS[row[0]].section):
        lines += ["", title, *(_aligned(row, widths) for row in group)]
    return "\n".join(lines[1:])


def _value_in_words(resolved: Resolved, name: str) -> str:
    value = PARAMETERS[name].kind.shown(resolved.settings[name].value)
    return "-" if value is None else text_of(value).replace("\n", " ") or '""'


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, value, origin = cells
    return f"  {name:<{widths[0]}}  {value:<{widths[1]}}  {origin}"


def _listing(names: Sequence[str]) -> str:
    lines = []
    chosen = (parameter for name, parameter in PARAMETERS.items() if name in names)
    for title, group in groupby(chosen, key=lambda parameter: parameter.section):
        lines += ["", title, *(line for parameter in group for line in _entry(parameter))]
    return "\n".join(lines[1:])


def _entry(parameter: Parameter) -> list[str]:
    from instructlab_pipeline.params.reference import default_in_words

    default = default_in_words(parameter).replace("`", "")
    meaning = wrap(parameter.meaning, 100, initial_indent="    ", subsequent_indent="    ")
    return ["", f"  {parameter.name} [{default}]", *meaning, f"    Valid: {parameter.kind.valid}."]
