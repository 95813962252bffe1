"""How fast a base model comes out of a bucket: ours against boto3's transfer manager and a sequential download.

First as fast as the server can, which has the same cores; then over connections that are limited each, as on a network.

    python benchmarks/download.py --quick
    python benchmarks/download.py

benchmarks/README.md tells what the lines mean.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from peers import NotInstalledError, uv

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from servers.limited_line import limited_line  # noqa: E402 - the tests' own servers
from servers.s3_server import S3Server, s3_server  # noqa: E402

ENVIRONMENT = Path("runs/benchmarks/environments/boto3")
BOTO3 = "boto3==1.42.6"
URI = "s3://models/base"
OURS = "ours"
PLAIN = ("transfer", "sequential")
MANNERS = (*PLAIN, *(f"{manner} checked" for manner in PLAIN))
LIMIT_MB_S = 50  # of one connection to an object store on a network
LIMITED_ROUNDS = 3
SMALL_FILES = 6
FETCHED = (".safetensors", ".json")  # a cache holds notes of its own, too

Figures = dict[str, float]
Results = dict[str, list[Figures]]


def main() -> None:
    options = _options()
    sizes_mb, rounds = ((96, 32), 3) if options.quick else ((512, 256, 64), 5)
    try:
        pythons = {OURS: Path(sys.executable), **dict.fromkeys(MANNERS, _environment())}
    except NotInstalledError as error:
        sys.exit(f"boto3 cannot be installed here: {error}")
    with s3_server() as server, tempfile.TemporaryDirectory() as folder:
        size = _fill(server, sizes_mb)
        fetch = partial(_run, pythons, Path(folder) / "fetched", size)
        unlimited = _compared((OURS, *MANNERS), rounds, partial(fetch, server))
        with limited_line(urlsplit(server.endpoint).port or 0, LIMIT_MB_S * 1e6) as line:
            far = replace(server, endpoint=line.endpoint)
            limited = _compared((OURS, *PLAIN), min(rounds, LIMITED_ROUNDS), partial(fetch, far))
    print(f"\n{size / 1e6:.0f} MB, {rounds} rounds, {os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}")
    ratios = _told("as fast as the server can", unlimited, size)
    ratios_limited = _told(f"{LIMIT_MB_S} MB/s for each connection", limited, size)
    checked = min(ratio for name, ratio in ratios.items() if name not in PLAIN)
    told = {"ratio": min(ratios.values()), "ratio_checked": checked, "ratio_limited": min(ratios_limited.values())}
    print(json.dumps({"benchmark": "download", **told, "ratios": ratios, "limited": ratios_limited, "bytes": size}))


def _compared(contenders: Sequence[str], rounds: int, fetch: Callable[[str], Figures]) -> Results:
    """Side by side; another one goes first each time."""
    results: Results = {name: [] for name in contenders}
    for number in range(rounds):
        first = number % len(contenders)
        for name in (*contenders[first:], *contenders[:first]):
            results[name].append(fetch(name))
    return results


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="128 MB instead of 832, three rounds instead of five")
    return parser.parse_args()


def _environment() -> Path:
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "installed").exists():
        uv("venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT))
        uv("pip", "install", "--quiet", "--python", str(python), BOTO3)
        (ENVIRONMENT / "installed").touch()
    return python


def _fill(server: S3Server, sizes_mb: Sequence[int]) -> int:
    """Shards of random bytes and some small files, as a model has them; the bytes of all."""
    server.create_bucket("models")
    for number, size in enumerate(sizes_mb):
        server.put("models", f"base/model-{number}.safetensors", os.urandom(size << 20))
    for number in range(SMALL_FILES):
        server.put("models", f"base/small-{number}.json", os.urandom(20_000))
    return (sum(sizes_mb) << 20) + SMALL_FILES * 20_000


def _run(pythons: Mapping[str, Path], folder: Path, size: int, server: S3Server, name: str) -> Figures:
    script = "fetch_ours.py" if name == OURS else "fetch_boto3.py"
    command = [pythons[name], HERE / "contenders" / script, URI, folder, *([] if name == OURS else name.split())]
    servers_s = _children_s()
    done = subprocess.run(command, env=os.environ | server.environment, capture_output=True, text=True, check=True)
    servers_s = _children_s() - servers_s
    arrived = sum(path.stat().st_size for path in folder.rglob("*.*") if path.suffix in FETCHED)
    if arrived != size:
        sys.exit(f"{name} brought {arrived} of {size} bytes")
    shutil.rmtree(folder)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures | {"server_s": servers_s}


def _children_s() -> float:
    """Processor seconds of this process's children, which are the S3 server's processes."""
    fields = (stat.read_text().rpartition(")")[2].split() for stat in Path("/proc").glob("[0-9]*/stat"))
    ticks = sum(
        int(user) + int(system)
        for _, parent, *_, user, system in (row[:13] for row in fields)
        if int(parent) == os.getpid()
    )
    return ticks / os.sysconf("SC_CLK_TCK")


def _told(setting: str, results: Results, size: int) -> dict[str, float]:
    """A table of medians, and how many times as long as ours the others took."""
    medians = {name: {key: median(run[key] for run in runs) for key in runs[0]} for name, runs in results.items()}
    print(f"\n{setting:30}{'wall_s':>8}{'MB/s':>8}{'cpu_s':>8}{'server_s':>10}{'peak_mb':>9}")
    for name, row in medians.items():
        rate = size / 1e6 / row["wall_s"]
        print(
            f"{name:30}{row['wall_s']:8.2f}{rate:8.0f}{row['cpu_s']:8.2f}{row['server_s']:10.2f}{row['peak_mb']:9.0f}"
        )
    return {name: round(row["wall_s"] / medians[OURS]["wall_s"], 2) for name, row in medians.items() if name != OURS}


if __name__ == "__main__":
    main()
