"""Debian's tinyproxy as a real process on a free loopback port, behind a login."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers.loopback import HOST, free_port, process

USER, PASSWORD = "keeper", "mill"
CONFIGURATION = """\
Port {port}
Listen {host}
LogFile "{log}"
LogLevel Info
BasicAuth {user} {password}
"""


@dataclass(frozen=True, kw_only=True)
class WebProxy:
    url: str
    log: Path

    @property
    def num_requests(self) -> int:
        return self.log.read_text().count(": Request ")


@contextmanager
def web_proxy(folder: Path) -> Iterator[WebProxy]:
    if shutil.which("tinyproxy") is None:
        raise RuntimeError("tinyproxy is missing: apt-get install tinyproxy-bin")
    port, log, configuration = free_port(), folder / "proxy.log", folder / "proxy.conf"
    configuration.write_text(CONFIGURATION.format(port=port, host=HOST, log=log, user=USER, password=PASSWORD))
    with process(["tinyproxy", "-d", "-c", str(configuration)], port=port, log=folder / "proxy.out"):
        yield WebProxy(url=f"http://{USER}:{PASSWORD}@{HOST}:{port}", log=log)
