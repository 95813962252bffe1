"""The command line as its users have it: a process of its own, in a folder and an environment of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

PROGRAM = (sys.executable, "-m", "instructlab_pipeline")


def command(*arguments, folder, environment=None, timeout_s=900):
    """Run to the end; the result has `returncode`, `stdout` and `stderr`."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def started(*arguments, folder, environment=None, output):
    """Start as the leader of a process group of its own, as a shell does; what it prints goes to `output`."""
    with Path(output).open("wb") as file:
        return subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def descendants(pid):
    """Every process below `pid`, now."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
    found, frontier = [], [pid]
    while frontier:
        frontier = [child for child, parent in parents.items() if parent in frontier]
        found += frontier
    return found


def kill_group(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
