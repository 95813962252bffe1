"""The adapter to the Kubernetes API: a connection by kubeconfig or from within a pod, and its errors in our terms."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from instructlab_pipeline.errors import PipelineError, ServiceError, UsageError

SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MERGE_PATCH = "application/merge-patch+json"
TIMEOUT_S = 30.0
WATCH_S = 60  # how long one request watches; the next one goes on from there
NOT_FOUND, GONE = 404, 410

Objects = list[dict[str, Any]]


class NotFoundError(UsageError):
    """There is no such object, or no such API."""


class ExpiredError(ServiceError):
    """The API server has forgotten the version to watch from: list again."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An API server, and the namespace that commands mean where none is named."""

    client: Any
    namespace: str

    def get(self, path: str) -> dict[str, Any]:
        return self._call("GET", path)

    def find(self, path: str) -> dict[str, Any] | None:
        """The object, or None where there is none."""
        try:
            return self.get(path)
        except NotFoundError:
            return None

    def list(self, path: str, **selectors: str) -> Objects:
        """`selectors`: labelSelector, fieldSelector."""
        return self.listed(path, **selectors)[0]

    def listed(self, path: str, **selectors: str) -> tuple[Objects, str]:
        """The objects, and the version that they are: what `watch` goes on from."""
        answer = self.get(f"{path}?{urlencode(selectors)}")
        return answer.get("items") or [], str(answer["metadata"].get("resourceVersion", ""))

    def watch(self, path: str, version: str, **selectors: str) -> Iterator[dict[str, Any]]:
        """What happens after `version`, as {"type", "object"}, until the server ends it, as it does after a while.

        Raises:
            ExpiredError: the server does not know `version` any more. ServiceError: the connection broke.
        """
        asked = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_S)}
        query = urlencode({**selectors, **asked, "resourceVersion": version})
        for line in self.lines(f"{path}?{query}", silent_s=WATCH_S + TIMEOUT_S):
            event = _event(line, path)
            if event["type"] == "ERROR":
                raise _refused(f"watching {path}", event["object"].get("code", 0), event["object"].get("message", ""))
            yield event

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._call("POST", path, body=body, content_type="application/json")

    def delete(self, path: str) -> None:
        """With all that belongs to it, those first; nothing happens where there is none."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        with suppress(NotFoundError):
            self._call("DELETE", path, body=body, content_type="application/json")

    def lines(self, path: str, *, silent_s: float | None = None) -> Iterator[str]:
        """The lines of a text, such as a log that is followed, as they come; `silent_s`: the longest silence."""
        with kubernetes_boundary(f"GET {path} on {self.client.configuration.host}"):
            answer, _, _ = self.client.call_api(
                path,
                "GET",
                auth_settings=["BearerToken"],
                response_type="str",
                _preload_content=False,
                _request_timeout=(TIMEOUT_S, silent_s),
            )
            rest = b""
            for piece in answer.stream(amt=None):
                *whole, rest = (rest + piece).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
            if rest:
                yield rest.decode(errors="replace")

    def merge_patch(self, path: str, patch: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """The object after the patch; in a dry run the server checks everything, and keeps nothing."""
        return self._call("PATCH", f"{path}?dryRun=All" if dry_run else path, body=patch, content_type=MERGE_PATCH)

    def _call(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> dict[str, Any]:
        headers = {"Accept": "application/json", **({"Content-Type": content_type} if content_type else {})}
        with kubernetes_boundary(f"{method} {path} on {self.client.configuration.host}"):
            answer, _, _ = self.client.call_api(
                path,
                method,
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                response_type="object",
                _request_timeout=TIMEOUT_S,
            )
        result: dict[str, Any] = answer
        return result


def connected() -> Cluster:
    """The cluster of the current kubeconfig context; without one, the cluster in which this pod runs.

    Raises:
        UsageError: there is neither, or the client library is not installed.
    """
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise UsageError(
            "the Kubernetes client is not installed", remedy="pip install 'instructlab-pipeline[kube]'"
        ) from error
    with _configuration_boundary(config.ConfigException):
        if kubeconfig := _kubeconfig():
            _, context = config.list_kube_config_contexts(kubeconfig)
            namespace = (context or {}).get("context", {}).get("namespace", "default")
            return Cluster(client=config.new_client_from_config(kubeconfig), namespace=namespace)
        settings = client.Configuration()
        config.load_incluster_config(client_configuration=settings)
        namespace = (SERVICE_ACCOUNT_FOLDER / "namespace").read_text().strip()
        return Cluster(client=client.ApiClient(settings), namespace=namespace)


@contextmanager
def kubernetes_boundary(doing: str) -> Iterator[None]:
    """What the client raises while `doing` something, as one of our errors."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise _refused(doing, error.status, _message(error)) from error
    except HTTPError as error:
        raise ServiceError(
            f"{doing}: the API server does not answer: {error}",
            remedy="check that the cluster can be reached (`kubectl version`), then run the same command again",
        ) from error


@contextmanager
def _configuration_boundary(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        raise UsageError(
            f"there is no cluster to talk to: {error}", remedy="log in with `oc login`, or point KUBECONFIG to a file"
        ) from error


def _kubeconfig() -> str:
    """The files that kubectl would read, as one path; empty where none exists."""
    paths = os.environ.get("KUBECONFIG") or "~/.kube/config"
    existing = [str(path) for place in paths.split(os.pathsep) if (path := Path(place).expanduser()).is_file()]
    return os.pathsep.join(existing)


def _refused(doing: str, status: int, message: str) -> PipelineError:
    """The API server's no: whose turn it is depends on the status."""
    if status in (401, 403):
        return UsageError(f"{doing}: not allowed: {message}", remedy="log in as somebody who may, or ask for the role")
    if status == NOT_FOUND:
        return NotFoundError(
            f"{doing}: not found: {message}", remedy="check the name and the namespace; is deploy/ applied there?"
        )
    if status == GONE:
        return ExpiredError(f"{doing}: {message}", remedy="list the objects again, and watch from there")
    if status in (400, 409, 422):
        return UsageError(f"{doing}: refused: {message}", remedy="change what the message names, then try again")
    return ServiceError(
        f"{doing}: status {status}: {message}", remedy="run the same command again when the API server is well"
    )


def _event(line: str, path: str) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise ServiceError(f"watching {path}: the connection broke", remedy="watch again") from error
    return event


def _message(error: Any) -> str:
    """The sentence of the Status object that API servers answer with, else the bare reason."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
