"""Read by every Python process that has this folder on its PYTHONPATH, before anything else: see `servers/held.py`.

An audit hook sees what the process is about to do: https://docs.python.org/3/library/audit_events.html
"""

import os
import signal
import sys
import time
from pathlib import Path

MODULE, EVENT, NAME, STEPS, FOLDER = (os.environ[f"HELD_{it}"] for it in ("MODULE", "EVENT", "NAME", "STEPS", "FOLDER"))
TOLD = '"kind": "step"'
ASKED_TO_LEAVE = []


def hook(event, arguments):
    if event == EVENT and arguments and NAME in str(arguments[0]) and not looking:
        looking.append(True)  # and opening files itself
        if int(STEPS) == 0 or told(Path(arguments[0])) >= int(STEPS):
            hold()
        else:
            looking.clear()


def told(path):
    return path.read_text().count(TOLD) if path.exists() else 0


def hold():
    heed = signal.getsignal(signal.SIGTERM)
    if callable(heed):
        signal.signal(signal.SIGTERM, lambda *what: (ASKED_TO_LEAVE.append(True), heed(*what)))
    Path(FOLDER, "reached").write_text(str(os.getpid()))
    while not ASKED_TO_LEAVE and not Path(FOLDER, "go").exists() and Path(FOLDER).exists():
        time.sleep(0.01)


looking = []
if MODULE in sys.orig_argv:
    sys.addaudithook(hook)
