"""Real git servers on loopback: `git daemon`, and `git http-backend` behind HTTP with basic authentication.

taxonomy = GitRepository(folder / "taxonomy")
commit = taxonomy.commit({"knowledge/moons/qna.yaml": text})
with git_daemon(folder) as url:
    run(f"{url}/taxonomy")
"""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from servers.certificate import server_side
from servers.loopback import HOST, free_port, process

WRITER = {
    "GIT_AUTHOR_NAME": "Writer",
    "GIT_AUTHOR_EMAIL": "writer@example.org",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00+0000",
    "GIT_COMMITTER_NAME": "Writer",
    "GIT_COMMITTER_EMAIL": "writer@example.org",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00+0000",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


@dataclass(frozen=True)
class GitRepository:
    """A repository with a working tree on branch `main`; the same commits have the same names every time."""

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / ".git").exists():
            self.git("init", "--quiet", "--initial-branch=main", str(self.folder), inside=False)

    def commit(self, files: Mapping[str, str | bytes], message: str = "Change the taxonomy") -> str:
        """Write `files` and commit everything in the working tree; the commit's name."""
        for path, content in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    def git(self, *command: str, inside: bool = True) -> str:
        place = ["-C", str(self.folder)] if inside else []
        environment = {**os.environ, **WRITER}
        done = subprocess.run(["git", *place, *command], env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()


@contextmanager
def git_daemon(folder: Path) -> Iterator[str]:
    """Serve every repository below `folder`; the URL to put before its path."""
    port = free_port()
    place = [f"--base-path={folder}", f"--listen={HOST}", f"--port={port}", str(folder)]
    argv = ["git", "daemon", "--reuseaddr", "--export-all", *place]
    with process(argv, port=port, log=folder / "git-daemon.log"):
        yield f"git://{HOST}:{port}"


@dataclass(frozen=True, kw_only=True)
class HttpGit:
    """`url` goes before a repository's path; `requests` are the paths asked for, with the status given."""

    url: str
    requests: list[tuple[str, int]] = field(default_factory=list)


@contextmanager
def http_git(
    folder: Path, *, user: str = "", password: str = "", protocol: int = 2, certificate: Path | None = None
) -> Iterator[HttpGit]:
    """Serve every repository below `folder` by smart HTTP, to whoever knows `user` and `password` if they are given.

    With `protocol` 0 it is a server of before 2018, which gives out branches and tags but no other commit. With
    a `certificate`, which has its key in the same file, it speaks TLS.
    """
    server = ThreadingHTTPServer((HOST, 0), _Backend)
    if certificate:
        server.socket = server_side(certificate).wrap_socket(server.socket, server_side=True)
    served = HttpGit(url=f"{'https' if certificate else 'http'}://{HOST}:{server.server_port}")
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    server.folder, server.requests, server.protocol = folder, served.requests, protocol
    server.authorization = f"Basic {token}" if user else ""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Backend(BaseHTTPRequestHandler):
    """One request to `git http-backend`, which is a CGI program."""

    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_arguments: object) -> None:
        """Tests read `requests` instead."""

    def _answer(self) -> None:
        if self.server.authorization and self.headers.get("Authorization") != self.server.authorization:
            self._reply(401, [("WWW-Authenticate", 'Basic realm="taxonomy"')], b"")
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        argv = ["git", "http-backend"]
        done = subprocess.run(argv, input=body, env=self._cgi(), check=False, capture_output=True)  # fails by answering
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        self._reply(status, [(name, value) for name, value in headers if name != "Status"], content)

    def _cgi(self) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        return {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", "") if self.server.protocol else "",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
        }

    def _reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.server.requests.append((self.path, status))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
