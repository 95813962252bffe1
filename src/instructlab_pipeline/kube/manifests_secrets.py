"""Templates of the secrets: the names of the parameter table, the keys that are read, and no values."""

from collections.abc import Mapping
from typing import Any

from instructlab_pipeline.params.table import PARAMETERS, PROFILES

ENDPOINT_KEYS = ("api_token", "model_name", "endpoint")
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_S3_ENDPOINT", "AWS_S3_BUCKET", "AWS_DEFAULT_REGION")
OPTIONAL_S3_KEYS = ("AWS_SESSION_TOKEN", "AWS_S3_ADDRESSING_STYLE")  # read where the secret has them

Manifest = Mapping[str, Any]


def secrets() -> dict[str, Manifest]:
    """By name, each with the defaults' names: `teacher-secret` and so on."""
    made = [
        _secret("sdg_teacher_secret", dict.fromkeys(ENDPOINT_KEYS, "")),
        _secret("eval_judge_secret", dict.fromkeys(ENDPOINT_KEYS, "")),
        _secret("output_oci_registry_secret", {".dockerconfigjson": '{"auths":{}}'}, kind="dockerconfigjson"),
        _secret("output_signing_secret", {"cosign.key": "", "cosign.password": ""}),
        _secret("notify_webhook_secret", {"url": "", "token": ""}),
        _secret("sdg_repo_secret", {"username": "", "password": ""}, kind="basic-auth"),
        _s3_connection(),
    ]
    return {str(manifest["metadata"]["name"]): manifest for manifest in made}


def _secret(parameter: str, keys: Mapping[str, str], *, kind: str = "") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": PARAMETERS[parameter].defaults[PROFILES[0]]},
        "type": f"kubernetes.io/{kind}" if kind else "Opaque",
        "stringData": dict(keys),
    }


def _s3_connection() -> Manifest:
    """In the form of OpenShift AI's connections, so that its dashboard shows it."""
    secret = _secret("s3_secret", dict.fromkeys(S3_KEYS, ""))
    metadata = {
        **secret["metadata"],
        "labels": {"opendatahub.io/dashboard": "true"},
        "annotations": {"opendatahub.io/connection-type": "s3", "openshift.io/display-name": "Models and runs"},
    }
    return {**secret, "metadata": metadata}
