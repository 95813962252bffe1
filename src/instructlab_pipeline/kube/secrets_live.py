"""The secrets on a cluster as pods get them: variables, and files. For checks; nothing of it is ever printed."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.kube.connection import Cluster
from instructlab_pipeline.kube.package import REGISTRY_SECRET, S3_SECRET, SECRETS

LOGIN = ".dockerconfigjson"


def opened(cluster: Cluster, parameters: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Variable -> text, of those secrets that are there and that the caller may read; files lie in `folder`.

    parameters: what names the secrets.
    """
    found: dict[str, str] = {}
    for secret in (S3_SECRET, *(each for secrets in SECRETS.values() for each in secrets)):
        data = _data(cluster, str(parameters[secret.parameter]))
        variables = secret.variables or {}
        found |= {variable: data[key] for key, variable in variables.items() if data.get(key)}
        if secret is REGISTRY_SECRET and LOGIN in data:
            login = folder / "auth.json"
            login.touch(mode=0o600)
            login.write_text(data[LOGIN])
            found["REGISTRY_AUTH_FILE"] = str(login)
    return found


def _data(cluster: Cluster, name: str) -> dict[str, str]:
    try:
        found = cluster.get(f"/api/v1/namespaces/{cluster.namespace}/secrets/{name}")
    except UsageError:  # not there, or not for the caller to see: another check tells
        return {}
    return {key: base64.b64decode(text).decode(errors="replace").strip() for key, text in found.get("data", {}).items()}
