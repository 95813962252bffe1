"""The API of Kubeflow Pipelines as far as a submission needs it: it records what comes, over real HTTP."""

import itertools

import yaml
from aiohttp import web

from servers import event_loop

ROOT = "/apis/v2beta1"
TOKEN = "kfp-token-0815"


class KfpApi:
    def __init__(self):
        self.packages = {}  # version's name -> the package's documents
        self.runs = []
        self.states = {}  # run -> state
        self._numbers = itertools.count(1)
        self._running = event_loop.in_thread(self._serve)

    def __enter__(self):
        self._running.__enter__()
        return self

    def __exit__(self, *failure):
        self._running.__exit__(*failure)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, ready, stop):
        app = web.Application(middlewares=[_gate], client_max_size=16 << 20)
        app.router.add_get(f"{ROOT}/healthz", self._health)
        app.router.add_get(f"{ROOT}/pipelines", self._pipelines)
        app.router.add_post(f"{ROOT}/pipelines/upload", self._upload)
        app.router.add_post(f"{ROOT}/pipelines/upload_version", self._upload)
        app.router.add_get(f"{ROOT}/pipelines/{{id}}/versions", self._versions)
        app.router.add_get(f"{ROOT}/experiments", self._experiments)
        app.router.add_post(f"{ROOT}/experiments", self._experiment)
        app.router.add_post(f"{ROOT}/runs", self._run)
        app.router.add_get(f"{ROOT}/runs/{{id}}", self._state)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        ready()
        await stop.wait()
        await runner.cleanup()

    async def _health(self, _request):
        return web.json_response({"multi_user": False})

    async def _pipelines(self, _request):
        known = [{"pipeline_id": "p-1", "display_name": "instructlab-pipeline"}] if self.packages else []
        return web.json_response({"pipelines": known} if known else {})

    async def _upload(self, request):
        part = await (await request.multipart()).next()
        name = request.query["name"]
        self.packages[name] = list(yaml.safe_load_all(await part.text()))
        return web.json_response({"pipeline_id": "p-1", "pipeline_version_id": f"v-{name}", "display_name": name})

    async def _versions(self, _request):
        versions = [{"pipeline_version_id": f"v-{name}", "display_name": name} for name in self.packages]
        return web.json_response({"pipeline_versions": versions})

    async def _experiments(self, _request):
        return web.json_response({})

    async def _experiment(self, request):
        return web.json_response({**await request.json(), "experiment_id": "e-1"})

    async def _run(self, request):
        run = {**await request.json(), "run_id": f"run-{next(self._numbers)}"}
        self.runs.append(run)
        return web.json_response(run)

    async def _state(self, request):
        run = next((run for run in self.runs if run["run_id"] == request.match_info["id"]), None)
        if run is None:
            return web.json_response({"message": "run not found"}, status=404)
        tasks = [{"display_name": "prepare", "state": "SUCCEEDED"}, {"display_name": "sdg", "state": "RUNNING"}]
        return web.json_response({**run, "state": "RUNNING", "run_details": {"task_details": tasks}})


@web.middleware
async def _gate(request, handler):
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return web.json_response({"message": "who are you"}, status=401)
    return await handler(request)
