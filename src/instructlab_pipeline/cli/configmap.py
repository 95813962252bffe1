"""The ConfigMap of `--from-configmap` and of `params patch`: in a file, or on the cluster."""

from instructlab_pipeline.kube import configmap
from instructlab_pipeline.params.files import YAML_SUFFIXES, file_layer
from instructlab_pipeline.params.places import Layer


def configmap_layer(reference: str, profile: str) -> Layer:
    """What `FILE.yaml`, `NAME` or `NAMESPACE/NAME` gives.

    Raises:
        UsageError: there is no such ConfigMap on the cluster, or no cluster. ServiceError: the API server failed.
    """
    layer = file_layer(reference) if reference.lower().endswith(YAML_SUFFIXES) else _live_layer(reference)
    return configmap.chosen(layer, profile)


def _live_layer(reference: str) -> Layer:
    from instructlab_pipeline.kube.configmap_live import read
    from instructlab_pipeline.kube.connection import connected

    cluster = connected()
    namespace, _, name = reference.rpartition("/")
    data = read(cluster, name, namespace or cluster.namespace)
    return configmap.layer(data, f"ConfigMap {name}")
