"""`deploy/`: what is applied to a cluster, file by file, made from the parameter table.

base/               service account, role, network policy, and the ConfigMap's name
overlays/dev, prod  every parameter of that environment; copy one and change its literals for another environment
components/         what an overlay may add: monitoring, a pipelines server
admission-policy/   for a cluster's administrator: the API server refuses wrong parameters
secrets/            templates without values
"""

from collections.abc import Iterable, Mapping
from typing import Any

from instructlab_pipeline.kube import configmap, monitoring
from instructlab_pipeline.kube.manifests_access import network_policy, role, role_binding, service_account
from instructlab_pipeline.kube.manifests_secrets import secrets
from instructlab_pipeline.kube.names import CONFIGMAP, NAMESPACE, PART_OF, SERVICE_ACCOUNT
from instructlab_pipeline.kube.policy import advice, bindings, policy
from instructlab_pipeline.params.export import dumped, sectioned
from instructlab_pipeline.params.layers import resolve_layers
from instructlab_pipeline.params.table import PARAMETERS, PROFILES

Manifest = Mapping[str, Any]

HEADER = "# Made from the parameter table by `instructlab-pipeline kube manifests`; a change here is lost. {}\n"
NO_HASH = {"disableNameSuffixHash": True}  # with a hash in its name, nobody could patch the ConfigMap


def files() -> dict[str, str]:
    """Path below `deploy/` -> text."""
    return {
        **_folder("base", _base_kustomization(), _base()),
        **{f"overlays/{profile}/kustomization.yaml": _overlay(profile) for profile in PROFILES},
        **_folder("components/monitoring", _component(**monitoring.generators()), monitoring.manifests()),
        "components/monitoring/dashboard.json": monitoring.dashboard_text(),
        **_folder("components/pipelines-server", _component(), {"pipelines-server": pipelines_server()}),
        **_folder("admission-policy", _kustomization(), _admission()),
        **{f"secrets/{name}.yaml": _template(manifest) for name, manifest in secrets().items()},
    }


def pipelines_server() -> Manifest:
    """The pipelines server of OpenShift AI, for projects that have none; its bucket is for what steps hand over."""
    credentials = {
        "secretName": PARAMETERS["s3_secret"].defaults[PROFILES[0]],
        "accessKey": "AWS_ACCESS_KEY_ID",
        "secretKey": "AWS_SECRET_ACCESS_KEY",
    }
    storage = {
        "host": "s3.your-region.amazonaws.com",
        "bucket": "your-bucket",
        "basePath": "pipelines",
        "region": "your-region",
        "scheme": "https",
        "s3CredentialsSecret": credentials,
    }
    return {
        "apiVersion": "datasciencepipelinesapplications.opendatahub.io/v1",
        "kind": "DataSciencePipelinesApplication",
        "metadata": {"name": "dspa"},
        "spec": {
            "dspVersion": "v2",
            "apiServer": {"deploy": True, "enableSamplePipeline": False},
            "database": {"mariaDB": {"deploy": True, "pvcSize": "10Gi"}},
            "objectStorage": {"externalStorage": storage},
        },
    }


def _base_kustomization() -> Manifest:
    return _kustomization(namespace=NAMESPACE, configMapGenerator=[{"name": CONFIGMAP, "options": NO_HASH}])


def _base() -> dict[str, Manifest]:
    return {
        "service-account": service_account(),
        "role": role(),
        "role-binding": role_binding(),
        "network-policy": network_policy(),
    }


def _admission() -> dict[str, Manifest]:
    denying, warning = bindings()
    return {"policy": policy(), "policy-binding": denying, "advice": advice(), "advice-binding": warning}


def _overlay(profile: str) -> str:
    """The environment of a profile: complete, so that a copy shows all that can be changed."""
    texts = configmap.texts_of(resolve_layers(profile, []))
    kustomization = _kustomization(
        namespace=NAMESPACE,
        resources=["../../base"],
        replacements=[_subjects_namespace()],
        generatorOptions=NO_HASH,
        **configmap.kustomization(texts),
    )
    note = "Copy the folder for an\n# environment of your own, and fill in what is empty under Core."
    return HEADER.format(note) + sectioned(dumped(kustomization))


def _subjects_namespace() -> Manifest:
    """Kustomize moves the accounts that it knows to an overlay's namespace; this moves those that others make too."""
    binding = {"kind": "RoleBinding", "name": SERVICE_ACCOUNT}
    target = {"select": binding, "fieldPaths": ["subjects.*.namespace"]}
    return {"source": {**binding, "fieldPath": "metadata.namespace"}, "targets": [target]}


def _folder(path: str, kustomization: Manifest, manifests: Mapping[str, Manifest]) -> dict[str, str]:
    """A kustomization and the files that it lists."""
    listed = {**kustomization, "resources": [f"{name}.yaml" for name in manifests]}
    return {
        f"{path}/kustomization.yaml": _text([_ordered(listed)]),
        **{f"{path}/{name}.yaml": _text([manifest]) for name, manifest in manifests.items()},
    }


def _kustomization(**fields: Any) -> Manifest:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    labels = [{"pairs": dict(PART_OF), "includeTemplates": False}]
    return {**kind, **fields, "labels": labels}


def _component(**fields: Any) -> Manifest:
    return {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", **fields}


def _ordered(kustomization: Manifest) -> Manifest:
    """Resources right after the kind, as people expect them."""
    first = {name: kustomization[name] for name in ("apiVersion", "kind", "resources")}
    return {**first, **kustomization}


def _template(manifest: Manifest) -> str:
    return HEADER.format("Copy it,\n# fill in the copy, `oc apply -f` it, and keep it out of git.") + dumped(manifest)


def _text(manifests: Iterable[Manifest]) -> str:
    return HEADER.format("").rstrip() + "\n" + dumped(*manifests)
