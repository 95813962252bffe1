"""A registry of our own in memory, for what docker-registry 2.8 lacks.

Broken uploads that go on, bearer tokens, readers who may not write, and lists of referrers.

It follows the OCI distribution specification 1.1 in the requests that a push makes, and is strict about them.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from servers import event_loop
from servers.loopback import HOST

OTHER_HOST = "localhost"  # the same server by another name
MOST_BYTES = 1 << 30
STATE = "state=a%2Fb%20c%7E%3D"  # of an upload; to be given back as it is
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class ResumingRegistry:
    """`token_requests` is how many requests a token is good for; `login` is who gets one.

    `redirects`: blobs are taken and handed out by another host, which wants no token and notes in `shown` what it is
    shown. `asks_elsewhere`: that host says 401, and where it would like to be shown a login.
    `moves`: whoever writes is sent there with a 307, method and body included.
    `lacks`: what it does not have: "HEAD" (of blobs), "mount", the "standing" of uploads, or a path.
    `page`: so many referrers it tells at once. `one_scope`: its token service refuses whoever asks for more than one
    repository. `stumbles`: so many manifests it finds damaged, as docker-registry does when two write the same one.
    `says`: this status in place of 201, 202 and 204. `location`: where it says that each upload is.
    `token_answer`: what its token service gives instead of a token.
    `forgets`: so many uploads, when the first bytes come. `immutable`: a tag is written once.
    """

    login: tuple[str, str]
    token_requests: int
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    host: str = ""
    readers_only: bool = False
    redirects: bool = False
    asks_elsewhere: bool = False
    moves: bool = False
    says: int | None = None
    location: str | None = None
    token_answer: dict | None = None
    lacks: frozenset[str] = frozenset()
    page: int = 100
    one_scope: bool = False
    stumbles: int = 0
    forgets: int = 0
    immutable: bool = False
    identity_token: str = field(default_factory=secrets.token_hex)
    shown: list[str | None] = field(default_factory=list)
    _uploads: dict[str, bytearray] = field(default_factory=dict)
    _writing: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _tokens: dict[str, int] = field(default_factory=dict)

    def log_in(self, auth_file: Path) -> None:
        """What `podman login` writes."""
        auth = base64.b64encode(":".join(self.login).encode()).decode()
        auth_file.write_text(json.dumps({"auths": {self.host: {"auth": auth}}}))

    def application(self) -> web.Application:
        application = web.Application(client_max_size=MOST_BYTES, middlewares=[self._guard])
        application.add_routes(
            [
                web.get("/token", self._token),
                web.post("/token", self._token_for_identity),
                web.get("/v2/", self._ping),
                web.get("/v2/{name:.+}/tags/list", self._tags),
                web.get("/v2/{name:.+}/referrers/{digest}", self._referrers),
                web.get("/v2/{name:.+}/blobs/{digest}", self._blob),  # HEAD as well
                web.post("/v2/{name:.+}/blobs/uploads/", self._begin),
                web.patch("/v2/{name:.+}/blobs/uploads/{upload}", self._patch),
                web.put("/v2/{name:.+}/blobs/uploads/{upload}", self._finish),
                web.get("/v2/{name:.+}/blobs/uploads/{upload}", self._standing),
                web.delete("/v2/{name:.+}/blobs/uploads/{upload}", self._cancel),
                web.put("/v2/{name:.+}/manifests/{reference}", self._tag),
                web.get("/v2/{name:.+}/manifests/{reference}", self._manifest),
            ]
        )
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        if request.path == "/token":
            if request.host.startswith(OTHER_HOST):
                self.shown.append(request.headers.get("Authorization"))
            return await handler(request)
        of_an_upload = "/uploads/" in request.path and not request.path.endswith("/uploads/")
        if request.path in self.lacks or (of_an_upload and STATE not in request.raw_path):
            return web.Response(status=404)
        if request.host.startswith(OTHER_HOST):
            self.shown.append(request.headers.get("Authorization"))
            return self._challenge(request) if self.asks_elsewhere else await handler(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._tokens.get(token, 0) <= 0:
            return self._challenge(request)
        self._tokens[token] -= 1
        self.requests.append(f"{request.method} {request.path}")
        if self.readers_only and request.method not in {"GET", "HEAD"}:
            return web.json_response({"errors": [{"code": "DENIED", "message": "no"}]}, status=403)
        if self.moves and request.method in {"POST", "PATCH", "PUT"}:
            raise web.HTTPTemporaryRedirect(str(request.url.with_host(OTHER_HOST)))
        response = await handler(request)
        if self.says and response.status in {201, 202, 204}:
            response.set_status(self.says)
        return response

    def _challenge(self, request: web.Request) -> web.Response:
        challenge = f'Bearer realm="http://{request.host}/token",service="tests"'
        return web.json_response({"errors": []}, status=401, headers={"WWW-Authenticate": challenge})

    async def _token(self, request: web.Request) -> web.Response:
        basic = base64.b64encode(":".join(self.login).encode()).decode()
        if request.headers.get("Authorization") != f"Basic {basic}":
            return web.json_response({"errors": [{"code": "UNAUTHORIZED", "message": "who?"}]}, status=401)
        if self.one_scope and len(request.query.getall("scope")) > 1:
            return web.json_response({"errors": [{"code": "DENIED", "message": "not all of them"}]}, status=403)
        self.scopes.append(request.query["scope"])
        token = secrets.token_hex()
        self._tokens[token] = self.token_requests
        return web.json_response({"access_token": token} if self.token_answer is None else self.token_answer)

    async def _token_for_identity(self, request: web.Request) -> web.Response:
        """As the distribution project's token service has it for clients that logged in once."""
        form = await request.post()
        if form["grant_type"] != "refresh_token" or form["refresh_token"] != self.identity_token:
            return web.json_response({"errors": [{"code": "UNAUTHORIZED", "message": "who?"}]}, status=401)
        assert "Authorization" not in request.headers
        self.scopes += str(form["scope"]).split()
        token = secrets.token_hex()
        self._tokens[token] = self.token_requests
        return web.json_response({"access_token": token})

    async def _ping(self, request: web.Request) -> web.Response:
        return web.json_response({})

    async def _blob(self, request: web.Request) -> web.Response:
        if request.method == "HEAD" and "HEAD" in self.lacks:
            return web.Response(status=405)
        if self.redirects and request.method == "GET" and not request.host.startswith(OTHER_HOST):
            raise web.HTTPTemporaryRedirect(str(request.url.with_host(OTHER_HOST)))
        content = self.blobs.get(request.match_info["digest"])
        return web.Response(status=404) if content is None else web.Response(body=content)

    async def _tags(self, request: web.Request) -> web.Response:
        tags = sorted(name for name in self.manifests if not name.startswith("sha256:"))
        return web.json_response({"name": request.match_info["name"], "tags": tags}, status=200 if tags else 404)

    async def _referrers(self, request: web.Request) -> web.Response:
        """As the distribution specification 1.1 has it."""
        wanted = request.match_info["digest"]
        found = [
            self._referrer(digest, content)
            for digest, content in sorted(self.manifests.items())
            if digest.startswith("sha256:") and (json.loads(content).get("subject") or {}).get("digest") == wanted
        ]
        start = int(request.query.get("start", 0))
        end = start + self.page
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found[start:end]}
        further = {"Link": f'<{request.path}?start={end}>; rel="next"'} if found[end:] else {}
        return web.json_response(index, content_type=INDEX, headers=further)

    def _referrer(self, digest: str, content: bytes) -> dict:
        manifest = json.loads(content)
        return {
            "mediaType": manifest["mediaType"],
            "digest": digest,
            "size": len(content),
            "artifactType": manifest.get("artifactType") or manifest["config"]["mediaType"],
            "annotations": manifest.get("annotations", {}),
        }

    async def _begin(self, request: web.Request) -> web.Response:
        if "mount" in request.query and "mount" in self.lacks:
            return web.json_response({"errors": [{"code": "UNSUPPORTED", "message": "no"}]}, status=405)
        upload = secrets.token_hex(4)
        self._uploads[upload] = bytearray()
        return self._stands(request, upload, 202)

    async def _patch(self, request: web.Request) -> web.Response:
        upload = request.match_info["upload"]
        if self.forgets:
            self.forgets -= 1
            return web.json_response({"errors": [{"code": "BLOB_UPLOAD_UNKNOWN", "message": "no"}]}, status=404)
        held = self._uploads[upload]
        start = int(request.headers.get("Content-Range", "0-").partition("-")[0])
        async with self._writing[upload]:
            if start != len(held):
                return web.Response(status=416)
            async for chunk in request.content.iter_any():
                held += chunk
        return self._stands(request, upload, 202)

    async def _finish(self, request: web.Request) -> web.Response:
        content = bytes(self._uploads.pop(request.match_info["upload"]))
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if digest != request.query["digest"]:
            return web.json_response({"errors": [{"code": "DIGEST_INVALID", "message": "not so"}]}, status=400)
        self.blobs[digest] = content
        return web.Response(status=201)

    async def _standing(self, request: web.Request) -> web.Response:
        upload = request.match_info["upload"]
        if "standing" in self.lacks:
            return web.Response(status=405)
        if upload not in self._uploads:
            return web.Response(status=404)
        async with self._writing[upload]:  # known only when the connection that broke is given up
            return self._stands(request, upload, 204)

    async def _cancel(self, request: web.Request) -> web.Response:
        return web.Response(status=404 if self._uploads.pop(request.match_info["upload"], None) is None else 204)

    async def _tag(self, request: web.Request) -> web.Response:
        if self.stumbles:
            self.stumbles -= 1
            return web.json_response({"errors": [{"code": "DIGEST_INVALID", "message": "not so"}]}, status=400)
        content = await request.read()
        reference = request.match_info["reference"]
        if self.immutable and reference in self.manifests and not reference.startswith("sha256"):
            return web.json_response({"errors": [{"code": "TAG_INVALID", "message": "immutable"}]}, status=400)
        manifest = json.loads(content)
        needed = [manifest["config"], *manifest["layers"]]
        if missing := [part["digest"] for part in needed if part["digest"] not in self.blobs]:
            return web.json_response({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": missing[0]}]}, status=400)
        self.manifests[request.match_info["reference"]] = content
        self.manifests[f"sha256:{hashlib.sha256(content).hexdigest()}"] = content
        subject = (manifest.get("subject") or {}).get("digest")
        return web.Response(status=201, headers={"OCI-Subject": subject} if subject else {})

    async def _manifest(self, request: web.Request) -> web.Response:
        content = self.manifests.get(request.match_info["reference"])
        return web.Response(status=404) if content is None else web.Response(body=content)

    def _stands(self, request: web.Request, upload: str, status: int) -> web.Response:
        place = f"http://{request.host.replace(HOST, OTHER_HOST)}" if self.redirects else ""
        location = self.location or f"{place}/v2/{request.match_info['name']}/blobs/uploads/{upload}?{STATE}"
        last = max(0, len(self._uploads[upload]) - 1)
        return web.Response(status=status, headers={"Location": location, "Range": f"0-{last}"})


@contextlib.contextmanager
def resuming_registry(*, login: tuple[str, str], token_requests: int = 1000) -> Iterator[ResumingRegistry]:
    registry = ResumingRegistry(login, token_requests)

    async def serve(ready: Callable[[], None], stop: asyncio.Event) -> None:
        runner = web.AppRunner(registry.application(), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        registry.host = f"{HOST}:{runner.addresses[0][1]}"
        ready()
        await stop.wait()
        await runner.cleanup()

    with event_loop.in_thread(serve):
        yield registry
