"""A published model's entry in a Kubeflow Model Registry, over its REST API: model, version, and where its image is.

Done again, it changes nothing; a version that means another image now is brought up to date.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from instructlab_pipeline.errors import PipelineError, ServiceError, boundary

if TYPE_CHECKING:
    import aiohttp

ROOTS = ("/api/model_registry/v1", "/api/model_registry/v1alpha3")  # newest first; a server has one of them or both
TOKEN_VARIABLE = "MODEL_REGISTRY_TOKEN"  # noqa: S105 - a variable's name
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
TIMEOUT_S = 30.0
ATTEMPTS = 4
FIRST_PAUSE_S = 0.5  # doubled after each failure
OK, CREATED, NOT_FOUND = 200, 201, 404
AFTER_PUBLISHING = "see what the model registry's log says, then run again; the image itself is published"
FORMAT = {"modelFormatName": "vLLM", "modelFormatVersion": "1"}


@dataclass(frozen=True, kw_only=True)
class Registration:
    """`uri` is the image, by its digest. Of `properties`, numbers stay numbers."""

    name: str
    version: str
    uri: str
    description: str
    properties: Mapping[str, str | float]


async def register(registration: Registration, url: str) -> None:
    """Enter the model.

    Raises:
        ServiceError: the registry refused, or failed in all attempts.
    """
    import aiohttp

    url = url.rstrip("/")
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    answers = boundary(ServiceError, f"the model registry {url} answers as none does", remedy=AFTER_PUBLISHING)
    async with aiohttp.ClientSession(timeout=timeout, headers=_authorization(url)) as http:
        with answers:
            api = _Api(http, url, await _root(http, url))
            model = await _model(api, registration)
            version = await _version(api, registration, model)
            await _artifact(api, registration, version)


async def _root(http: "aiohttp.ClientSession", url: str) -> str:
    for root in ROOTS:
        reply = await _Api(http, url, root).send("GET", "/registered_models?pageSize=1")
        if reply is not None:
            return root
    raise ServiceError(
        f"{url} is no Kubeflow Model Registry: it answers at none of {', '.join(ROOTS)}",
        remedy="set output_model_registry_url to its address, such as https://registry.example.com",
    )


async def _model(api: "_Api", registration: Registration) -> str:
    found = await api.send("GET", f"/registered_model?name={quote(registration.name, safe='')}")
    body = {"name": registration.name, "description": registration.description}
    return _id(found or await api.send("POST", "/registered_models", body))


async def _version(api: "_Api", registration: Registration, model: str) -> str:
    found = await api.send(
        "GET", f"/model_version?name={quote(registration.version, safe='')}&parentResourceId={quote(model, safe='')}"
    )
    body = {"description": registration.description, "customProperties": _custom(registration.properties)}
    if found is None:
        new = {"name": registration.version, "registeredModelId": model, "author": "instructlab-pipeline"}
        return _id(await api.send("POST", "/model_versions", {**new, **body}))
    return _id(await api.send("PATCH", f"/model_versions/{_id(found)}", body))


async def _artifact(api: "_Api", registration: Registration, version: str) -> None:
    listed = await api.send("GET", f"/model_versions/{version}/artifacts") or {}
    kind = {"artifactType": "model-artifact"}
    body = {**kind, "uri": registration.uri, **FORMAT}
    held = [item for item in listed.get("items") or [] if item.get("artifactType") == "model-artifact"]
    if not held:
        await api.send("POST", f"/model_versions/{version}/artifacts", {**body, "name": registration.name})
    elif held[0].get("uri") != registration.uri:
        await api.send("PATCH", f"/model_artifacts/{_id(held[0])}", body)


@dataclass(frozen=True)
class _Api:
    """`root` is the path under which the server has the API."""

    http: "aiohttp.ClientSession"
    url: str
    root: str

    async def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The answer, or None where there is no such thing; repeated while the server fails.

        Raises:
            ServiceError: refused, or failing in all attempts.
        """
        complaint = ""
        for number in range(ATTEMPTS):
            if number:
                await asyncio.sleep(FIRST_PAUSE_S * 2 ** (number - 1))
            found = await self._once(method, path, body)
            if not isinstance(found, str):
                return found
            complaint = found
        raise self._failed(complaint)

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any] | str | None:
        """The answer; a text is why it is worth another attempt."""
        import aiohttp

        try:
            async with self.http.request(method, f"{self.url}{self.root}{path}", json=body) as reply:
                if reply.status == NOT_FOUND and method == "GET":
                    return None
                if reply.status >= 500 or reply.status == 429:
                    return f"status {reply.status}"
                if reply.status not in {OK, CREATED}:
                    raise self._refused(f"{method} {path.partition('?')[0]}", reply.status, await reply.text())
                answer: dict[str, Any] = await reply.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return str(error) or type(error).__name__
        return answer

    def _refused(self, what: str, status: int, words: str) -> PipelineError:
        if status in {401, 403}:
            remedy = f"set {TOKEN_VARIABLE} to a token that may register models"
        else:
            remedy = AFTER_PUBLISHING
        return ServiceError(
            f"the model registry {self.url} refused {what} (status {status}): {words[:200]}", remedy=remedy
        )

    def _failed(self, complaint: str) -> PipelineError:
        return ServiceError(
            f"the model registry {self.url} cannot be used: {complaint} (tried {ATTEMPTS} times)",
            remedy="see whether output_model_registry_url is right, then run the same command again: "
            "the image itself is published",
        )


def _authorization(url: str) -> dict[str, str]:
    """A token goes over TLS only."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token and SERVICE_ACCOUNT.is_file():
        token = SERVICE_ACCOUNT.read_text().strip()
    return {"Authorization": f"Bearer {token}"} if token and url.startswith("https://") else {}


def _custom(properties: Mapping[str, str | float]) -> dict[str, dict[str, Any]]:
    return {
        name: {"metadataType": "MetadataStringValue", "string_value": value}
        if isinstance(value, str)
        else {"metadataType": "MetadataDoubleValue", "double_value": value}
        for name, value in properties.items()
    }


def _id(record: Mapping[str, Any] | None) -> str:
    if record is None or not record.get("id"):
        raise ServiceError("the model registry answered without an id", remedy=AFTER_PUBLISHING)
    return str(record["id"])
