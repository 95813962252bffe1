"""Ours: `taxonomy check` of a folder, as a process of its own, started and ended within what is measured.

python check_ours.py FOLDER
"""

import json
import resource
import subprocess
import sys
import time


def main(folder: str) -> None:
    started = time.monotonic()
    command = [sys.executable, "-m", "instructlab_pipeline", "taxonomy", "check", folder, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(done.stdout)
    print(
        json.dumps(
            {
                "leaves": report["num_leaves"],
                "refused": len({fault["path"] for fault in report["errors"]}),
                "cpu_s": used.ru_utime + used.ru_stime,
                "wall_s": time.monotonic() - started,
                "peak_mb": used.ru_maxrss / 1024,  # of the largest of its processes
            }
        )
    )


main(sys.argv[1])
