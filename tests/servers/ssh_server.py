"""OpenSSH's server on loopback, with keys of its own: git over ssh, as anybody has it.

with ssh_server(folder) as server:
    run(f"{server.url}{repository}", environment={"GIT_SSH_COMMAND": server.command})
"""

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers.loopback import HOST, free_port, process

PROGRAM = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
HOW_TO_GET_IT = "apt-get install openssh-server"


@dataclass(frozen=True, kw_only=True)
class SshServer:
    """`url` goes before an absolute path; `command` opens it; `stranger` has a key that it does not know."""

    url: str
    command: str
    stranger: str
    log: Path


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    if PROGRAM is None:
        raise RuntimeError(f"sshd is missing here. Install with: {HOW_TO_GET_IT}")
    folder.mkdir(mode=0o700)
    for name in ("host", "user", "stranger"):
        key = ["-f", str(folder / name)]
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", *key], check=True)
    port = free_port()
    (folder / "known_hosts").write_text(f"[{HOST}]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(_config(folder, port))
    log = folder / "sshd.log"
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where its unprivileged part is locked in
    with process([PROGRAM, "-D", "-e", "-f", str(folder / "sshd_config")], port=port, log=log):
        yield SshServer(
            url=f"ssh://{getpass.getuser()}@{HOST}:{port}",
            command=_client(folder, "user"),
            stranger=_client(folder, "stranger"),
            log=log,
        )


def _config(folder: Path, port: int) -> str:
    settings = {
        "Port": port,
        "ListenAddress": HOST,
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": folder / "sshd.pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _client(folder: Path, key: str) -> str:
    options = {"UserKnownHostsFile": folder / "known_hosts", "IdentitiesOnly": "yes", "BatchMode": "yes"}
    return " ".join(["ssh", "-F", "none", "-i", str(folder / key), *(f"-o{name}={it}" for name, it in options.items())])
