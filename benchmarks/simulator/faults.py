"""What goes wrong, and when. A fault is drawn from the prompt and how often it has been seen, so retries draw anew."""

import argparse
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    SERVER_ERROR = "server-error"  # 500
    BUSY = "busy"  # 429
    DISCONNECT = "disconnect"  # the connection ends somewhere in the work
    CUT = "cut"  # 200, and half of the envelope
    GARBAGE = "garbage"  # an envelope in order, and no sense in it
    TRUNCATED = "truncated"  # an envelope in order, and half of the content
    EMPTY = "empty"  # an envelope in order, and nothing in it
    STRAGGLER = "straggler"  # `straggler_factor` times as long, as far as `max_tokens` lets it
    HANG = "hang"  # no answer, ever


@dataclass(frozen=True, kw_only=True)
class Faults:
    """`shares`: of the requests. `longest_queue`: 429 when more wait; 0 means never.

    `outage`: 503 to everything between these seconds after the first request.
    """

    shares: dict[Fault, float] = field(default_factory=dict)
    straggler_factor: int = 10
    longest_queue: int = 0
    outage: tuple[float, float] = (0.0, 0.0)

    def drawn(self, draw: Random) -> Fault | None:
        left = draw.random()
        for fault, share in self.shares.items():
            if left < share:
                return fault
            left -= share
        return None

    def is_outage(self, seconds_since_first: float) -> bool:
        start, end = self.outage
        return start <= seconds_since_first < end


def add_options(parser: argparse.ArgumentParser) -> None:
    for fault in Fault:
        parser.add_argument(f"--{fault}", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--straggler-factor", type=int, default=10)
    parser.add_argument("--longest-queue", type=int, default=0)
    parser.add_argument("--outage", type=float, nargs=2, default=(0.0, 0.0), metavar=("FROM_S", "TO_S"))


def from_options(options: argparse.Namespace) -> Faults:
    shares = {fault: getattr(options, fault.replace("-", "_")) for fault in Fault}
    return Faults(
        shares={fault: share for fault, share in shares.items() if share},
        straggler_factor=options.straggler_factor,
        longest_queue=options.longest_queue,
        outage=tuple(options.outage),
    )
