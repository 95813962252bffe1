"""`kube`: the pipeline on a cluster."""

from pathlib import Path

import click

from instructlab_pipeline.cli import kubeflow


@click.group()
def kube() -> None:
    """Put the pipeline on a cluster, start it there, and look after it."""


@kube.command(short_help="Write what is applied to a cluster.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("deploy"), show_default=True)
def manifests(output: Path) -> None:
    """Write what is applied to a cluster: kustomize base and overlays, secrets' templates, admission policy."""
    from instructlab_pipeline.kube.manifests import files

    for name, text in files().items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    click.echo(f"wrote {len(files())} files below {output}")


COMMANDS = (
    kubeflow.compile_,
    kubeflow.submit,
    kubeflow.status,
    kubeflow.logs,
    kubeflow.prepare,
    kubeflow.clean,
    kubeflow.notify,
)
for command in COMMANDS:
    kube.add_command(command)
