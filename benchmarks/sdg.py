"""How much of a teacher's time is used, and what it costs the client: our sdg stage and its peers on one endpoint.

    python benchmarks/sdg.py --quick            # one round at four-fold speed
    python benchmarks/sdg.py                    # two rounds at normal speed, and two at four-fold
    python benchmarks/sdg.py --speed 1
    python benchmarks/sdg.py --faults

The endpoint is simulated (`benchmarks/simulator`). `ratio` is sdg_hub's wall time over ours for the same work of that
endpoint; `ratios_by_sample` is for as many samples, and compares flows as well. benchmarks/README.md tells more.

`ratio` cannot exceed 1 over sdg_hub's own efficiency, whatever the scheduler: `ratio_possible`.

The last line has the figures of the last speed, the four-fold one unless told otherwise; `speeds` has those of all.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from peers import OURS, PEERS, WAYS, NotInstalledError, installed
from running import CACHE_BLOCKS, Contender, ContenderError, Load, Result, run
from sdg_faults import endure

MEASURE = "sdg-hub"  # the peer that `ratio` is about
ENVIRONMENTS = Path("runs/benchmarks/environments")
BUSY_SPEED = 40.0  # some 400 requests a second
LEISURELY = 1.0  # some 13 requests a second of each contender: all of them and their endpoints take a third of a core


def main() -> None:
    options = _options()
    speeds = [options.speed] if options.speed else [4.0] if options.quick else [1.0] if options.faults else [1.0, 4.0]
    by_speed = {f"{speed:g}": _measured(speed, options) for speed in speeds}
    last = list(by_speed.values())[-1]
    print(json.dumps({"benchmark": "sdg", **last, **({"speeds": by_speed} if len(by_speed) > 1 else {})}))


def _measured(speed: float, options: argparse.Namespace) -> dict[str, Any]:
    load = Load(
        samples_per_example=options.samples_per_example or (5 if options.quick and not options.faults else 8),
        in_flight=options.in_flight,
        slots=options.slots,
        speed=speed,
        cache_blocks=options.cache_blocks,
    )
    print(f"{load.target} samples, {load.slots} slots, {load.in_flight} in flight, speed {load.speed:g};", _machine())
    with tempfile.TemporaryDirectory() as folder:
        figures = endure(load, Path(folder)) if options.faults else _contest(load, Path(folder), options)
    settings = {"speed": load.speed, "slots": load.slots, "target": load.target}
    return {**figures, **settings, "load_average": os.getloadavg()[0]}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, at four-fold speed")
    parser.add_argument("--faults", action="store_true", help="ours alone, clean and then with everything going wrong")
    parser.add_argument("--speed", type=float, help="how many times faster than a real endpoint (default 1, then 4)")
    parser.add_argument("--rounds", type=int, help="runs of each contender, with other seeds (default 2; quick: 1)")
    parser.add_argument("--samples-per-example", type=int, help="of each of 150 seed examples (default 8; quick: 4)")
    parser.add_argument("--slots", type=int, default=64, help="sequences that the endpoint works on at once")
    parser.add_argument("--in-flight", type=int, default=72, help="requests that a contender may have under way")
    parser.add_argument("--cache-blocks", type=int, default=CACHE_BLOCKS, help="the endpoint's prefix cache (0: none)")
    parser.add_argument("--only", nargs="+", metavar="PEER", help="these peers alone")
    parser.add_argument("--alone", action="store_true", help="without peers")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="where peers are installed")
    return parser.parse_args()


def _machine() -> str:
    return f"{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}"


def _contest(load: Load, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    peers = [] if options.alone else _peers(options.environments.absolute())
    contenders = [OURS, *(peer for peer in peers if not options.only or peer.name in options.only)]
    results: dict[str, list[Result]] = {contender.name: [] for contender in contenders}
    for number in range(options.rounds or (1 if options.quick else 2)):
        seeded = replace(load, seed=load.seed + number)
        for contender, result in zip(contenders, _round(contenders, seeded, folder / str(number)), strict=True):
            results[contender.name] += result
    medians = {name: _medians(runs) for name, runs in results.items() if runs}
    _print_table(medians)
    ours = {**medians.pop(OURS.name), "cpu_ms_when_busy": _cpu_ms_when_busy(load, folder / "busy")}
    ratios = {name: round(ours["efficiency"] / theirs["efficiency"], 3) for name, theirs in medians.items()}
    by_sample = {name: round(theirs["s_per_sample"] / ours["s_per_sample"], 3) for name, theirs in medians.items()}
    possible = round(1 / medians[MEASURE]["efficiency"], 3) if MEASURE in medians else None
    return {
        **ours,
        "ratio": ratios.get(MEASURE),
        "ratio_possible": possible,
        "ratios": ratios,
        "ratios_by_sample": by_sample,
        "peers": medians,
    }


def _cpu_ms_when_busy(load: Load, folder: Path) -> float:
    """Of ours, for a request, where hundreds come in a second and caches are still warm from the one before."""
    return run(OURS, replace(load, speed=BUSY_SPEED), folder).figures["cpu_ms_per_request"]


def _peers(environments: Path) -> Iterator[Contender]:
    for package, version, script in PEERS:
        try:
            peer = installed(package, version, script, environments=environments)
            yield peer
            for name, arguments in WAYS.get(package, {}).items():
                yield replace(peer, name=name, arguments=arguments)
        except NotInstalledError as error:
            print(f"{package} {version} cannot be installed here and is left out: {error}")


def _round(contenders: Sequence[Contender], load: Load, folder: Path) -> Iterator[list[Result]]:
    """One run of each, in turn; at a speed at which all together hardly use the machine, at the same time."""
    with ThreadPoolExecutor(len(contenders) if load.speed <= LEISURELY else 1) as threads:
        yield from threads.map(lambda contender: _attempt(contender, load, folder / contender.name), contenders)


def _attempt(contender: Contender, load: Load, folder: Path) -> list[Result]:
    """The result of a run; none of a peer that fails, which is told and left out. Ours must not fail."""
    try:
        return [run(contender, load, folder)]
    except ContenderError as error:
        if contender is OURS:
            raise
        print(error)
        return []


def _medians(runs: Sequence[Result]) -> dict[str, float]:
    return {name: median(run.figures[name] for run in runs) for name in runs[0].figures}


def _print_table(rows: Mapping[str, Mapping[str, float]]) -> None:
    columns = list(next(iter(rows.values())))
    print("\n" + " " * 18 + "".join(f"{column:>{_width(column)}}" for column in columns))
    for name, figures in rows.items():
        print(f"{name:18}" + "".join(f"{figures[column]:>{_width(column)},.10g}" for column in columns))
    print()


def _width(column: str) -> int:
    return max(10, len(column)) + 2


if __name__ == "__main__":
    main()
