"""A Kubeflow Model Registry in memory, as strict about registering a model as the OpenAPI of the real one."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aiohttp import web

from servers import event_loop
from servers.loopback import HOST

COMMON = {"name", "description", "externalId", "customProperties", "state"}
FIELDS = {
    "registered_models": COMMON | {"owner", "readme", "maturity", "language", "tasks", "provider", "license"},
    "model_versions": COMMON | {"author", "registeredModelId"},
    "model_artifacts": COMMON
    | {"artifactType", "uri", "modelFormatName", "modelFormatVersion", "storageKey", "storagePath", "modelVersionId"},
}
VALUES = {"MetadataStringValue": ("string_value", str), "MetadataDoubleValue": ("double_value", int | float)}


@dataclass
class ModelRegistry:
    """`root` is the one version of the API that it has; `faults` are answered before anything else.

    `artifacts`: what it answers instead of a list of them.
    """

    root: str
    token: str | None = None
    records: dict[str, dict[str, dict]] = field(default_factory=lambda: {kind: {} for kind in FIELDS})
    requests: list[str] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    artifacts: object = None
    url: str = ""
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard])
        application.add_routes(
            [
                web.get(f"{self.root}/registered_models", self._list),
                web.post(f"{self.root}/registered_models", self._create),
                web.get(f"{self.root}/registered_model", self._find),
                web.post(f"{self.root}/model_versions", self._create),
                web.get(f"{self.root}/model_version", self._find),
                web.patch(f"{self.root}/model_versions/{{id}}", self._change),
                web.get(f"{self.root}/model_versions/{{id}}/artifacts", self._artifacts),
                web.post(f"{self.root}/model_versions/{{id}}/artifacts", self._attach),
                web.patch(f"{self.root}/model_artifacts/{{id}}", self._change),
            ]
        )
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path.removeprefix(self.root)}")
        if self.faults:
            return web.Response(status=self.faults.pop(0))
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _refused(401, "who?")
        if request.method in {"POST", "PATCH"} and request.content_type != "application/json":
            return _refused(415, "not JSON")
        return await handler(request)

    async def _list(self, request: web.Request) -> web.Response:
        items = list(self.records["registered_models"].values())
        return web.json_response(
            {"items": items, "pageSize": int(request.query["pageSize"]), "size": len(items), "nextPageToken": ""}
        )

    async def _find(self, request: web.Request) -> web.Response:
        kind = request.path.rpartition("/")[2] + "s"
        parent = request.query.get("parentResourceId")
        for record in self.records[kind].values():
            if record["name"] == request.query["name"] and record.get("registeredModelId") == parent:
                return web.json_response(record)
        return _refused(404, "not found")

    async def _create(self, request: web.Request) -> web.Response:
        kind, body = request.path.rpartition("/")[2], await request.json()
        needed = {"name"} | ({"registeredModelId"} if kind == "model_versions" else set())
        if complaint := _complaint(kind, body, needed):
            return _refused(400, complaint)
        parent = body.get("registeredModelId")
        if parent is not None and parent not in self.records["registered_models"]:
            return _refused(400, "no such registered model")
        same = [other for other in self.records[kind].values() if other["name"] == body["name"]]
        if any(other.get("registeredModelId") == parent for other in same):
            return _refused(409, "already exists")
        return web.json_response(self._kept(kind, body), status=201)

    async def _change(self, request: web.Request) -> web.Response:
        kind, body = request.path.split("/")[-2], await request.json()
        needed = {"artifactType"} if kind == "model_artifacts" else set()
        if complaint := _complaint(kind, body, needed, fixed={"name", "registeredModelId"}):
            return _refused(400, complaint)
        record = self.records[kind].get(request.match_info["id"])
        if record is None:
            return _refused(404, "not found")
        record |= body
        return web.json_response(record)

    async def _artifacts(self, request: web.Request) -> web.Response:
        version = request.match_info["id"]
        if self.artifacts is not None:
            return web.json_response(self.artifacts)
        items = [item for item in self.records["model_artifacts"].values() if item["version"] == version]
        return web.json_response({"items": items, "pageSize": 0, "size": len(items), "nextPageToken": ""})

    async def _attach(self, request: web.Request) -> web.Response:
        version, body = request.match_info["id"], await request.json()
        if version not in self.records["model_versions"]:
            return _refused(404, "not found")
        if complaint := _complaint("model_artifacts", body, {"artifactType"}):
            return _refused(400, complaint)
        return web.json_response(self._kept("model_artifacts", body, version=version), status=201)

    def _kept(self, kind: str, body: dict, **more: str) -> dict:
        record = {**body, **more, "id": str(next(self._ids))}
        self.records[kind][record["id"]] = record
        return record


def _complaint(kind: str, body: dict, needed: set[str], fixed: frozenset[str] | set[str] = frozenset()) -> str | None:
    if missing := needed - body.keys():
        return f"missing {missing}"
    if unknown := body.keys() - FIELDS[kind] | body.keys() & fixed:
        return f"unknown or fixed {unknown}"
    if "artifactType" in needed and body["artifactType"] != "model-artifact":
        return "artifactType"
    for name, value in body.get("customProperties", {}).items():
        key, kind_of_value = VALUES[value["metadataType"]]
        if value.keys() != {"metadataType", key} or not isinstance(value[key], kind_of_value):
            return f"customProperties {name}"
    return None


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"code": "", "message": message}, status=status)


@contextlib.contextmanager
def model_registry(*, root: str = "/api/model_registry/v1alpha3", token: str | None = None) -> Iterator[ModelRegistry]:
    registry = ModelRegistry(root, token)

    async def serve(ready: Callable[[], None], stop: asyncio.Event) -> None:
        runner = web.AppRunner(registry.application(), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        registry.url = f"http://{HOST}:{runner.addresses[0][1]}"
        ready()
        await stop.wait()
        await runner.cleanup()

    with event_loop.in_thread(serve):
        yield registry
