"""Our sdg stage on the simulated endpoint in virtual time: a job of minutes in seconds, to compare plans and prompts.

    python benchmarks/sdg_virtual.py --quick      # one job of 600 samples
    python benchmarks/sdg_virtual.py              # four of 1,200, with a seed each

Nothing is sent over HTTP, and the clock leaps to whatever comes next, so that a busy machine changes nothing. `ratio`
is the mean efficiency: the least time for the same work of the endpoint over the time that it took.
"""

import argparse
import asyncio
import json
import selectors
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import workload
from running import EVALUATION, MODEL, PASS_RATE, SEED
from simulator.endpoint import Answer
from simulator.endpoint import Endpoint as Simulated
from simulator.faults import Faults
from simulator.hardware import Hardware
from simulator.replies import Manner

from instructlab_pipeline.events import Events
from instructlab_pipeline.sdg.calls import Call, Reply
from instructlab_pipeline.sdg.engine import Settings
from instructlab_pipeline.sdg.leaves import read_leaves
from instructlab_pipeline.sdg.merge import Merger, Share
from instructlab_pipeline.sdg.scheduler import Patience
from instructlab_pipeline.sdg.stage import SdgInputs, demands_of
from instructlab_pipeline.sdg.studio import Demand, Studio
from instructlab_pipeline.sdg.teachers import Teachers
from instructlab_pipeline.stage import Context

IN_FLIGHT = 72
ROUND_TRIP_S = 0.002
URL = "http://virtual/v1"
Tokens = dict[str, Counter[str]]  # by flow and step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one job of 600 samples")
    parser.add_argument("--samples-per-example", type=int, help="of each of 150 seed examples (default 8; quick: 4)")
    parser.add_argument("--seeds", type=int, help="how many jobs (default 4; quick: 1)")
    parser.add_argument("--cache-blocks", type=int, default=Hardware.cache_blocks, help="the endpoint's prefix cache")
    options = parser.parse_args()
    samples_per_example = options.samples_per_example or (4 if options.quick else 8)
    hardware = Hardware(cache_blocks=options.cache_blocks)
    tokens: Tokens = defaultdict(Counter)
    figures = [
        figures_of_job(samples_per_example, SEED + number, hardware, tokens)
        for number in range(options.seeds or (1 if options.quick else 4))
    ]
    _print_tokens(tokens, items=sum(job["items"] for job in figures) / len(workload.KINDS))
    means = {name: round(mean(job[name] for job in figures), 4) for name in figures[0]}
    worst = min(job["efficiency"] for job in figures)
    print(json.dumps({"benchmark": "sdg_virtual", "ratio": means["efficiency"], "worst": worst, **means}))


def figures_of_job(samples_per_example: int, seed: int, hardware: Hardware, tokens: Tokens) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=LeapingLoop) as runner:
        folder = Path(name)
        inputs = _inputs(folder, samples_per_example, seed)
        demands = demands_of(read_leaves(inputs.taxonomy), inputs)
        endpoint = InMemory(demands, hardware, loop=runner.get_loop(), tokens=tokens)
        shares = runner.run(_studio(endpoint, inputs, folder).shares(demands))
        Merger(shares).write(folder / "sdg", taxonomy_commit="c0ffee")
        return _figures(endpoint.simulated.statistics(), shares)


def _figures(statistics: Mapping[str, Any], shares: Sequence[Share]) -> dict[str, float]:
    funnels = [share.funnel() for share in shares]
    items = sum(funnel["accepted"] + funnel["evaluation"] for funnel in funnels)
    return {
        "efficiency": statistics["efficiency"],
        "cached": statistics["cached"],
        "requests": statistics["counts"]["requests"],
        "items": items,
        "surplus": sum(funnel["rejected"].get("surplus", 0) for funnel in funnels),
        "s_per_item": round(statistics["window_s"] / items, 4),
        "ideal_s_per_item": round(statistics["ideal_s"] / items, 4),
    }


def _inputs(folder: Path, samples_per_example: int, seed: int) -> SdgInputs:
    return SdgInputs(
        sdg_flows=None,
        eval_metrics=("accuracy",),
        taxonomy=workload.seal_taxonomy(folder / "taxonomy"),
        sdg_scale_factor=samples_per_example,
        sdg_random_seed=seed,
        sdg_quality_threshold=0.7,
        sdg_max_attempts=4,
        eval_num_samples=EVALUATION,
        sdg_teacher_model=MODEL,
        sdg_judge_model=None,
        sdg_teacher_endpoint=URL,
        sdg_judge_endpoint=None,
        sdg_batch_size=IN_FLIGHT,
        sdg_num_workers=1,
    )


def _studio(endpoint: "InMemory", inputs: SdgInputs, folder: Path) -> Studio:
    models = dict.fromkeys(("teacher", "judge"), MODEL)
    return Studio(
        teachers=Teachers(endpoints=dict.fromkeys(models, endpoint), models=models),
        settings=Settings(
            models=models,
            random_seed=inputs.sdg_random_seed,
            threshold=inputs.sdg_quality_threshold,
            patience=Patience(),
        ),
        most_in_flight=IN_FLIGHT,
        most_rounds=inputs.sdg_max_attempts,
        context=Context(folder=folder / "sdg", cache=folder / "cache", events=Events()),
    )


def _print_tokens(tokens: Tokens, *, items: float) -> None:
    """`items`: accepted ones of each kind of leaf."""
    columns = ("calls", "written", "prompt", "read")
    print("for each accepted item".ljust(36) + "".join(f"{column:>10}" for column in columns))
    for step, counts in tokens.items():
        print(step.ljust(36) + "".join(f"{counts[column] / items:>10,.2f}" for column in columns))
    print()


class LeapingSelector(selectors.DefaultSelector):
    """Where there is nothing to do but wait, the time is over at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout and 0)
        if not ready and timeout:
            self.now += timeout
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leaping = LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


class InMemory:
    """What the scheduler knows of an endpoint, without a network."""

    role, url = "teacher", URL

    def __init__(
        self, demands: Sequence[Demand], hardware: Hardware, *, loop: asyncio.AbstractEventLoop, tokens: Tokens
    ) -> None:
        self.simulated = Simulated(hardware, Manner(pass_rate=PASS_RATE), Faults(), loop=loop)
        self.client = self
        self._loop = loop
        self._tokens = tokens
        self._steps = {
            id(step.form): f"{demand.flow.name}: {step.name}" for demand in demands for step in demand.flow.steps
        }

    def ask(self, call: Call, ended: Callable[[Answer], None]) -> None:
        def answered(answer: Answer) -> None:
            assert sequence is not None
            self._count(call, answer.record["usage"], cached=sequence.cached)
            self._loop.call_later(ROUND_TRIP_S, ended, answer)

        sequence = self.simulated.complete(call.body, answered)

    @staticmethod
    def reply(answer: Answer) -> Reply:
        choice, usage = answer.record["choices"][0], answer.record["usage"]
        return Reply(
            text=choice["message"]["content"],
            finish=choice["finish_reason"],
            tokens_in=usage["prompt_tokens"],
            tokens_out=usage["completion_tokens"],
        )

    def stop(self) -> None:
        """Nothing is open."""

    def _count(self, call: Call, usage: Mapping[str, int], *, cached: int) -> None:
        self._tokens[self._steps[id(call.form)]].update(
            calls=1,
            written=usage["completion_tokens"],
            prompt=usage["prompt_tokens"],
            read=usage["prompt_tokens"] - cached,
        )


if __name__ == "__main__":
    main()
