"""`params patch`: what `oc patch configmap --type merge` does, after a look at the values."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from instructlab_pipeline.errors import ParameterError, UsageError
from instructlab_pipeline.kube.names import CONFIGMAP, NAMESPACE
from instructlab_pipeline.params.layers import resolve_layers
from instructlab_pipeline.params.places import command_line_layer
from instructlab_pipeline.params.table import ALIASES, PARAMETERS, PROFILES


@click.command(short_help="Change them in the cluster's ConfigMap.")
@click.argument("changes", metavar="NAME=VALUE...", nargs=-1, required=True)
@click.option("-n", "--namespace", default=NAMESPACE, show_default=True, help="The namespace of the ConfigMap.")
@click.option("--configmap", "name", default=CONFIGMAP, show_default=True, help="The name of the ConfigMap.")
@click.option("--dry-run", is_flag=True, help="Let the API server check everything, and change nothing.")
def patch(changes: Sequence[str], namespace: str, name: str, dry_run: bool) -> None:
    """Change parameters in the cluster's ConfigMap; the next run has them."""
    from instructlab_pipeline.kube import configmap_live
    from instructlab_pipeline.kube.connection import connected

    texts = checked(changes)
    cluster = connected()
    before = configmap_live.read(cluster, name, namespace)
    after = configmap_live.patch(cluster, name, namespace, texts, dry_run=dry_run)
    for parameter in texts:
        click.echo(f"{parameter}: {_shown(before, parameter)} -> {_shown(after, parameter)}")
    click.echo(f"{'would change' if dry_run else 'changed'} ConfigMap {name} in {namespace}")
    for notice in sorted(_notices(after, name) - _notices(before, name)):
        click.echo(f"note: {notice}", err=True)


def checked(changes: Sequence[str]) -> dict[str, str]:
    """The changes by parameter, each a value that the parameter takes.

    Raises:
        UsageError: one is not NAME=VALUE. ParameterError: names or values are wrong; all of them are told.
    """
    pairs = [_pair(change) for change in changes]
    resolved = resolve_layers(PROFILES[0], [command_line_layer(pairs)])
    if resolved.faults:
        raise ParameterError(resolved.faults)
    return {ALIASES.get(name, name): text.strip() for name, text in pairs}


def _notices(data: Mapping[str, str], name: str) -> set[str]:
    """What is worth knowing of a ConfigMap, whichever profile it is for."""
    from instructlab_pipeline.kube import configmap

    layer = configmap.layer(data, f"ConfigMap {name}")
    resolved = (resolve_layers(profile, [configmap.chosen(layer, profile)]) for profile in PROFILES)
    return set.intersection(*(set(each.notices) for each in resolved))


def _pair(change: str) -> tuple[str, str]:
    name, equals, text = change.partition("=")
    if not equals:
        raise UsageError(f"{change!r} is not NAME=VALUE", remedy="write for example train_num_workers=6")
    return name.lower(), text


def _shown(data: Mapping[str, str], name: str) -> Any:
    return (PARAMETERS[name].kind.shown(data[name]) or '""') if name in data else "(not there)"
