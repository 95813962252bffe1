"""Who holds a run: what a process leaves in its lock for others to read."""

import getpass
import json
import os
import re
import shlex
import socket
import sys
import time
from typing import Any

WEBHOOK = re.compile(r"(--notify[-_]webhook[-_]url[= ]'?https?://[^/\s']+)[^\s']*")


def this_process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "user": _user(),
        "host": socket.gethostname(),
        "command": command(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def in_words(note: str | bytes) -> str:
    try:
        holder = json.loads(note)
    except ValueError:
        return "another process"
    return "process {pid} of {user} on {host} since {since} ({command})".format_map(holder)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's random user has no name
        return str(os.getuid())


def command() -> str:
    """What was called; whoever reads it may not learn the address of a webhook from it."""
    words = shlex.join(["instructlab-pipeline", *sys.argv[1:]])
    words = WEBHOOK.sub(r"\1/***", words)
    return words.encode(errors="backslashreplace").decode()  # a path need not be text
