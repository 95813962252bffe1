"""The adapter to the API of Kubeflow Pipelines: a package goes there, a run starts, its state comes back."""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import file_digest
from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.kube.package import NAME

TOKEN = "KFP_TOKEN"  # noqa: S105 - the name of a variable
CERTIFICATES = "SSL_CERT_FILE"  # for clusters whose routes have a certificate of their own
RUN_LABEL = "pipeline/runid"  # which Kubeflow puts on every pod of a run


@dataclass(frozen=True, kw_only=True)
class Pipelines:
    """`endpoint`: the URL under which both the API and the interface for people are."""

    endpoint: str
    client: Any

    def start(self, package: Path, arguments: Mapping[str, Any], *, name: str, experiment: str) -> str:
        """Upload the package, where it is not there already, and start a run of it; says the run's id."""
        with _boundary(self.endpoint):
            pipeline_id, version_id = self._uploaded(package)
            experiment_id = self.client.create_experiment(experiment).experiment_id
            run = self.client.run_pipeline(
                experiment_id,
                job_name=name,
                params=dict(arguments),
                pipeline_id=pipeline_id,
                version_id=version_id,
                enable_caching=False,
            )
        return str(run.run_id)

    def state(self, run_id: str) -> dict[str, Any]:
        """Of the run, and of each of its tasks."""
        with _boundary(self.endpoint):
            run = self.client.get_run(run_id)
        tasks = (run.run_details.task_details if run.run_details else None) or []
        return {
            "run": run_id,
            "name": run.display_name,
            "state": run.state,
            "error": run.error.message if run.error else None,
            "tasks": [{"name": task.display_name, "state": task.state} for task in tasks],
            "link": self.link(run_id),
        }

    def link(self, run_id: str) -> str:
        return f"{self.endpoint}/#/runs/details/{run_id}"

    def _uploaded(self, package: Path) -> tuple[str, str]:
        """Pipeline and version; a version is named for what is in it, so that the same package is there once."""
        version = f"{NAME}-{file_digest(package)[:12]}"
        pipeline_id = self.client.get_pipeline_id(NAME)
        if pipeline_id is None:
            pipeline_id = self.client.upload_pipeline(str(package), pipeline_name=NAME).pipeline_id
        newest = {"page_size": 100, "sort_by": "created_at desc"}
        found = self.client.list_pipeline_versions(pipeline_id, **newest).pipeline_versions or []
        known = {each.display_name: each.pipeline_version_id for each in found}
        if version not in known:
            uploaded = self.client.upload_pipeline_version(str(package), version, pipeline_id=pipeline_id)
            return pipeline_id, uploaded.pipeline_version_id
        return pipeline_id, known[version]


def pipelines_at(endpoint: str) -> Pipelines:
    """Raises ServiceError where nothing of the kind answers there. A token for it comes from KFP_TOKEN."""
    endpoint = endpoint.rstrip("/")
    try:
        import kfp
    except ImportError as error:
        raise UsageError(
            "Kubeflow's client is not installed", remedy="pip install 'instructlab-pipeline[kube]'"
        ) from error
    token = os.environ.get(TOKEN, "").strip() or None
    with _boundary(endpoint), warnings.catch_warnings(action="ignore", category=FutureWarning):
        _knock(endpoint, token)
        client = kfp.Client(host=endpoint, existing_token=token, ssl_ca_cert=os.environ.get(CERTIFICATES))
        return Pipelines(endpoint=endpoint, client=client)


def _knock(endpoint: str, token: str | None) -> None:
    """Ask once; the client would ask a closed door for half a minute."""
    import kfp_server_api

    settings = kfp_server_api.Configuration(host=endpoint)
    settings.ssl_ca_cert = os.environ.get(CERTIFICATES)
    if token:
        settings.api_key, settings.api_key_prefix = {"authorization": token}, {"authorization": "Bearer"}
    kfp_server_api.HealthzServiceApi(kfp_server_api.ApiClient(settings)).healthz_service_get_healthz()


@contextmanager
def _boundary(endpoint: str) -> Iterator[None]:
    """The client prints as it works, and raises what its parts raise; neither is for our users."""
    from kfp_server_api.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        with redirect_stdout(sys.stderr):
            yield
    except ApiException as error:
        if error.status in (401, 403):
            raise UsageError(
                f"Kubeflow Pipelines at {endpoint} does not let you in ({error.status})",
                remedy=f"set {TOKEN} to a token, such as that of `oc whoami -t`",
            ) from error
        if error.status == 404:
            raise UsageError(
                f"Kubeflow Pipelines at {endpoint} knows nothing of it: {_message(error)}", remedy="check the id"
            ) from error
        raise ServiceError(
            f"Kubeflow Pipelines at {endpoint}: {error.status} {_message(error)}", remedy="try again when it is well"
        ) from error
    except (HTTPError, TimeoutError) as error:
        raise ServiceError(
            f"Kubeflow Pipelines does not answer at {endpoint}: {error}", remedy="check --endpoint and the way to it"
        ) from error


def _message(error: Any) -> str:
    return " ".join(str(error.body or error.reason).split())[:300]
