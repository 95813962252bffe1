"""The user's name and password for a registry, from where docker, podman and skopeo keep them.

Searched in podman's order; the first file that knows the registry decides. Kubernetes' dockerconfigjson is the same
format: point REGISTRY_AUTH_FILE at the file, or at the folder where the secret is mounted.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.publish.reference import DOCKER_HUB

_DOCKER_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")
LEGACY = ".dockercfg"  # the key of Kubernetes' older secrets: the logins alone
IN_FOLDERS = ("config.json", ".dockerconfigjson", LEGACY)  # docker's own name, and the keys of mounted secrets
HELPER_TIMEOUT_S = 30
MOST_WORDS = 200  # characters, of a helper that tells why it does not help
_NOT_KEPT = "credentials not found"  # how every helper says that it keeps none for a registry
BY_TOKEN = "<token>"  # noqa: S105 - how a helper calls a user for whom it keeps an identity token
_SAYING = ("auth", "username", "identitytoken")  # one of them is in an entry that is a login


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """`origin` is the file that they come from; neither password nor token is ever shown.

    `identity_token`: what a token service gave at log-in, and takes in place of a password.
    """

    username: str
    password: str = field(repr=False)
    origin: Path
    identity_token: str | None = field(default=None, repr=False)

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def auth_files() -> list[Path]:
    """The places to search, in order, whether they exist or not."""
    if chosen := os.environ.get("REGISTRY_AUTH_FILE"):
        return [_in_folder(Path(chosen)) if Path(chosen).is_dir() else Path(chosen)]
    home = Path(os.environ.get("HOME", "/"))  # a container's user may have none
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [
        Path(runtime, "containers", "auth.json") if runtime else Path(f"/run/containers/{os.getuid()}/auth.json"),
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json",
        _in_folder(Path(os.environ.get("DOCKER_CONFIG") or home / ".docker")),
    ]


def _in_folder(folder: Path) -> Path:
    """The auth file in a folder, which may be a mounted secret."""
    return next((folder / name for name in IN_FOLDERS if (folder / name).is_file()), folder / IN_FOLDERS[0])


def find_credentials(registry: str, repository: str) -> Credentials | None:
    """Those for the repository, else for the nearest folder above it, else for the registry; None where none are kept.

    Raises:
        UsageError: a file that exists cannot be read as what it should be, or its helper failed.
    """
    for path in auth_files():
        if not path.is_file():
            continue
        found = _in_file(path, _read(path), registry, repository)
        if found is not None:
            return found
    return None


def _in_file(path: Path, document: Mapping[str, Any], registry: str, repository: str) -> Credentials | None:
    auths, helpers = _table(path, document, "auths"), _table(path, document, "credHelpers")
    store = document.get("credsStore")  # keeps what stands in auths without a value
    for name in _names(registry, repository):
        if name in helpers and (found := _from_helper(path, helpers[name], name)):  # before an entry, as docker has it
            return found
        entry = _table(path, auths, name)
        if any(entry.get(word) for word in _SAYING):
            return _from_entry(path, name, entry)
        if store and name in auths and (found := _from_helper(path, store, name)):
            return found
    return _from_store(path, store, registry) if store else None


def _table(path: Path, document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name) or {}
    if not isinstance(value, dict):
        raise UsageError(f"{path} has no JSON object as {name!r}", remedy="mend or delete it")
    return value


def _names(registry: str, repository: str) -> Iterator[str]:
    """The keys under which a file may know the repository, the most specific first."""
    parts = repository.split("/")
    yield from ("/".join([registry, *parts[:length]]) for length in range(len(parts), 0, -1))
    yield registry
    yield from (f"{scheme}://{registry}{end}" for scheme in ("https", "http") for end in ("", "/", "/v2/", "/v1/"))
    if registry == DOCKER_HUB:
        yield from _DOCKER_HUB_KEYS


def _from_entry(path: Path, name: str, entry: Mapping[str, Any]) -> Credentials:
    token = entry.get("identitytoken") or None
    if not entry.get("auth"):
        name, password = entry.get("username") or BY_TOKEN, entry.get("password") or ""
        return Credentials(username=name, password=password, origin=path, identity_token=token)
    try:
        username, colon, password = base64.b64decode(entry["auth"]).decode().strip().partition(":")
    except (ValueError, TypeError):
        colon = ""
    if not colon:
        raise UsageError(
            f"{path} has no base64 of user:password as the auth of {name}",
            remedy=f"log in again: `podman login {name}`",
        )
    return Credentials(username=username, password=password, origin=path, identity_token=token)


def _from_store(path: Path, store: str, registry: str) -> Credentials | None:
    """Docker asks its store for registries without an entry in the file, too: Amazon's helper is set up like that."""
    if shutil.which(_program(store)) is None:
        return None
    return _from_helper(path, store, _DOCKER_HUB_KEYS[0] if registry == DOCKER_HUB else registry)


def _from_helper(path: Path, helper: str, name: str) -> Credentials | None:
    """None where it keeps no login for the registry: others may, and some registries want none."""
    answer = _ask(path, helper, name)
    if answer.returncode and _NOT_KEPT in answer.stdout:
        return None
    return _from_answer(path, helper, name, answer)


def _ask(path: Path, helper: str, name: str) -> subprocess.CompletedProcess[str]:
    """Ask `docker-credential-HELPER`, which docker's documents describe."""
    try:
        return subprocess.run(
            [_program(helper), "get"],
            input=name,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=HELPER_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        raise _unhelpful(path, helper, name, f", which cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise _unhelpful(path, helper, name, f", which says nothing for {HELPER_TIMEOUT_S} s") from None


def _from_answer(path: Path, helper: str, name: str, answer: subprocess.CompletedProcess[str]) -> Credentials:
    if answer.returncode:  # what it prints is why, then, and no secret
        raise _unhelpful(path, helper, name, f", which has no login for {name}: {answer.stdout.strip()[:MOST_WORDS]}")
    try:
        record = json.loads(answer.stdout)
        username, secret = str(record["Username"]), str(record["Secret"])
    except (ValueError, KeyError, TypeError):
        raise _unhelpful(path, helper, name, f", whose answer for {name} is no login") from None
    token = secret if username == BY_TOKEN else None
    return Credentials(username=username, password="" if token else secret, origin=path, identity_token=token)


def _program(helper: str) -> str:
    return f"docker-credential-{helper}"


def _unhelpful(path: Path, helper: str, name: str, how: str) -> UsageError:
    return UsageError(
        f"{path} names the helper {_program(helper)}{how}",
        remedy=f"see whether `echo {name} | {_program(helper)} get` works, or log in again: `podman login {name}`",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no readable JSON: {type(error).__name__}", remedy="mend or delete it") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} is not a JSON object", remedy="mend or delete it")
    return {"auths": document} if path.name == LEGACY else document
