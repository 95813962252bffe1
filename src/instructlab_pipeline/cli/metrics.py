"""`metrics`: runs as OpenMetrics, printed once, or served to whoever scrapes them."""

from collections.abc import Iterator
from pathlib import Path

import click

from instructlab_pipeline.errors import PipelineError, UsageError
from instructlab_pipeline.report import openmetrics
from instructlab_pipeline.run_storage import S3, open_storage


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--serve", "port", type=int, metavar="PORT", help="Serve /metrics there until stopped.")
@click.option("--host", default="0.0.0.0", show_default=True, help="The address to serve on.")  # noqa: S104 - a pod's
def metrics(runs: tuple[str, ...], port: int | None, host: str) -> None:
    """Print runs as OpenMetrics: each RUN is a run, or a folder or s3://bucket/prefix that holds runs."""
    if port is None:
        click.echo(text_of(runs), nl=False)
    else:
        serve(runs, host, port)


def text_of(places: tuple[str, ...]) -> str:
    """The metrics of all runs at these places, as they are now.

    Raises:
        UsageError: there is no run at one of them. ServiceError: a bucket does not answer.
    """
    from instructlab_pipeline.pipeline import STAGE_NAMES

    found = [run for place in places for run in _runs_at(place)]
    seen = [openmetrics.seen(Path(run).name, open_storage(run).events(), STAGE_NAMES) for run in found]
    return openmetrics.exposition(seen)


def serve(places: tuple[str, ...], host: str, port: int) -> None:
    """Read the runs anew at each scrape, one at a time; where that fails, the scrape does, and the server stays."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Scrape(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                self._answer(200, text_of(places) if self.path == "/metrics" else "ask for /metrics\n")
            except PipelineError as error:
                self._answer(503, f"{error.message}\n")

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", openmetrics.CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_line: object) -> None:
            """Scrapes are no news."""

    with HTTPServer((host, port), Scrape) as server:
        click.echo(f"serving /metrics on port {server.server_port}", err=True)
        server.serve_forever()


def _runs_at(place: str) -> Iterator[str]:
    if open_storage(place).record():
        yield place
        return
    below = _runs_in_bucket(place) if place.startswith(S3) else _runs_in_folder(place)
    if not below and not place.startswith(S3):
        raise UsageError(f"{place} is not a run, and holds none", remedy="name a folder that `run` made")
    yield from below


def _runs_in_folder(place: str) -> list[str]:
    return sorted(str(path.parent) for path in Path(place).glob("*/run.json"))


def _runs_in_bucket(place: str) -> list[str]:
    """A bucket without any run yet is no error: the server may be there before the first one."""
    from instructlab_pipeline.s3.remote import RemoteFolder

    runs = RemoteFolder.open(place.rstrip("/"), named_by="RUN")
    return [runs.below(name).uri for name in runs.folders() if open_storage(runs.below(name).uri).record()]
