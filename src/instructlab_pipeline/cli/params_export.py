"""`params export`: the parameters as they come to here, written down for another place."""

from collections.abc import Mapping
from typing import Any

import click

from instructlab_pipeline.cli.options import ParameterCommand, parameter_options, resolved_options
from instructlab_pipeline.errors import ParameterError

FORMATS = ("env", "yaml", "configmap", "kustomize")


@click.command(cls=ParameterCommand, short_help="Print them as a file, a ConfigMap or an overlay.")
@click.option("--format", "form", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
@parameter_options
def export(form: str, **options: Any) -> None:
    """Print every parameter as a parameter file, a ConfigMap, or an excerpt for a kustomize overlay.

    What is missing or unset is empty.
    """
    from instructlab_pipeline.kube.configmap import texts_of

    resolved = resolved_options(options)
    if resolved.faults:
        raise ParameterError(resolved.faults)
    click.echo(_written(form, texts_of(resolved)), nl=False)


def _written(form: str, texts: Mapping[str, str]) -> str:
    from instructlab_pipeline.kube import configmap
    from instructlab_pipeline.params import export as forms

    if form == "env":
        return forms.env(texts)
    if form == "yaml":
        return forms.dumped(dict(texts))
    if form == "configmap":
        return forms.dumped(configmap.manifest(texts))
    return forms.sectioned(forms.dumped(configmap.kustomization(texts)))
