"""The workers of a job, as one of them sees it."""

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class World:
    """`size` workers, of which this is `rank`; `local_rank` counts those on this machine.

    background: a process group for messages beside those of the steps.
    """

    rank: int
    size: int
    local_rank: int
    device: Any
    background: Any = None

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def is_cuda(self) -> bool:
        return bool(self.device.type == "cuda")

    @property
    def shards(self) -> bool:
        """One worker on a CPU has nothing to share; one on a GPU still gains bfloat16 beside its float32 weights."""
        return self.size > 1 or self.is_cuda

    def sum(self, values: list[float]) -> list[float]:
        """Each value, added up over the workers; all of them call this together."""
        if self.size == 1:
            return values
        import torch
        import torch.distributed as dist

        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return list(total.tolist())

    def least(self, values: list[int]) -> list[int]:
        """Each value's smallest over the workers; all of them call this together."""
        if self.size == 1:
            return values
        import torch
        import torch.distributed as dist

        least = torch.tensor(values)
        dist.all_reduce(least, dist.ReduceOp.MIN)
        return list(least.tolist())

    def told(self, thing: Any) -> Any:
        """What the first worker has, for all of them; all of them call this together."""
        import torch.distributed as dist

        things = [thing]
        dist.broadcast_object_list(things, src=0)
        return things[0]

    def wait(self) -> None:
        """Until all workers are here."""
        self.sum([0.0])


def join() -> World:
    """Meet the other workers that torchrun started: over gloo, and NCCL where there are GPUs."""
    import torch
    import torch.distributed as dist

    rank, size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank)
    device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    if size == 1 and not cuda:
        return World(rank=rank, size=size, local_rank=local_rank, device=device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    background = dist.new_group(backend="gloo")
    return World(rank=rank, size=size, local_rank=local_rank, device=device, background=background)


def leave(world: World) -> None:
    """Once all have come so far; the groups end with the process.

    Taken down one by one, a worker that is quicker leaves its peers' gloo threads with a connection that is gone.
    """
    if world.shards:
        import torch.distributed as dist

        dist.monitored_barrier(group=world.background)
