"""`verify IMAGE`: whether a published image is what it says, from its manifests and proofs alone."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from instructlab_pipeline.cli.failures import print_json, told

if TYPE_CHECKING:
    from instructlab_pipeline.publish.verification import Verified

FORMS = "write REGISTRY/REPOSITORY:TAG, REGISTRY/REPOSITORY@sha256:DIGEST, or oci:DIRECTORY:TAG"


@click.command()
@click.argument("image")
@click.option("--key", type=click.Path(dir_okay=False), help="The publisher's public key, PEM; it must have signed.")
@click.option("--insecure", is_flag=True, help="Speak plain HTTP to the registry.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def verify(image: str, key: str | None, insecure: bool, as_json: bool) -> None:
    """Follow the published IMAGE back to the taxonomy's commit, and refuse it where a link is missing.

    IMAGE is REGISTRY/REPOSITORY:TAG, REGISTRY/REPOSITORY@sha256:..., or oci:DIRECTORY:TAG. No layer is pulled.

    Exit codes: 0 it holds, 3 there is no such image or proof, or it was damaged, 4 the registry failed, 5 not signed
    with --key, not passed, or not made of what passed.
    """
    from instructlab_pipeline.errors import UsageError
    from instructlab_pipeline.params.uris import base_image_fault, without_secrets
    from instructlab_pipeline.publish.evidence import gather
    from instructlab_pipeline.publish.signature import load_verifier
    from instructlab_pipeline.publish.verification import verify as verified

    with told(in_json=as_json):
        if fault := base_image_fault(image):
            raise UsageError(f"{without_secrets(image)} {fault}", remedy=FORMS)
        verifier = load_verifier(key) if key else None
        found = verified(gather(image, insecure=insecure), verifier)
    if as_json:
        print_json(asdict(found))
    else:
        click.echo(in_words(found))


def in_words(verified: "Verified") -> str:
    """The chain in words, from the image down to the taxonomy."""
    evaluation = verified.evaluation
    metrics = ", ".join(
        f"{name} {metric['tuned']:.3f} ({metric['interval'][0]:.3f} to {metric['interval'][1]:.3f})"
        for name, metric in evaluation["metrics"].items()
    )
    sure = "clear" if evaluation["clear"] else "not clear"
    rows = [
        ("image", f"{verified.reference}, {verified.digest}"),
        ("signature", verified.signature),
        ("model", f"{verified.name} {verified.version}, {verified.model_digest}"),
        ("verdict", f"pass, {sure}, on {evaluation['n']} questions, threshold {evaluation['threshold']}: {metrics}"),
        *([("base image", verified.base_image)] if verified.base_image else []),
        ("base model", f"{verified.base_model['uri']}, {verified.base_model['digest']}"),
        ("data", verified.dataset_digest),
        ("taxonomy", f"{verified.taxonomy['url']} at commit {verified.taxonomy['commit']}"),
        ("made by", verified.program),
    ]
    return "\n".join(f"{name:<12}{_shown(value)}" for name, value in rows)


def _shown(value: str) -> str:
    """Without what a terminal would obey, and what would pass for a line of ours: others may have made the image."""
    return "".join(letter if letter.isprintable() else "?" for letter in value)
