"""What `doctor` finds: one line for each thing that a run needs, looked at before anything is spent."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from instructlab_pipeline.errors import PipelineError, UsageError

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`remedy` where something is not ok. `error`: what a run would end with here."""

    name: str
    status: Status
    told: str
    remedy: str = ""
    error: PipelineError | None = None


class WorthKnowing(UsageError):  # noqa: N818 - no failure, but worth a line
    """Raised by a check for what does not stop a run, or could not be looked at."""


Check = Callable[[], str]  # says what is well; raises a PipelineError for what is not


def examined(checks: Iterable[tuple[str, Check]]) -> list[Finding]:
    return [_finding(name, check) for name, check in checks]


def _finding(name: str, check: Check) -> Finding:
    try:
        return Finding(name=name, status="ok", told=check())
    except WorthKnowing as error:
        return Finding(name=name, status="warn", told=error.message, remedy=error.remedy)
    except PipelineError as error:
        return Finding(name=name, status="fail", told=error.message, remedy=error.remedy, error=error)
