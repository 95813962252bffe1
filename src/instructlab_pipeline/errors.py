"""Everything that can go wrong, by whose turn it is to act.

    PipelineError                 exit  retry helps
    ├── UsageError                  2      no        the command line, or a run folder in use
    │   └── ParameterError          2      no        parameters: all complaints at once
    ├── SourceError                 3      no        a model, taxonomy or document that cannot be used
    ├── ServiceError                4      yes       S3, git, teacher or registry failed after its retries
    ├── GateError                   5      no        the quality gate said no
    ├── WorkerError                 6      yes       a training process failed
    └── Interrupted               130      yes       Ctrl-C or SIGTERM; what was finished is kept

Anything else that reaches the command line is a bug: exit 70.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

EXIT_BUG = 70


class PipelineError(Exception):
    """What happened, in the user's words, and what to do about it."""

    exit_code: ClassVar[int] = EXIT_BUG
    retry_helps: ClassVar[bool] = False

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(PipelineError):
    exit_code = 2


class ParameterError(UsageError):
    """Every complaint about the parameters, one sentence each."""

    def __init__(self, complaints: Sequence[str]) -> None:
        self.complaints = tuple(complaints)
        super().__init__(
            "\n".join(self.complaints),
            remedy="give parameters by --params FILE or by name; `instructlab-pipeline params list NAME` explains one",
        )


class SourceError(PipelineError):
    exit_code = 3


class ServiceError(PipelineError):
    exit_code = 4
    retry_helps = True


class GateError(PipelineError):
    exit_code = 5


class WorkerError(PipelineError):
    exit_code = 6
    retry_helps = True


class Interrupted(PipelineError):  # noqa: N818 - an interruption is not an error
    exit_code = 130
    retry_helps = True

    def __init__(self, message: str = "interrupted") -> None:
        super().__init__(message, remedy="run the same command again: it goes on where it stopped")


@contextmanager
def boundary(kind: type[PipelineError], doing: str, *, remedy: str) -> Iterator[None]:
    """Turn whatever a foreign library raises while `doing` something into one of our errors.

    One stands around each adapter's calls. Our own errors, and an interruption, pass through.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        raise kind(f"{doing}: {error or type(error).__name__}", remedy=remedy) from error
