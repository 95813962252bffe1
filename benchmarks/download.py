"""How fast a base model comes out of a bucket: ours against boto3's transfer manager and a sequential download.

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
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from peers import NotInstalledError, uv

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from servers.s3_server import S3Server, s3_server  # noqa: E402 - the tests' own server

ENVIRONMENT = Path("runs/benchmarks/environments/boto3")
BOTO3 = "boto3==1.42.6"
URI = "s3://models/base"
OURS = "ours"
MANNERS = ("transfer", "transfer checked", "sequential", "sequential checked")
SMALL_FILES = 6

Figures = dict[str, float]


def main() -> None:
    options = _options()
    sizes_mb, rounds = ((96, 32), 3) if options.quick else ((512, 256, 64), 5)
    contenders = [OURS, *MANNERS]
    try:
        pythons = {OURS: Path(sys.executable), **dict.fromkeys(MANNERS, _environment())}
    except NotInstalledError as error:
        sys.exit(f"boto3 cannot be installed here: {error}")
    results: dict[str, list[Figures]] = {name: [] for name in contenders}
    with s3_server() as server, tempfile.TemporaryDirectory() as folder:
        size = _fill(server, sizes_mb)
        for number in range(rounds):
            for name in _turned(contenders, number):
                results[name].append(_run(name, pythons[name], server, Path(folder) / "fetched", size))
    _tell(results, size, rounds)


def _turned(contenders: Sequence[str], number: int) -> list[str]:
    """Another one goes first each time."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]


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


def _run(name: str, python: Path, server: S3Server, folder: Path, size: int) -> Figures:
    script = "fetch_ours.py" if name == OURS else "fetch_boto3.py"
    command = [python, HERE / "contenders" / script, URI, folder, *([] if name == OURS else name.split())]
    done = subprocess.run(command, env=os.environ | server.environment, capture_output=True, text=True, check=True)
    arrived = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if arrived != size:
        sys.exit(f"{name} brought {arrived} of {size} bytes")
    shutil.rmtree(folder)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _tell(results: dict[str, list[Figures]], size: int, rounds: int) -> None:
    medians = {name: {key: median(run[key] for run in runs) for key in runs[0]} for name, runs in results.items()}
    print(f"\n{size / 1e6:.0f} MB, {rounds} rounds, {os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}")
    print(f"{'':20}{'wall_s':>8}{'MB/s':>8}{'cpu_s':>8}{'peak_mb':>9}")
    for name, row in medians.items():
        print(f"{name:20}{row['wall_s']:8.2f}{size / 1e6 / row['wall_s']:8.0f}{row['cpu_s']:8.2f}{row['peak_mb']:9.0f}")
    ratios = {name: round(medians[name]["wall_s"] / medians[OURS]["wall_s"], 2) for name in MANNERS}
    told = {"ratio": min(ratios.values()), "ratio_checked": min(ratios[name] for name in MANNERS if "checked" in name)}
    print(json.dumps({"benchmark": "download", **told, "ratios": ratios, "bytes": size}))


if __name__ == "__main__":
    main()
