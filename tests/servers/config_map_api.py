"""The ConfigMaps of a Kubernetes API server, over real HTTP: discovery, get, patch (merge), and an admission policy.

    with ConfigMapApi({"data-science-project/instructlab-pipeline-params": {"train_num_workers": "2"}}) as api:
        monkeypatch.setenv("KUBECONFIG", api.kubeconfig(tmp_path))

`admit` is called with the object that a change would make; the sentences that it returns refuse it.
"""

import json

import yaml
from aiohttp import web

from servers import event_loop

TOKEN = "loopback-token"
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
RESOURCES = [
    {"name": "configmaps", "singularName": "configmap", "namespaced": True, "kind": "ConfigMap", "verbs": VERBS}
]


class ConfigMapApi:
    def __init__(self, config_maps, *, admit=lambda _config_map: ()):
        """`config_maps`: NAMESPACE/NAME -> data."""
        self.config_maps = {key: dict(data) for key, data in config_maps.items()}
        self.admit = admit
        self.requests = []
        self.broken = False
        self.anonymous = False  # kubectl sends no token over plain HTTP
        self._running = event_loop.in_thread(self._serve)

    def __enter__(self):
        self._running.__enter__()
        return self

    def __exit__(self, *failure):
        self._running.__exit__(*failure)

    def kubeconfig(self, folder, *, token=TOKEN, namespace="data-science-project"):
        """The path of a kubeconfig whose current context is this server."""
        path = folder / "kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "loopback",
                    "clusters": [{"name": "loopback", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                    "users": [{"name": "tester", "user": {"token": token}}],
                    "contexts": [
                        {
                            "name": "loopback",
                            "context": {"cluster": "loopback", "user": "tester", "namespace": namespace},
                        }
                    ],
                }
            )
        )
        return str(path)

    async def _serve(self, ready, stop):
        app = web.Application(middlewares=[self._gate])
        app.router.add_get("/api", _versions)
        app.router.add_get("/apis", _groups)
        app.router.add_get("/api/v1", _resources)
        path = "/api/v1/namespaces/{namespace}/configmaps/{name}"
        app.router.add_get(path, self._get)
        app.router.add_patch(path, self._patch)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        ready()
        await stop.wait()
        await runner.cleanup()

    @web.middleware
    async def _gate(self, request, handler):
        body = await request.text()
        self.requests.append((request.method, request.path_qs, request.headers.get("Content-Type", ""), body))
        if self.broken:
            return _status(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        if not self.anonymous and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        return await handler(request)

    async def _get(self, request):
        key = _key(request)
        return _config_map(key, self.config_maps[key]) if key in self.config_maps else _missing(key)

    async def _patch(self, request):
        key = _key(request)
        if key not in self.config_maps:
            return _missing(key)
        if request.content_type != "application/merge-patch+json":
            return _status(415, "UnsupportedMediaType", f"{request.content_type} is not served here")
        changes = (await request.json()).get("data", {})
        data = {**self.config_maps[key], **changes}
        data = {name: text for name, text in data.items() if text is not None}
        if refusals := list(self.admit(_object(key, data))):
            return _status(422, "Invalid", _refusal(key, refusals))
        if request.query.get("dryRun") != "All":
            self.config_maps[key] = data
        return _config_map(key, data)


def _refusal(key, refusals):
    """As the API server words what an admission policy says: the first message, and how many more there are."""
    name = key.rpartition("/")[2]
    return (
        f"configmaps \"{name}\" is forbidden: ValidatingAdmissionPolicy 'instructlab-pipeline-params' with binding "
        f"'instructlab-pipeline-params' denied request: {refusals[0]}"
    )


async def _versions(_request):
    return web.json_response({"kind": "APIVersions", "versions": ["v1"]})


async def _groups(_request):
    return web.json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})


async def _resources(_request):
    return web.json_response({"kind": "APIResourceList", "groupVersion": "v1", "resources": RESOURCES})


def _key(request):
    return f"{request.match_info['namespace']}/{request.match_info['name']}"


def _object(key, data):
    namespace, _, name = key.partition("/")
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def _config_map(key, data):
    return web.json_response(_object(key, data))


def _missing(key):
    return _status(404, "NotFound", f'configmaps "{key.rpartition("/")[2]}" not found')


def _status(code, reason, message):
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
    return web.Response(status=code, text=json.dumps(body), content_type="application/json")
