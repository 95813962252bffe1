"""The machines that train together, as one of them reads them from its environment.

    TrainJob      PET_NNODES, PET_NODE_RANK, PET_NPROC_PER_NODE, PET_MASTER_ADDR, PET_MASTER_PORT
    PyTorchJob    WORLD_SIZE (pods), RANK, MASTER_ADDR, MASTER_PORT, sometimes with PET_NPROC_PER_NODE

Without them, this machine is the only one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from instructlab_pipeline.errors import UsageError

_REMEDY = "start the same command on every machine, as a TrainJob or a PyTorchJob does"


@dataclass(frozen=True, kw_only=True)
class Machines:
    """`count` machines of `workers` processes each, of which this is `rank`; they meet at `meeting`, host and port."""

    count: int
    rank: int
    workers: int
    meeting: tuple[str, str] | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str], *, workers: int, gpus: int) -> Self:
        """`workers` processes in all, where the environment does not say how many each machine has.

        Raises:
            UsageError: the environment names several machines, and not how they meet.
        """
        counted = environment.get("PET_NNODES") or environment.get("WORLD_SIZE", "1")
        count = _number(counted.rpartition(":")[2], "PET_NNODES")
        if count == 1:
            return cls(count=1, rank=0, workers=_workers_here(environment, workers, gpus))
        try:
            rank, host, port = (
                environment.get(f"PET_{name}") or environment[plain]
                for name, plain in (("NODE_RANK", "RANK"), ("MASTER_ADDR", "MASTER_ADDR"), ("MASTER_PORT",) * 2)
            )
        except KeyError as error:
            raise UsageError(
                f"{count} machines are to train together, but {error} is not set", remedy=_REMEDY
            ) from None
        here = _workers_here(environment, max(1, workers // count), gpus)
        return cls(count=count, rank=_number(rank, "PET_NODE_RANK"), workers=here, meeting=(host, port))

    @property
    def leads(self) -> bool:
        """The model, and what is told of the training, are on this machine."""
        return self.rank == 0

    @property
    def workers_in_all(self) -> int:
        return self.count * self.workers

    def torchrun(self) -> list[str]:
        """Options that start this machine's share; alone, it meets itself on a port of the loopback device."""
        if self.meeting is None:
            return ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={self.workers}"]
        host, port = self.meeting
        return [
            f"--nnodes={self.count}",
            f"--node-rank={self.rank}",
            f"--nproc-per-node={self.workers}",
            f"--master-addr={host}",
            f"--master-port={port}",
        ]


def _workers_here(environment: Mapping[str, str], otherwise: int, gpus: int) -> int:
    told = environment.get("PET_NPROC_PER_NODE", "")
    if told in {"auto", "gpu"}:
        return max(1, gpus)
    return _number(told, "PET_NPROC_PER_NODE") if told.isdecimal() else otherwise


def _number(text: str, name: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{name} is {text!r}, which is no number", remedy=_REMEDY)
    return int(text)
