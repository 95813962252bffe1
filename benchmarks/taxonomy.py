"""What it costs to check a taxonomy: ours against InstructLab's own package on the same tree.

    python benchmarks/taxonomy.py --quick
    python benchmarks/taxonomy.py

benchmarks/README.md tells what the lines mean.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import taxonomy_workload as workload

HERE = Path(__file__).parent


def main() -> None:
    options = _options()
    num_leaves, num_sampled = (2_000, 50) if options.quick else (10_000, 300)
    with tempfile.TemporaryDirectory() as folder:
        files = workload.write(Path(folder), num_leaves)
        size_kb = sum(file.stat().st_size for file in files) / len(files) / 1000
        for file in files[:: options.one_wrong_in]:
            file.write_text(file.read_text() + " \n")
        sample = files[:: num_leaves // num_sampled]
        theirs = _run("check_instructlab_schema.py", given="\n".join(map(str, sample)))
        ours = _run("check_ours.py", folder)
        wrong = sum(file.read_text().endswith(" \n") for file in sample)
        if theirs["refused"] != wrong or ours["refused"] != len(files[:: options.one_wrong_in]):
            sys.exit("the verdicts are not those that the files were made for")
    _tell(ours, theirs, num_leaves, num_sampled, size_kb)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 leaves instead of 10,000, and 50 for the peer")
    parser.add_argument("--one-wrong-in", type=int, default=100, help="the share of leaves with a fault (default 100)")
    return parser.parse_args()


def _run(script: str, *arguments: str, given: str = "") -> dict[str, float]:
    command = [sys.executable, HERE / "contenders" / script, *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _tell(ours: dict[str, float], theirs: dict[str, float], num_leaves: int, num_sampled: int, size_kb: float) -> None:
    rows = [("ours", ours, num_leaves), ("instructlab-schema", theirs, num_sampled)]
    print(f"\nleaves of {size_kb:.1f} kB, {os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}")
    print(f"{'':20}{'leaves':>8}{'cpu ms/leaf':>13}{'wall ms/leaf':>14}{'peak_mb':>9}")
    for name, row, count in rows:
        costs = f"{row['cpu_s'] / count * 1e3:13.3f}{row['wall_s'] / count * 1e3:14.3f}{row['peak_mb']:9.0f}"
        print(f"{name:20}{count:8}{costs}")
    cpu_ms = {name: row["cpu_s"] / count * 1e3 for name, row, count in rows}
    last = {
        "benchmark": "taxonomy",
        "ratio": round(cpu_ms["instructlab-schema"] / cpu_ms["ours"], 1),
        "ratio_wall": round(theirs["wall_s"] / num_sampled * num_leaves / ours["wall_s"], 1),
        "cpu_ms_per_leaf": {name: round(value, 3) for name, value in cpu_ms.items()},
        "peak_mb": round(ours["peak_mb"]),
        "leaves": num_leaves,
    }
    print(json.dumps(last))


if __name__ == "__main__":
    main()
