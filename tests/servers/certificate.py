"""A private authority, and what it has signed for this machine."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from servers.loopback import HOST

KIND = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True, kw_only=True)
class Authority:
    """`bundle` is what its friends trust; `server` a certificate and its key in one file."""

    bundle: Path
    server: Path


def authority(folder: Path) -> Authority:
    bundle, bundle_key, server, key = (folder / name for name in ("ca.pem", "ca.key", "server.pem", "server.key"))
    _certify("-subj", "/CN=Private authority", "-keyout", bundle_key, "-out", bundle)
    names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=IP:{HOST}", "-addext", "basicConstraints=CA:FALSE"]
    _certify(*names, "-CA", bundle, "-CAkey", bundle_key, "-keyout", key, "-out", server)
    server.write_text(server.read_text() + key.read_text())
    return Authority(bundle=bundle, server=server)


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def _certify(*arguments: str | Path) -> None:
    subprocess.run(["openssl", "req", "-x509", *KIND, *map(str, arguments)], check=True, capture_output=True)
