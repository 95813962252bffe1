"""The API of Kubeflow Pipelines as far as a submission needs it: it records what comes, over real HTTP."""

import itertools

import yaml
from aiohttp import web

from servers.http_api import HttpApi

ROOT = "/apis/v2beta1"
TOKEN = "kfp-token-0815"


class KfpApi(HttpApi):
    token = TOKEN

    def __init__(self):
        super().__init__()
        self.packages = {}  # version's name -> the package's documents
        self.runs = []
        self._numbers = itertools.count(1)

    def routes(self):
        return [
            web.get(f"{ROOT}/healthz", self._health),
            web.get(f"{ROOT}/pipelines", self._pipelines),
            web.post(f"{ROOT}/pipelines/upload", self._upload),
            web.post(f"{ROOT}/pipelines/upload_version", self._upload),
            web.get(f"{ROOT}/pipelines/{{id}}/versions", self._versions),
            web.get(f"{ROOT}/experiments", self._experiments),
            web.post(f"{ROOT}/experiments", self._experiment),
            web.post(f"{ROOT}/runs", self._run),
            web.get(f"{ROOT}/runs/{{id}}", self._state),
        ]

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
