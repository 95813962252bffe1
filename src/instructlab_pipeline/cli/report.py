"""`report RUN`: the run as one HTML page, at any time, whether it is finished or not."""

from pathlib import Path

import click

from instructlab_pipeline.artifacts import write_atomically
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.run_folder import RunFolder
from instructlab_pipeline.run_storage import open_storage


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it. [default: RUN/report.html]"
)
def report(run: str, output: Path | None) -> None:
    """Write the run in RUN, a folder or s3://bucket/prefix, as one HTML page that opens anywhere."""
    storage = open_storage(run)
    if not storage.record():
        raise UsageError(f"{run} is not a run folder: it has no run.json", remedy="name a folder that `run` made")
    if output is not None:
        click.echo(write_report(storage.view(), output))
    else:
        storage.keep_report(write_report(storage.view(), storage.folder.report_path))
        click.echo(storage.place(storage.folder.report_path.name))


def write_report(folder: RunFolder, output: Path) -> Path:
    from instructlab_pipeline.report.page import page_of

    write_atomically(output, page_of(folder.path))
    return output
