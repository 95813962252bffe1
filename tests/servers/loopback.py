"""Real server processes on free loopback ports, gone when their `with` block ends."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
STARTED_WITHIN_S = 120.0
HELD: list[socket.socket] = []


def free_port() -> int:
    """A port that the kernel gives to nobody else while this process lives, because a socket of ours is bound to it.

    Nobody listens there: connections are refused, until a server binds it too. Linux lets it if both set SO_REUSEADDR,
    as servers do, and neither listens yet.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    HELD.append(holder)
    return holder.getsockname()[1]


@contextlib.contextmanager
def process(
    argv: Sequence[str], *, port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen]:
    """A server in a session of its own that accepts connections on `port`; its output goes to `log`."""
    with log.open("ab") as output:
        server = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        wait_until_open(server, port, log)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_until_open(server: subprocess.Popen, port: int, log: Path) -> None:
    give_up = time.monotonic() + STARTED_WITHIN_S
    while server.poll() is None and time.monotonic() < give_up:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{server.args} does not listen on {port}:\n{log.read_text(errors='replace')}")
