"""The ConfigMaps of a Kubernetes API server, over real HTTP: discovery, get, patch (merge), and an admission policy.

    with ConfigMapApi({"data-science-project/instructlab-pipeline-params": {"train_num_workers": "2"}}) as api:
        monkeypatch.setenv("KUBECONFIG", api.kubeconfig(tmp_path))

`admit` is called with the object that a change would make; the sentences that it returns refuse it.
"""

from aiohttp import web

from servers.kubernetes_server import KubernetesServer

VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
RESOURCES = [
    {"name": "configmaps", "singularName": "configmap", "namespaced": True, "kind": "ConfigMap", "verbs": VERBS}
]


class ConfigMapApi(KubernetesServer):
    def __init__(self, config_maps, *, admit=lambda _config_map: ()):
        """`config_maps`: NAMESPACE/NAME -> data."""
        super().__init__()
        self.config_maps = {key: dict(data) for key, data in config_maps.items()}
        self.admit = admit
        self.broken = False
        self.anonymous = False  # kubectl sends no token over plain HTTP

    def routes(self):
        path = "/api/v1/namespaces/{namespace}/configmaps/{name}"
        return [
            web.get("/api", _versions),
            web.get("/apis", _groups),
            web.get("/api/v1", _resources),
            web.get(path, self._get),
            web.patch(path, self._patch),
        ]

    async def stopped(self, request):
        body = await request.text()
        self.requests.append((request.method, request.path_qs, request.headers.get("Content-Type", ""), body))
        if self.broken:
            return self.refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        return None if self.anonymous else await super().stopped(request)

    async def _get(self, request):
        key = _key(request)
        return _config_map(key, self.config_maps[key]) if key in self.config_maps else self._missing(key)

    async def _patch(self, request):
        key = _key(request)
        if key not in self.config_maps:
            return self._missing(key)
        if request.content_type != "application/merge-patch+json":
            return self.refusal(415, "UnsupportedMediaType", f"{request.content_type} is not served here")
        changes = (await request.json()).get("data", {})
        data = {**self.config_maps[key], **changes}
        data = {name: text for name, text in data.items() if text is not None}
        if refusals := list(self.admit(_object(key, data))):
            return self.refusal(422, "Invalid", _refusal(key, refusals))
        if request.query.get("dryRun") != "All":
            self.config_maps[key] = data
        return _config_map(key, data)

    def _missing(self, key):
        return self.refusal(404, "NotFound", f'configmaps "{key.rpartition("/")[2]}" not found')


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
