"""What all our stand-ins for a Kubernetes API server share: a kubeconfig that leads to them, and how they say no."""

import json

import yaml
from aiohttp import web

from servers.http_api import HttpApi

NAMESPACE = "data-science-project"


class KubernetesServer(HttpApi):
    def kubeconfig(self, folder, *, token=HttpApi.token, namespace=NAMESPACE):
        """The path of a kubeconfig whose current context is this server."""
        path = folder / "kubeconfig"
        context = {"cluster": "loopback", "user": "tester", "namespace": namespace}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "loopback",
                    "clusters": [{"name": "loopback", "cluster": {"server": self.url}}],
                    "users": [{"name": "tester", "user": {"token": token}}],
                    "contexts": [{"name": "loopback", "context": context}],
                }
            )
        )
        return str(path)

    def refusal(self, code, reason, message):
        body = json.dumps(status(code, reason, message))
        return web.Response(status=code, text=body, content_type="application/json")


def status(code, reason, message):
    """The object that API servers answer with where they say no."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
