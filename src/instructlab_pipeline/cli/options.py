"""The parameters as options: `--env`, `--from-configmap`, `--params`, and one option per entry of the parameter table.

`@click.command(cls=ParameterCommand)` groups them in the help, `@parameter_options` adds them, and
`resolved_options(options)` makes parameters of what the command was called with.
"""

import os
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, TypeVar

import click

from instructlab_pipeline.params.layers import Resolved, resolve
from instructlab_pipeline.params.places import Layer, record_layer
from instructlab_pipeline.params.reference import default_in_words
from instructlab_pipeline.params.table import ALIASES, PARAMETERS, PROFILES, Parameter

Record = Mapping[str, Mapping[str, Any]]
Function = TypeVar("Function", bound=Callable[..., Any])

env_option = click.option(
    "--env", type=click.Choice(PROFILES), default=PROFILES[0], show_default=True, help="The profile of defaults."
)
configmap_option = click.option(
    "--from-configmap",
    metavar="NAME",
    help="A ConfigMap of the cluster, NAME or NAMESPACE/NAME, or a file FILE.yaml that holds one; parameter files win "
    "over it.",
)
params_option = click.option(
    "--params",
    metavar="FILE",
    multiple=True,
    help="A parameter file, .env or YAML; a later one wins.",
)


class ParameterOption(click.Option):
    """The option of one parameter. It takes text: what is wrong with it is said with all the other complaints."""

    def __init__(self, *arguments: Any, parameter: Parameter, **settings: Any) -> None:
        self.parameter = parameter
        super().__init__(*arguments, **settings)

    def get_help_record(self, _context: click.Context) -> tuple[str, str] | None:
        if self.hidden:
            return None
        default = default_in_words(self.parameter).replace("`", "")
        return f"--{self.parameter.name} VALUE", f"{self.parameter.meaning} [{default}]"


class ParameterCommand(click.Command):
    """A command whose help lists its own options first, and then those of the parameters by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        for title, group in groupby(options, key=_section):
            records = [record for option in group if (record := option.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def parameter_options(function: Function) -> Function:
    """Add `--env`, `--from-configmap`, `--params`, and an option per parameter, and hidden ones for the aliases."""
    for alias, name in reversed(list(ALIASES.items())):
        function = _option(alias, PARAMETERS[name], hidden=True)(function)
    for name, parameter in reversed(list(PARAMETERS.items())):
        function = _option(name, parameter, hidden=False)(function)
    return env_option(configmap_option(params_option(function)))


def resolved_options(
    options: Mapping[str, Any], *, recorded: Mapping[str, Mapping[str, Any]] | None = None
) -> Resolved:
    """The parameters by profile, files, environment and options.

    options: what click made of the options that `parameter_options` added.
    recorded: what a run recorded, `{"<name>": {"value", "origin"}}`; it stands in for the profile.
    """
    return resolve(
        profile=options["env"],
        files=options["params"],
        environment=os.environ,
        overrides=[(name, text) for name in (*PARAMETERS, *ALIASES) for text in options.get(name, ())],
        base=[*([record_layer(recorded)] if recorded else []), *_configmap_layers(options)],
    )


def _configmap_layers(options: Mapping[str, Any]) -> list[Layer]:
    if not options.get("from_configmap"):
        return []
    from instructlab_pipeline.cli.configmap import configmap_layer

    return [configmap_layer(options["from_configmap"], options["env"])]


def _option(name: str, parameter: Parameter, *, hidden: bool) -> Callable[[Function], Function]:
    spellings = (name, f"--{name}", f"--{name.replace('_', '-')}")
    return click.option(*spellings, cls=ParameterOption, parameter=parameter, multiple=True, hidden=hidden)


def _section(option: click.Option) -> str:
    return f"{option.parameter.section} parameters" if isinstance(option, ParameterOption) else "Options"
