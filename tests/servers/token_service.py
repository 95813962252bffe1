"""A token service as docker-registry's `auth: token` wants one: it signs what each user may do with a repository."""

import asyncio
import base64
import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from servers import event_loop
from servers.certificate import KIND
from servers.loopback import HOST

ISSUER, SERVICE = "tests", "the registry"
GOOD_FOR_S = 60
HALF_BYTES = 32  # of a signature on P-256


@dataclass
class TokenService:
    """`users`: by name the password, and what the user may do, such as "pull"."""

    folder: Path
    users: Mapping[str, tuple[str, list[str]]]
    url: str = ""

    @property
    def certificate(self) -> Path:
        return self.folder / "tokens.pem"

    @property
    def registry_auth(self) -> dict:
        """The section `auth` of the registry's configuration."""
        told = {"realm": self.url, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self.certificate)}
        return {"token": told}

    async def answer(self, request: web.Request) -> web.Response:
        scheme, _, login = request.headers.get("Authorization", "").partition(" ")
        name, _, password = base64.b64decode(login).decode().partition(":")
        known, actions = self.users.get(name, ("", []))
        if scheme != "Basic" or not known or password != known:
            return web.json_response({"errors": [{"code": "UNAUTHORIZED", "message": "who?"}]}, status=401)
        wanted = [scope.split(":") for scope in request.query.getall("scope", [])]
        access = [
            {"type": kind, "name": repository, "actions": [each for each in asked.split(",") if each in actions]}
            for kind, repository, asked in wanted
        ]
        return web.json_response({"token": self._signed({"sub": name, "access": access})})

    def _signed(self, claims: dict) -> str:
        now = int(time.time())
        standard = {"iss": ISSUER, "aud": SERVICE, "iat": now, "nbf": now - 1, "exp": now + GOOD_FOR_S, "jti": "1"}
        chain = [base64.b64encode(self._certificate_bytes()).decode()]
        parts = [{"typ": "JWT", "alg": "ES256", "x5c": chain}, {**standard, **claims}]
        text = ".".join(_encoded(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_encoded(self._signature(text.encode()))}"

    def _certificate_bytes(self) -> bytes:
        from cryptography.x509 import load_pem_x509_certificate

        return load_pem_x509_certificate(self.certificate.read_bytes()).public_bytes(serialization.Encoding.DER)

    def _signature(self, content: bytes) -> bytes:
        key = serialization.load_pem_private_key((self.folder / "tokens.key").read_bytes(), None)
        halves = decode_dss_signature(key.sign(content, ECDSA(hashes.SHA256())))
        return b"".join(half.to_bytes(HALF_BYTES, "big") for half in halves)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@contextlib.contextmanager
def token_service(folder: Path, users: Mapping[str, tuple[str, list[str]]]) -> Iterator[TokenService]:
    service = TokenService(folder, users)
    folder.mkdir(parents=True, exist_ok=True)
    files = ["-keyout", str(folder / "tokens.key"), "-out", str(service.certificate)]
    subprocess.run(["openssl", "req", "-x509", *KIND, "-subj", "/CN=tokens", *files], check=True, capture_output=True)

    async def serve(ready: Callable[[], None], stop: asyncio.Event) -> None:
        application = web.Application()
        application.add_routes([web.get("/token", service.answer)])
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        service.url = f"http://{HOST}:{runner.addresses[0][1]}/token"
        ready()
        await stop.wait()
        await runner.cleanup()

    with event_loop.in_thread(serve):
        yield service
