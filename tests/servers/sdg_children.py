"""Sdg runs as processes that can be killed: one parent imports everything once, and forks for each run.

with Children(folder, taxonomy, url) as children:
    pid = children.start()
    ...
    assert children.ended() == 0

`ended` waits for the child, and gives its status: minus the signal's number where it was killed.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
HEAVY = ("aiohttp", "jinja2", "jsonschema", "json_repair", "yaml")  # what the stage would import in each child


class Children:
    def __init__(self, folder, taxonomy, url, **changed):
        argv = [sys.executable, __file__, folder, taxonomy.path, url, json.dumps(changed)]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        self._parent = subprocess.Popen(
            argv, env=environment, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._parent.stdin.close()
        self._parent.wait(120)
        self._parent.stdout.close()

    def start(self):
        self._parent.stdin.write("\n")
        return int(self._parent.stdout.readline())

    def ended(self):
        return int(self._parent.stdout.readline())


def _serve(folder, taxonomy, url, changed):
    from instructlab_pipeline import artifacts
    from servers.sdg_inputs import run_sdg, sdg_inputs

    for name in HEAVY:
        importlib.import_module(name)
    inputs = sdg_inputs(artifacts.read(Path(taxonomy)), url, **json.loads(changed))
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            run_sdg(Path(folder), inputs)
            os._exit(0)
        _tell(child)
        _tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _tell(number):
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
