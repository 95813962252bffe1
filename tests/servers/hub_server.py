"""A server that speaks the API of the Hugging Face Hub, as far as fetching a model goes, on loopback.

with hub_server({"org/tiny": folder}, token="hf_secret") as hub:
    run("hf://org/tiny@main", environment={"HF_ENDPOINT": hub.url})
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from servers.loopback import HOST

LARGE = ".safetensors"
REVISIONS = ("main", "v1", "refs/pr/3", "feature/longer-context")  # all of the same commit


@dataclass
class Hub:
    """`cut_after`: bytes of a large file after which the next answers break off; `requests`: what was asked for."""

    url: str
    models: Mapping[str, Path]
    token: str
    gated: bool = False  # everybody may list, but only who accepted the licence may read
    cut_after: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def commit(self, name: str) -> str:
        return hashlib.sha1(str(sorted(self.files(name).items())).encode()).hexdigest()

    def files(self, name: str) -> dict[str, bytes]:
        folder = self.models[name]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def hub_server(models: Mapping[str, Path], *, token: str = "") -> Iterator[Hub]:
    server = ThreadingHTTPServer((HOST, 0), _Handler)
    server.hub = Hub(url=f"http://{HOST}:{server.server_port}", models=models, token=token)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        """Tests read `requests` instead."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server.hub
        hub.requests.append(f"{self.command} {self.path}")
        path = unquote(self.path.partition("?")[0]).strip("/").split("/")
        name = "/".join(path[2:4] if path[0] == "api" else path[:2])
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._refuse(401, "RepoNotFound")
        elif name not in hub.models:
            self._refuse(404, "RepoNotFound")
        elif hub.gated and path[0] != "api":
            self._refuse(403, "GatedRepo")
        elif path[0] == "api":
            self._describe(name, revision="/".join(path[5:]) or "main")
        else:
            self._send_file(name, "/".join(path[4:]))

    def _describe(self, name: str, *, revision: str) -> None:
        hub = self.server.hub
        if revision not in {*REVISIONS, hub.commit(name)}:
            self._refuse(404, "RevisionNotFound")
            return
        siblings = [_described(path, data) for path, data in hub.files(name).items()]
        body = json.dumps({"id": name, "sha": hub.commit(name), "siblings": siblings}).encode()
        self._send(200, {"Content-Type": "application/json"}, body)

    def _send_file(self, name: str, path: str) -> None:
        hub = self.server.hub
        data = hub.files(name).get(path)
        if data is None:
            self._refuse(404, "EntryNotFound")
            return
        headers = {"ETag": f'"{_etag(path, data)}"', "X-Repo-Commit": hub.commit(name), "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206 if asked else 200, headers, data[start:], cuttable=path.endswith(LARGE))

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, {"X-Error-Code": code, "X-Error-Message": code}, b"{}")

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, *, cuttable: bool = False) -> None:
        hub = self.server.hub
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if cuttable and hub.cut_after:
            body = body[: hub.cut_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)


def _described(path: str, data: bytes) -> dict:
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    described = {"rfilename": path, "size": len(data), "blobId": blob}
    if path.endswith(LARGE):
        described["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return described


def _etag(path: str, data: bytes) -> str:
    described = _described(path, data)
    return described["lfs"]["sha256"] if "lfs" in described else described["blobId"]
