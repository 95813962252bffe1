"""What this machine has for its workers: processors, memory on the host and on GPUs. No torch is needed."""

import os
import subprocess
from pathlib import Path

_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_CGROUP_PROCESSORS = Path("/sys/fs/cgroup/cpu.max")  # microseconds of work in each period, and the period
_MIB = 1 << 20
_ASK_S = 20.0


def processors(quota: Path = _CGROUP_PROCESSORS) -> int:
    """Those that this process may run on, or the limit of the container that we are in."""
    allowed = len(os.sched_getaffinity(0))
    if not quota.exists():
        return allowed
    work, period = quota.read_text().split()
    return max(1, min(allowed, int(work) // int(period))) if work.isdecimal() else allowed


def host_memory() -> int:
    """Bytes: the machine's, or the limit of the container that we are in."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [path.read_text().strip() for path in _CGROUP_LIMITS if path.exists()]
    return min([installed, *(int(limit) for limit in limits if limit.isdecimal())])


def gpu_memory() -> list[int]:
    """Bytes of each GPU; none where workers will run on the CPU."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return []
    question = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, check=True, timeout=_ASK_S).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [int(line) * _MIB for line in answer.split() if line.isdecimal()]
