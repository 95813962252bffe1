"""How much memory a worker will need, before any is taken: pure functions of the model's shape and of the job.

A worker is fullest either while it loads the model (every worker reads all of it) or in the middle of a step:

    states       16 bytes a parameter, spread over the workers: weights, two moments and gradients in float32;
                 10 where the moments have 8 bits each
    copy         12 (or 6) bytes a parameter of host memory, over the workers: what a checkpoint is written from
    gathered     weights that are whole for a moment, with their gradients, where workers share them
    activations  what the way forward keeps for the way back, for each token of a micro-batch
    head         logits of one chunk and the gradient of the head

The estimate of the activations is what a layer of the Llama kind keeps; tests measure it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from instructlab_pipeline.training.shape import Shape

WEIGHT_BYTES = 4
MOMENTS_BYTES = {False: 8.0, True: 2 + 8 / 256}  # of 32 or of 8 bits, those with a scale for 256 values
IN_ONE_PIECE = 50_000_000  # parameters: where so few are sharded, fewer messages matter more than memory
CHUNK = 1024  # positions of the head at once: 1024 x 128k logits of float32 are 0.5 GB
_GIB = 1 << 30
_PROGRAM = {"cpu": _GIB // 2, "cuda": 3 * _GIB}  # torch, transformers and, for GPUs, CUDA's libraries
_CONTEXT = _GIB  # of CUDA, on the GPU


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What decides how much memory a job needs: `tokens` of a micro-batch, at least `longest` of them.

    recompute: layers keep only what comes in and their attention, and the rest is computed again on the way back.
    offload: a GPU's states stay in the host's memory, where they are also updated. lora_rank: 0 trains all weights.
    moments_8bit: the optimizer's, which are 32 bits wide otherwise.
    """

    workers: int
    tokens: int
    longest: int
    cuda: bool
    recompute: bool = False
    offload: bool = False
    lora_rank: int = 0
    moments_8bit: bool = False

    @property
    def copy_bytes(self) -> float:
        """Of a parameter that learns: weight and moments."""
        return WEIGHT_BYTES + MOMENTS_BYTES[self.moments_8bit]

    @property
    def state_bytes(self) -> float:
        """Of a parameter that learns: its gradient, too."""
        return WEIGHT_BYTES + self.copy_bytes

    def smaller(self) -> Iterator["Demand"]:
        """This demand, then ever smaller ones that learn the same.

        Where there are GPUs, layers are recomputed first: small micro-batches leave a GPU idle, but not a CPU. Last of
        all, states leave the GPU: every step then waits for the host.
        """
        demand = self
        yield demand
        if self.cuda and not self.recompute:
            demand = replace(demand, recompute=True)
            yield demand
        while demand.tokens > self.longest:
            demand = replace(demand, tokens=max(demand.tokens // 2, self.longest))
            yield demand
        if self.cuda and not self.offload:
            yield replace(demand, offload=True)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bytes of one worker: `allowed` by train_memory_per_worker, and what the machine and a GPU have for it."""

    allowed: int | None
    host: int
    gpu: int | None


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Bytes that one worker takes, by what for."""

    shape: Shape
    demand: Demand
    program: int
    loading: int
    states: int
    copy: int
    gathered: int
    activations: int
    head: int

    @property
    def step(self) -> int:
        return self.states + self.gathered + self.activations + self.head

    @property
    def host(self) -> int:
        step = self.step if not self.demand.cuda else self.states if self.demand.offload else 0
        return self.program + max(self.loading, self.copy + step)

    @property
    def gpu(self) -> int:
        if not self.demand.cuda:
            return 0
        return _CONTEXT + (self.step - self.states if self.demand.offload else max(self.loading, self.step))

    def fits(self, limits: Limits) -> bool:
        return self.is_allowed(limits) and self.host <= limits.host and (limits.gpu is None or self.gpu <= limits.gpu)

    def is_allowed(self, limits: Limits) -> bool:
        return limits.allowed is None or self.host <= limits.allowed


def plan_memory(shape: Shape, demand: Demand) -> MemoryPlan:
    """Without shards (one worker on a CPU), nothing has to be gathered, and loading ends with the weights in place."""
    shares = demand.workers > 1 or demand.cuda
    whole = WEIGHT_BYTES * shape.parameters
    learning = shape.adapters(demand.lora_rank) if demand.lora_rank else shape.parameters
    fixed = whole if demand.lora_rank else 0
    return MemoryPlan(
        shape=shape,
        demand=demand,
        program=_PROGRAM["cuda" if demand.cuda else "cpu"],
        loading=whole + (whole // demand.workers if shares else 0),
        states=int(demand.state_bytes * learning + fixed) // demand.workers,
        copy=int(demand.copy_bytes * learning) // demand.workers,
        gathered=2 * WEIGHT_BYTES * _gathered(shape) if shares else 0,
        activations=demand.tokens * _activation_bytes(shape, demand),
        head=3 * WEIGHT_BYTES * shape.vocabulary * (min(demand.tokens, CHUNK) + shape.hidden),
    )


def choose(shape: Shape, demand: Demand, limits: Limits) -> MemoryPlan:
    """The plan of the first demand that fits, or of the smallest, which may not."""
    plan = plan_memory(shape, demand)
    for smaller in demand.smaller():
        plan = plan_memory(shape, smaller)
        if plan.fits(limits):
            break
    return plan


def _gathered(shape: Shape) -> int:
    """Weights that are whole at once: all of a small model; else the embedding, the head, and two layers."""
    if shape.parameters <= IN_ONE_PIECE:
        return shape.parameters
    return min(shape.parameters, 2 * shape.embedding + 2 * shape.parameters // shape.layers)


def _activation_bytes(shape: Shape, demand: Demand) -> int:
    """Of one token. On GPUs the arithmetic is bfloat16, but the two norms of a layer keep their input in float32."""
    size = 2 if demand.cuda else 4
    layer = size * (6 * shape.hidden + 3 * shape.queries + 2 * shape.keys + 4 * shape.inner)
    if demand.cuda:
        layer += 2 * 2 * shape.hidden
    ends = 6 * size * shape.hidden
    if demand.recompute:
        return ends + shape.layers * size * (shape.hidden + shape.queries) + layer
    return ends + shape.layers * layer


def sentence(plan: MemoryPlan, limits: Limits) -> str:
    """The plan in words."""
    demand = plan.demand
    shared = f", shared by {demand.workers} workers" if demand.workers > 1 else ""
    parts = [
        f"{size(plan.program)} for the program",
        f"{size(plan.states)} for {_states(plan)}{shared}",
        f"{size(plan.copy)} for the copy that checkpoints are written from",
        f"{size(plan.gathered + plan.activations + plan.head)} for micro-batches of {demand.tokens} tokens",
    ]
    again = ", with layers recomputed on the way back" if demand.recompute else ""
    again += ", with states in the host's memory" if demand.offload else ""
    on_gpu = f" and {size(plan.gpu)} of GPU memory" if demand.cuda else ""
    needs = f"a worker needs about {size(plan.host)} of memory{on_gpu}"
    return f"{needs} ({', '.join(parts)}{again}; {size(plan.loading)} while it loads); {_has(limits)}"


def _states(plan: MemoryPlan) -> str:
    demand = plan.demand
    if demand.lora_rank:
        return f"{plan.shape.parameters:,} parameters and adapters of rank {demand.lora_rank}"
    return f"the training states of {plan.shape.parameters:,} parameters ({demand.state_bytes:.3g} bytes each)"


def _has(limits: Limits) -> str:
    has = f"this machine has {size(limits.host)} for each"
    if limits.gpu is not None:
        has += f" and GPUs of {size(limits.gpu)}"
    return has if limits.allowed is None else f"train_memory_per_worker allows {size(limits.allowed)}, {has}"


def size(num_bytes: int) -> str:
    unit, amount = ("GiB", num_bytes / _GIB) if num_bytes >= _GIB else ("MiB", num_bytes / (1 << 20))
    return f"{amount:.3g} {unit}" if amount < 1000 else f"{amount:,.0f} {unit}"
