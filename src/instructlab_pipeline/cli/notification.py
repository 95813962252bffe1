"""Telling the webhook of `notify_webhook_url` how a run ended."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from instructlab_pipeline.cli import failures
from instructlab_pipeline.params.uris import without_path

TOLD = ("evaluation", "image", "report")


@contextmanager
def notified(url: str | None, run: str, report: Mapping[str, Any]) -> Iterator[None]:
    """Around a run: whatever ends it, the webhook hears of it; whether it does never changes how the run ends."""
    error = None
    try:
        yield
    except (Exception, KeyboardInterrupt) as failure:
        error = failures.as_json(failure)
        raise
    finally:
        if url:
            _notify(url, run, error, report)


def tell_end(url: str, run: str, state: str) -> None:
    """From the last step of a Kubeflow pipeline, which knows how it ended and nothing more."""
    ended = {"exit_code": None, "message": f"the pipeline ended as {state}", "remedy": "see the steps' logs"}
    _notify(url, run, None if state == "SUCCEEDED" else ended, {})


def _notify(url: str, run: str, error: Mapping[str, Any] | None, report: Mapping[str, Any]) -> None:
    from instructlab_pipeline.notification import deliver, message

    facts = {name: report[name] for name in TOLD if name in report}
    try:
        complaint = deliver(url, message(run, error, **facts))
    except KeyboardInterrupt:
        complaint = "interrupted"
    if complaint:
        click.echo(f"note: {without_path(url)} was not told how the run ended: {complaint}", err=True)
