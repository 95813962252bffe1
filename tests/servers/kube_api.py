"""A Kubernetes API server that records what is asked of it: an honest subset over real HTTP, on loopback.

    with KubeApi() as api:
        monkeypatch.setenv("KUBECONFIG", api.kubeconfig(tmp_path))
        api.acts = [pending, running, complete]

It serves discovery, create, get, list (by labels), delete, pods' logs and SelfSubjectAccessReview; what it is sent of
training jobs it checks against Kubeflow's own models. It has no controllers: each time the job is looked at, the next
of `acts` is called with the server and the job, and plays them.
"""

import itertools
import json
from datetime import UTC, datetime

import yaml
from aiohttp import web

from servers import event_loop

TOKEN = "loopback-token"
NAMESPACE = "data-science-project"
TRAINER, TRAINING, AUTHORIZATION = "trainer.kubeflow.org/v1alpha1", "kubeflow.org/v1", "authorization.k8s.io/v1"
KINDS = {
    TRAINER: {"trainjobs": "TrainJob", "trainingruntimes": "TrainingRuntime"},
    TRAINING: {"pytorchjobs": "PyTorchJob"},
    "storage.k8s.io/v1": {"storageclasses": "StorageClass"},
    "v1": {"pods": "Pod", "events": "Event", "secrets": "Secret", "nodes": "Node", "configmaps": "ConfigMap"},
}
JOBS = ("trainjobs", "pytorchjobs")


class KubeApi:
    def __init__(self, *, served=(TRAINER, TRAINING)):
        """`served`: the APIs of training operators that the cluster has."""
        self.served = {AUTHORIZATION, "v1", "storage.k8s.io/v1", *served}
        self.objects = {}  # (plural, name) -> object
        self.logs = {}  # pod -> lines
        self.acts = []
        self.forbidden = set()  # (verb, resource)
        self.requests = []
        self.outages = 0  # how many of the next requests fail
        self._uids = itertools.count(1)
        self._running = event_loop.in_thread(self._serve)

    def __enter__(self):
        self._running.__enter__()
        return self

    def __exit__(self, *failure):
        self._running.__exit__(*failure)

    def kubeconfig(self, folder, *, token=TOKEN):
        """The path of a kubeconfig whose current context is this server."""
        path = folder / "kubeconfig"
        context = {"cluster": "loopback", "user": "tester", "namespace": NAMESPACE}
        path.write_text(
            yaml.safe_dump(
                {
                    "current-context": "loopback",
                    "clusters": [{"name": "loopback", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                    "users": [{"name": "tester", "user": {"token": token}}],
                    "contexts": [{"name": "loopback", "context": context}],
                }
            )
        )
        return str(path)

    def put(self, plural, name, **fields):
        """Have an object there; a later call replaces the fields that it names."""
        metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{next(self._uids)}", "labels": {}}
        found = self.objects.setdefault((plural, name), {"metadata": metadata})
        metadata = {**found["metadata"], **fields.pop("metadata", {})}
        found.update(metadata=metadata, **fields)
        return found

    def warn(self, kind, name, reason, message):
        """An event that explains."""
        about = {"kind": kind, "name": name, "namespace": NAMESPACE}
        self.put(
            "events",
            f"{name}.{next(self._uids)}",
            type="Warning",
            reason=reason,
            message=message,
            involvedObject=about,
            lastTimestamp=datetime.now(UTC).isoformat(),
        )

    def made(self, method, plural):
        """The names in the requests of this kind, in order."""
        return [
            name
            for called, resource, name in self.requests
            if (called, resource) == (method, plural) and name is not None
        ]

    async def _serve(self, ready, stop):
        app = web.Application(middlewares=[self._gate])
        for group in KINDS:
            root = f"/api/{group}" if group == "v1" else f"/apis/{group}"
            app.router.add_get(root, self._resources)
            for place in (f"{root}/namespaces/{NAMESPACE}", root):
                app.router.add_get(f"{place}/{{plural}}", self._list)
                app.router.add_post(f"{place}/{{plural}}", self._create)
                app.router.add_get(f"{place}/{{plural}}/{{name}}", self._get)
                app.router.add_delete(f"{place}/{{plural}}/{{name}}", self._delete)
        app.router.add_get(f"/api/v1/namespaces/{NAMESPACE}/pods/{{name}}/log", self._log)
        app.router.add_post(f"/apis/{AUTHORIZATION}/selfsubjectaccessreviews", self._review)
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
        if self.outages:
            self.outages -= 1
            return _status(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        group = request.path.removeprefix("/apis/").removeprefix("/api/")
        if not any(group == served or group.startswith(f"{served}/") for served in self.served):
            return _status(404, "NotFound", "the server could not find the requested resource")
        info = request.match_info
        self.requests.append((request.method, info.get("plural"), info.get("name")))
        return await handler(request)

    async def _resources(self, request):
        group = request.path.removeprefix("/apis/").removeprefix("/api/")
        resources = [{"name": plural, "kind": kind, "namespaced": True} for plural, kind in KINDS[group].items()]
        return web.json_response({"kind": "APIResourceList", "groupVersion": group, "resources": resources})

    async def _list(self, request):
        wanted = dict(pair.split("=") for pair in request.query.get("labelSelector", "").split(",") if pair)
        found = [
            thing
            for (plural, _), thing in self.objects.items()
            if plural == request.match_info["plural"] and wanted.items() <= thing["metadata"].get("labels", {}).items()
        ]
        return web.json_response({"kind": "List", "items": found})

    async def _create(self, request):
        body, plural = await request.json(), request.match_info["plural"]
        name = body["metadata"]["name"]
        if (plural, name) in self.objects:
            return _status(409, "AlreadyExists", f'{plural} "{name}" already exists')
        if fault := fault_of(body):
            return _status(422, "Invalid", fault)
        self.requests[-1] = ("POST", plural, name)
        body["metadata"]["uid"] = f"uid-{next(self._uids)}"
        self.objects[plural, name] = body
        return web.json_response(body, status=201)

    async def _get(self, request):
        plural, name = request.match_info["plural"], request.match_info["name"]
        found = self.objects.get((plural, name))
        if found is not None and plural in JOBS and self.acts:
            self.acts.pop(0)(self, found)
            found = self.objects.get((plural, name))
        return web.json_response(found) if found is not None else _missing(plural, name)

    async def _delete(self, request):
        plural, name = request.match_info["plural"], request.match_info["name"]
        if self.objects.pop((plural, name), None) is None:
            return _missing(plural, name)
        if plural in JOBS:  # the garbage collector takes its pods
            self.objects = {key: thing for key, thing in self.objects.items() if key[0] != "pods"}
        return web.json_response({"kind": "Status", "status": "Success"})

    async def _log(self, request):
        lines = self.logs.get(request.match_info["name"], [])
        return web.Response(text="".join(f"{line}\n" for line in lines))

    async def _review(self, request):
        body = await request.json()
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(word for word in (asked["resource"], asked.get("subresource", "")) if word)
        allowed = (asked["verb"], resource) not in self.forbidden
        return web.json_response({**body, "status": {"allowed": allowed}}, status=201)


def fault_of(body):
    """What Kubeflow's own models have against an object; empty for nothing."""
    try:
        match body["kind"]:
            case "TrainJob":
                from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

                TrainerV1alpha1TrainJob.from_dict(body)
            case "TrainingRuntime":
                from kubeflow_trainer_api.models import TrainerV1alpha1TrainingRuntime

                TrainerV1alpha1TrainingRuntime.from_dict(body)
    except ValueError as error:
        return str(error)
    return ""


def _missing(plural, name):
    return _status(404, "NotFound", f'{plural} "{name}" not found')


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
