"""The ConfigMap on a cluster: read, and patched as `oc patch configmap --type merge` does."""

from collections.abc import Mapping
from typing import Any

from instructlab_pipeline.kube.connection import Cluster


def read(cluster: Cluster, name: str, namespace: str) -> dict[str, str]:
    """Its `data`.

    Raises:
        UsageError: it is not there, or may not be read. ServiceError: the API server failed.
    """
    return _data(cluster.get(_path(name, namespace)))


def patch(
    cluster: Cluster, name: str, namespace: str, texts: Mapping[str, str], *, dry_run: bool = False
) -> dict[str, str]:
    """Set `texts` in its `data`; what the server has then.

    Raises:
        UsageError: as `read`, or an admission policy refuses a value; its sentence is in the message.
        ServiceError: the API server failed.
    """
    return _data(cluster.merge_patch(_path(name, namespace), {"data": dict(texts)}, dry_run=dry_run))


def _path(name: str, namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{name}"


def _data(answer: dict[str, Any]) -> dict[str, str]:
    return dict(answer.get("data") or {})
