"""The entry point: commands are imported when they are used; every error becomes two lines and an exit code."""

import importlib
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import click

from instructlab_pipeline import __version__
from instructlab_pipeline.cli import failures
from instructlab_pipeline.errors import EXIT_BUG, PipelineError, UsageError

COMMANDS = {
    "run": ("instructlab_pipeline.cli.run", "run", "Take a taxonomy and a base model to a published model."),
    "plan": ("instructlab_pipeline.cli.plan", "plan", "Say what a run would do, reuse and cost."),
    "status": ("instructlab_pipeline.cli.status", "status", "Show how far a run is."),
    "logs": ("instructlab_pipeline.cli.logs", "logs", "Show what a run told, and what its workers printed."),
    "report": ("instructlab_pipeline.cli.report", "report", "Write the page of a run: results, samples, origins."),
    "trace": (
        "instructlab_pipeline.cli.trace",
        "trace",
        "Show a sample's way back, or a document's forward.",
    ),
    "stage": ("instructlab_pipeline.cli.run", "stage", "Perform one stage of a run: what a pod does."),
    "verify": ("instructlab_pipeline.cli.verify", "verify", "Follow a published image back to its taxonomy."),
    "params": ("instructlab_pipeline.cli.params", "params", "Show, check, export and patch the parameters."),
    "metrics": ("instructlab_pipeline.cli.metrics", "metrics", "Tell monitoring how runs are, as OpenMetrics."),
    "kube": ("instructlab_pipeline.cli.kube", "kube", "Put the pipeline on a cluster."),
    "doctor": (
        "instructlab_pipeline.cli.doctor",
        "doctor",
        "Ask everything that a run needs, before anything is spent.",
    ),
    "taxonomy": ("instructlab_pipeline.cli.taxonomy", "taxonomy", "Check a taxonomy before it is used."),
}


class LazyGroup(click.Group):
    """A group whose commands cost nothing until one of them is called."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from instructlab_pipeline.params.readers import nearest

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}{nearest(args[0], tuple(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="instructlab-pipeline", message="%(prog)s %(version)s")
def cli() -> None:
    """From a taxonomy in git and a base model in S3 to a tuned, evaluated model in an OCI registry.

    Exit codes: 0 done, 2 command line or parameters, 3 an input cannot be used, 4 an outside service failed, 5 the
    quality gate said no, 6 a worker process failed, 70 a bug, 130 interrupted.
    """


def main() -> None:
    """Run the command line and exit with the code that `errors.py` gives."""
    _listen_for_signals()
    sys.exit(exit_code_of(sys.argv[1:]))


def exit_code_of(arguments: list[str]) -> int:
    try:
        cli.main(arguments, prog_name="instructlab-pipeline", standalone_mode=False)
    except click.ClickException as error:
        if "--json" in arguments:
            failures.print_usage_error(error)
        error.show()
        return UsageError.exit_code
    except SystemExit:  # click's way of saying that the reader of our output left, as `head` does
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last line of defence: a bug is reported as one
        ours = failures.in_our_terms(error)
        return _shown_bug() if ours is None else _shown(ours)
    return 0


def _shown(error: PipelineError) -> int:
    message = error.message.replace("\n", "\n" + " " * len("error: "))
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True)
    click.echo(click.style("what to do: ", bold=True) + error.remedy, err=True)
    return error.exit_code


def _shown_bug() -> int:
    click.echo(traceback.format_exc(), err=True)
    click.echo("This is a bug in instructlab-pipeline: please report it with the lines above.", err=True)
    return EXIT_BUG


def _listen_for_signals() -> None:
    """Ctrl-C, SIGTERM and a closed terminal end a run alike, even where a shell started us with Ctrl-C ignored.

    Our own handler instead of Python's: asyncio replaces that one by its own, which waits for the next `await`.
    """
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
