"""Whatever ends a command, in our terms: what happened, what to do about it, and an exit code."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from instructlab_pipeline.errors import EXIT_BUG, Interrupted, PipelineError, ServiceError, SourceError, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)


def in_our_terms(error: BaseException) -> PipelineError | None:
    """The error as one of ours; None for a bug."""
    match error:
        case PipelineError():
            return error
        case KeyboardInterrupt() | click.Abort():
            return Interrupted()
        case OSError(errno=number) if number in FULL:
            return ServiceError(
                f"the disk is full{_place(error)}: {error.strerror}",
                remedy="free some space, then run the same command again: it goes on where it stopped",
            )
        case OSError(errno=number) if number in FORBIDDEN:
            return SourceError(
                f"this process may not work{_place(error)}: {error.strerror}",
                remedy="give its user the right to, or choose another place, then run the same command again",
            )
    return None


def as_json(error: BaseException) -> dict[str, Any]:
    """What `--json` says of the error."""
    ours = in_our_terms(error)
    if ours is not None:
        return {"exit_code": ours.exit_code, "message": ours.message, "remedy": ours.remedy}
    message = f"{type(error).__name__}: {error}"
    return {"exit_code": EXIT_BUG, "message": message, "remedy": "this is a bug: please report what stands on stderr"}


@contextmanager
def told(*, in_json: bool) -> Iterator[None]:
    """Around a command that prints at its end: where it fails before, `--json` still gets its one object."""
    try:
        yield
    except click.ClickException:  # `main` tells those of every command
        raise
    except (Exception, KeyboardInterrupt) as error:
        if in_json:
            print_json({"error": as_json(error)})
        raise


def print_usage_error(error: click.ClickException) -> None:
    print_json(
        {"error": {"exit_code": UsageError.exit_code, "message": error.format_message(), "remedy": "see --help"}}
    )


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _place(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""
