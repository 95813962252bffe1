"""What a piece of work costs the process that does it. Standard library only: every contender's Python runs this."""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def job() -> dict[str, Any]:
    """What to do: the JSON file named on the command line."""
    asked: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return asked


def measured(work: Callable[[], int]) -> None:
    """Do it, and print a line of JSON: seconds, CPU seconds of this process, its peak memory, samples made."""
    wall_s, cpu_s = time.perf_counter(), _cpu_s()
    samples = work()
    costs = {
        "wall_s": time.perf_counter() - wall_s,
        "cpu_s": _cpu_s() - cpu_s,
        "peak_mb": peak_mb(),
        "samples": samples,
    }
    print("\n" + json.dumps(costs), flush=True)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mb() -> float:
    """Linux tells it for this program alone; getrusage would count the parent's memory before exec."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024
