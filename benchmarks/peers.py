"""The programs that ours is measured against, each in an environment of its own."""

import subprocess
import sys
from pathlib import Path

from running import Contender

OURS = Contender(name="ours", version="here", python=Path(sys.executable), script="run_ours.py")
PEERS = (
    ("sdg-hub", "0.9.4", "run_sdg_hub.py"),
    ("data-designer", "0.9.6", "run_data_designer.py"),
)
WAYS = {"sdg-hub": {"sdg-hub-together": ("--together",)}}  # further ones of running a peer, by its package


class NotInstalledError(Exception):
    """A peer cannot be had here; the installer's last line is the message."""


def installed(package: str, version: str, script: str, *, environments: Path) -> Contender:
    """The contender, installed from the package index unless an earlier benchmark has done so.

    Raises:
        NotInstalledError: no network, no wheel for this machine, ...
    """
    environment = environments / f"{package}-{version}"
    finished = environment / "installed"
    python = environment / "bin" / "python"
    if not finished.exists():
        uv("venv", "--quiet", "--clear", "--python", sys.executable, str(environment))
        uv("pip", "install", "--quiet", "--python", str(python), f"{package}=={version}")
        finished.touch()
    return Contender(name=package, version=version, python=python, script=script)


def uv(*arguments: str) -> None:
    try:
        done = subprocess.run([_uv_program(), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotInstalledError(f"uv is not here: {error}") from error
    if done.returncode:
        raise NotInstalledError(done.stderr.strip().splitlines()[-1])


def _uv_program() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"
