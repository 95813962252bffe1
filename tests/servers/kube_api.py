"""A Kubernetes API server that records what is asked of it: an honest subset over real HTTP, on loopback.

    with KubeApi() as api:
        monkeypatch.setenv("KUBECONFIG", api.kubeconfig(tmp_path))
        api.acts = [pending, running, complete]

It serves discovery, create, get, list and watch (by labels, or a name), delete, pods' logs and access reviews; what it
is sent of training jobs it checks against Kubeflow's own models. It has no controllers: whenever somebody who watches
(or, where nobody may, lists) jobs has been told everything, the next of `acts` is called with the server and the job,
and plays them.
"""

import asyncio
import itertools
import json
import time
from datetime import UTC, datetime, timedelta

from aiohttp import web

from servers.kubeflow_models import fault_of
from servers.kubernetes_server import NAMESPACE, KubernetesServer, status
from servers.object_history import History

TRAINER, TRAINING, AUTHORIZATION = "trainer.kubeflow.org/v1alpha1", "kubeflow.org/v1", "authorization.k8s.io/v1"
STORAGE = "storage.k8s.io/v1"
KINDS = {
    TRAINER: {"trainjobs": "TrainJob", "trainingruntimes": "TrainingRuntime"},
    TRAINING: {"pytorchjobs": "PyTorchJob"},
    STORAGE: {"storageclasses": "StorageClass"},
    "v1": {
        "pods": "Pod",
        "events": "Event",
        "secrets": "Secret",
        "nodes": "Node",
        "configmaps": "ConfigMap",
        "persistentvolumes": "PersistentVolume",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "resourcequotas": "ResourceQuota",
        "serviceaccounts": "ServiceAccount",
    },
}
JOBS = ("trainjobs", "pytorchjobs")
VERBS = {"POST": "create", "DELETE": "delete", "PATCH": "patch"}
ENDED = ("Complete", "Succeeded", "Failed")
TICK_S = 0.01
FIRST_LINE = datetime(2026, 1, 1, tzinfo=UTC)  # of a log; a second passes from line to line


class KubeApi(KubernetesServer):
    def __init__(self, *, served=(TRAINER, TRAINING)):
        """`served`: the APIs of training operators that the cluster has."""
        super().__init__()
        self.served = {AUTHORIZATION, "v1", STORAGE, *served}
        self.objects = {}  # (plural, name) -> object
        self.logs = {}  # pod -> lines
        self.cut_logs_after = []  # so many lines of the next logs that are followed
        self.acts = []
        self.forbidden = set()  # (verb, resource) that the caller may not
        self.forbidden_to = {}  # another user -> the same
        self.outages = 0  # how many of the next requests fail
        self.longest_watch_s = 60.0  # before the server ends it
        self.expire_at_next_watch = False
        self._uids = itertools.count(1)
        self._history = History(self.objects)
        self._cuts = 0
        self._watched = []  # the kinds, one for each watch that was begun

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

    @property
    def watches(self):
        """How many were begun."""
        return len(self._watched)

    def looks(self, plural):
        """How often objects of this kind were listed."""
        return self.requests.count(("GET", plural, None)) - self._watched.count(plural)

    def cut(self):
        """Every connection over which somebody watches breaks, as when a load balancer is replaced."""
        self._cuts += 1

    def expire(self):
        """Forget what was before now: whoever watches from there is told so (410), and has to list again."""
        self._history.forget()

    def routes(self):
        yield web.get("/version", _version)
        for group in KINDS:
            root = f"/api/{group}" if group == "v1" else f"/apis/{group}"
            yield web.get(root, self._resources)
            for place in (f"{root}/namespaces/{NAMESPACE}", root):
                yield web.get(f"{place}/{{plural}}", self._list)
                yield web.post(f"{place}/{{plural}}", self._create)
                yield web.get(f"{place}/{{plural}}/{{name}}", self._get)
                yield web.delete(f"{place}/{{plural}}/{{name}}", self._delete)
        yield web.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{{name}}/log", self._log)
        yield web.post(f"/apis/{AUTHORIZATION}/selfsubjectaccessreviews", self._review)
        yield web.post(f"/apis/{AUTHORIZATION}/namespaces/{NAMESPACE}/localsubjectaccessreviews", self._review)

    async def stopped(self, request):
        if self.outages:
            self.outages -= 1
            return self.refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        group = request.path.removeprefix("/apis/").removeprefix("/api/")
        is_served = any(group == served or group.startswith(f"{served}/") for served in self.served)
        if not is_served and request.path != "/version":
            return self.refusal(404, "NotFound", "the server could not find the requested resource")
        verb, resource = _verb(request), _resource(request)
        if (verb, resource) in self.forbidden:
            return self.refusal(403, "Forbidden", f"User tester cannot {verb} resource {resource}")
        info = request.match_info
        self.requests.append((request.method, info.get("plural"), info.get("name")))
        return await super().stopped(request)

    async def _resources(self, request):
        group = request.path.removeprefix("/apis/").removeprefix("/api/")
        resources = [{"name": plural, "kind": kind, "namespaced": True} for plural, kind in KINDS[group].items()]
        return web.json_response({"kind": "APIResourceList", "groupVersion": group, "resources": resources})

    async def _list(self, request):
        if _is_on(request, "watch"):
            return await self._watch(request)
        plural = request.match_info["plural"]
        if plural in JOBS and ("watch", plural) in self.forbidden:
            self._play(plural)
        self._history.settle()
        found = [thing for (kind, _), thing in self.objects.items() if kind == plural and _is_chosen(thing, request)]
        return web.json_response(
            {"kind": "List", "metadata": {"resourceVersion": str(self._history.version)}, "items": found}
        )

    async def _watch(self, request):
        """Events as they come, until the time that was asked for is over, or the server has enough."""
        plural, since = request.match_info["plural"], int(request.query["resourceVersion"])
        if self.expire_at_next_watch:
            self.expire_at_next_watch = False
            self.expire()
        if since < self._history.oldest:
            return self.refusal(410, "Expired", f"too old resource version: {since} ({self._history.oldest})")
        self._watched.append(plural)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        asked_s, cuts = float(request.query.get("timeoutSeconds", "60")), self._cuts
        ends = time.monotonic() + min(asked_s, self.longest_watch_s)
        while time.monotonic() < ends and since >= self._history.oldest:
            self._history.settle()
            for version, kind, happened, thing in self._history.after(since):
                if kind == plural and _is_chosen(thing, request):
                    await _tell(response, happened, thing)
                since = version
            if cuts != self._cuts:
                request.transport.abort()
                return response
            if plural in JOBS:
                self._play(plural)
            await asyncio.sleep(TICK_S)
        if since < self._history.oldest:
            await _tell(response, "ERROR", status(410, "Expired", f"too old resource version: {since}"))
        elif _is_on(request, "allowWatchBookmarks"):
            await _tell(response, "BOOKMARK", {"metadata": {"resourceVersion": str(since)}})
        return response

    def _play(self, plural):
        job = next((thing for (kind, _), thing in self.objects.items() if kind == plural), None)
        if job is not None and self.acts:
            self.acts.pop(0)(self, job)

    async def _create(self, request):
        body, plural = await request.json(), request.match_info["plural"]
        name = body["metadata"]["name"]
        if (plural, name) in self.objects:
            return self.refusal(409, "AlreadyExists", f'{plural} "{name}" already exists')
        if fault := fault_of(body):
            return self.refusal(422, "Invalid", fault)
        self.requests[-1] = ("POST", plural, name)
        body["metadata"]["uid"] = f"uid-{next(self._uids)}"
        self.objects[plural, name] = body
        return web.json_response(body, status=201)

    async def _get(self, request):
        plural, name = request.match_info["plural"], request.match_info["name"]
        found = self.objects.get((plural, name))
        return web.json_response(found) if found is not None else self._missing(plural, name)

    async def _delete(self, request):
        plural, name = request.match_info["plural"], request.match_info["name"]
        if self.objects.pop((plural, name), None) is None:
            return self._missing(plural, name)
        if plural in JOBS:  # the garbage collector takes its pods
            for key in [key for key in self.objects if key[0] == "pods"]:
                del self.objects[key]
        return web.json_response({"kind": "Status", "status": "Success"})

    async def _log(self, request):
        """Lines after `sinceTime`; followed for as long as the pod runs, unless the connection breaks before."""
        name, query = request.match_info["name"], request.query
        following = _is_on(request, "follow")
        breaks_at = self.cut_logs_after.pop(0) if following and self.cut_logs_after else None
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        number = 0
        while True:
            for line in self.logs.get(name, [])[number:]:
                if number == breaks_at:
                    request.transport.abort()
                    return response
                stamp = (FIRST_LINE + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                number += 1
                if stamp >= query.get("sinceTime", ""):
                    stamped = f"{stamp} {line}" if _is_on(request, "timestamps") else line
                    await response.write(f"{stamped}\n".encode())
            if not following or not self._runs(name):
                return response
            await asyncio.sleep(TICK_S)

    def _runs(self, pod):
        is_running = self.objects.get(("pods", pod), {}).get("status", {}).get("phase") == "Running"
        jobs = [
            thing
            for (kind, _), thing in self.objects.items()
            if kind in JOBS and "deletionTimestamp" not in thing["metadata"]
        ]
        ended = [each["type"] in ENDED for job in jobs for each in job.get("status", {}).get("conditions", ())]
        return bool(is_running and jobs and not any(ended))

    async def _review(self, request):
        body = await request.json()
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(word for word in (asked["resource"], asked.get("subresource", "")) if word)
        user = body["spec"].get("user")
        forbidden = self.forbidden if user is None else self.forbidden_to.get(user, set())
        return web.json_response(
            {**body, "status": {"allowed": (asked["verb"], resource) not in forbidden}}, status=201
        )

    def _missing(self, plural, name):
        return self.refusal(404, "NotFound", f'{plural} "{name}" not found')


async def _version(_request):
    return web.json_response({"major": "1", "minor": "32", "gitVersion": "v1.32.0"})


async def _tell(response, event, thing):
    await response.write(json.dumps({"type": event, "object": thing}).encode() + b"\n")


def _is_chosen(thing, request):
    labels = dict(pair.split("=") for pair in request.query.get("labelSelector", "").split(",") if pair)
    name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
    return labels.items() <= thing["metadata"].get("labels", {}).items() and name in ("", thing["metadata"]["name"])


def _is_on(request, option):
    """Go reads all of these as true."""
    return request.query.get(option, "") in {"1", "t", "T", "true", "TRUE", "True"}


def _verb(request):
    if request.method in VERBS:
        return VERBS[request.method]
    if "name" in request.match_info:
        return "get"
    return "watch" if _is_on(request, "watch") else "list"


def _resource(request):
    if request.path.endswith("/log"):
        return "pods/log"
    return request.match_info.get("plural") or request.path.rpartition("/")[2]
