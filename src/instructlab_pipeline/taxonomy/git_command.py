"""Running git: by argument lists, with the safe transports alone, and with no way to ask or to run a hook."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy.git_errors import explained
from instructlab_pipeline.taxonomy.git_url import GitUrl

PAUSES_S = (0.5, 2.0)  # before the second and the third attempt
TIMEOUT_S = 900.0
ANSWER_TIMEOUT_S = (
    120.0  # for what a server says in a few lines; over git:// and ssh a silent one would be waited for without end
)
SAFE_OPTIONS = (
    *("-c", "protocol.ext.allow=never"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "http.lowSpeedLimit=1000"),
    *("-c", "http.lowSpeedTime=30"),
    *("-c", "gc.auto=0"),
)
SAFE_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C",
}
SSH_COMMAND = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=20 -o ServerAliveCountMax=3"
# git sets these for its hooks; they would lead our commands to another repository.
FOREIGN_VARIABLES = frozenset(
    f"GIT_{name}"
    for name in (
        *("DIR", "COMMON_DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES"),
        *("NAMESPACE", "SHALLOW_FILE", "GRAFT_FILE", "DEFAULT_HASH"),
    )
)


class GitFailure(Exception):  # noqa: N818 - what git said, which `explained` makes an error of
    """git's standard error."""


def asked(url: GitUrl, command: Sequence[str], *, folder: Path | None = None, timeout_s: float = TIMEOUT_S) -> bytes:
    """A command that talks to the repository, tried again where that can help."""
    for pause in (*PAUSES_S, None):
        try:
            return git(command, folder=folder, url=url, timeout_s=timeout_s)
        except GitFailure as failure:
            error = explained(str(failure), url)
            if pause is None or not error.retry_helps:
                raise error from failure
            time.sleep(pause)
    raise AssertionError


def git(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    url: GitUrl | None = None,
    given: bytes = b"",
    timeout_s: float = TIMEOUT_S,
) -> bytes:
    """What git prints; `given` is its input.

    Raises:
        GitFailure: it ended with an error.
        SourceError: there is no git here.
    """
    try:
        done = subprocess.run(
            argv(command, folder),
            input=given,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env=environment(url),
        )
    except FileNotFoundError as error:
        raise SourceError("git is not installed", remedy="install git") from error
    except subprocess.TimeoutExpired as error:
        raise GitFailure(f"no end after {timeout_s:.0f} s: timed out") from error
    if done.returncode != 0:
        raise GitFailure(done.stderr.decode(errors="replace"))
    return done.stdout


def argv(command: Sequence[str], folder: Path | None) -> list[str]:
    place = ["--git-dir", str(folder)] if folder else []
    return ["git", *SAFE_OPTIONS, *place, *command]


def environment(url: GitUrl | None = None) -> dict[str, str]:
    """Ours with git made safe; a password travels here, where no other user can see it, and for its host alone."""
    ours = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
    safe = {"GIT_SSH_COMMAND": SSH_COMMAND, **ours, **SAFE_ENVIRONMENT}
    if url and url.authorization:
        place = urlsplit(url.address)
        count = ours.get("GIT_CONFIG_COUNT", "")
        number = int(count) if count.isdecimal() else 0
        safe["GIT_CONFIG_COUNT"] = str(number + 1)
        safe[f"GIT_CONFIG_KEY_{number}"] = f"http.{place.scheme}://{place.netloc}/.extraHeader"
        safe[f"GIT_CONFIG_VALUE_{number}"] = f"Authorization: {url.authorization}"
    return safe
