"""`report RUN`: the run as one HTML page, at any time, whether it is finished or not."""

from pathlib import Path

import click

from instructlab_pipeline.artifacts import write_atomically
from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.run_folder import RunFolder


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Where to write it. [default: RUN/report.html]")
def report(run: Path, output: Path | None) -> None:
    """Write the run in the folder RUN as one HTML page that opens anywhere."""
    folder = RunFolder(run)
    if not folder.record_path.exists():
        raise UsageError(f"{run} is not a run folder: it has no run.json", remedy="name a folder that `run` made")
    click.echo(write_report(folder, output or folder.report_path))


def write_report(folder: RunFolder, output: Path) -> Path:
    from instructlab_pipeline.report.page import page_of

    write_atomically(output, page_of(folder.path))
    return output
