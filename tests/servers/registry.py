"""Debian's docker-registry as a real process on a free loopback port, with or without a login and TLS."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.loopback import HOST, free_port, process

NEEDED = ("docker-registry", "skopeo", "umoci", "htpasswd", "openssl")
OWN_MOUNTS = ("unshare", "--mount", "--map-root-user")  # where the kernel lets users have them
HOW_TO_GET_THEM = "apt-get install docker-registry skopeo umoci apache2-utils openssl"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """`host` is host:port; `certificate` is what to trust, where it speaks TLS; `blobs` is its storage on disk."""

    host: str
    log: Path
    storage: Path
    certificate: Path | None

    def write_login(self, auth_file: Path, user: str, password: str) -> Path:
        """What `podman login` writes."""
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        auth_file.parent.mkdir(parents=True, exist_ok=True)
        auth_file.write_text(json.dumps({"auths": {self.host: {"auth": auth}}}))
        return auth_file

    def manifest(self, repository: str, reference: str) -> dict:
        """Without a login, as any client would get it over plain HTTP."""
        request = urllib.request.Request(
            f"http://{self.host}/v2/{repository}/manifests/{reference}",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def requests(self) -> list[str]:
        """`METHOD path` of each request that the registry has answered, without upload ids."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [
            f"{line['http.request.method']} {line['http.request.uri'].partition('?')[0]}"
            for line in lines
            if line["msg"].startswith("response completed")
        ]


@contextlib.contextmanager
def registry(
    folder: Path,
    *,
    login: tuple[str, str] | None = None,
    auth: Mapping[str, Any] | None = None,
    tls: bool = False,
    port: int | None = None,
    disk_bytes: int | None = None,
) -> Iterator[Registry]:
    """Storage, configuration and log lie in `folder`; started there again, it holds what it held.

    `auth`: that section of its configuration, for what is not a login.
    `disk_bytes`: its storage is a disk of its own of that size, which is gone when it ends.
    """
    require(*NEEDED)
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    certificate = _certificate(folder) if tls else None
    config = _config(folder, port, login=login, certificate=certificate)
    config |= {"auth": auth} if auth else {}
    (folder / "config.json").write_text(json.dumps(config))  # JSON is YAML
    log = folder / "registry.log"
    argv = ["docker-registry", "serve", str(folder / "config.json")]
    if disk_bytes is not None:
        (folder / "storage").mkdir()
        mounted = 'mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@"'
        argv = [*OWN_MOUNTS, "sh", "-c", mounted, "sh", str(disk_bytes), str(folder / "storage"), *argv]
    with process(argv, port=port, log=log, environment={"OTEL_TRACES_EXPORTER": "none"}):
        yield Registry(
            host=f"{'localhost' if tls else HOST}:{port}",
            log=log,
            storage=folder / "storage",
            certificate=certificate,
        )


def require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise RuntimeError(f"missing here: {', '.join(missing)}. Install with: {HOW_TO_GET_THEM}")


def run(*argv: str, **environment: str) -> str:
    """Standard output of a program that must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def _config(folder: Path, port: int, *, login: tuple[str, str] | None, certificate: Path | None) -> dict:
    http = {"addr": f"{HOST}:{port}", "secret": "so that uploads outlive a restart"}
    if certificate:
        http["tls"] = {"certificate": str(certificate), "key": str(folder / "key.pem")}
    config = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": True}},
        "http": http,
    }
    if login:
        run("htpasswd", "-cbB", str(folder / "htpasswd"), *login)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    return config


def _certificate(folder: Path) -> Path:
    """Its own authority, for localhost."""
    path = folder / "certificate.pem"
    if not path.exists():
        subject = ["-subj", "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,IP:{HOST}"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        run("openssl", "req", "-x509", *kind, *subject, "-keyout", str(folder / "key.pem"), "-out", str(path))
    return path
