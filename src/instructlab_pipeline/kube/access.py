"""What a pod that starts training jobs may do. The Role is made of it, and `doctor --cluster` asks for each of it."""

from dataclasses import dataclass

from instructlab_pipeline.kube.names import CONFIGMAP


@dataclass(frozen=True, kw_only=True)
class Permission:
    """Verbs on resources of one API group (empty: the core's); with `names`, on the objects of these names alone."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()


PERMISSIONS: tuple[Permission, ...] = (
    Permission(group="", resources=("configmaps",), verbs=("get",), names=(CONFIGMAP,)),
    Permission(group="", resources=("pods", "events"), verbs=("get", "list", "watch")),
    Permission(group="", resources=("pods/log",), verbs=("get",)),
    Permission(
        group="trainer.kubeflow.org",
        resources=("trainjobs", "trainingruntimes"),
        verbs=("create", "delete", "get", "list", "watch"),
    ),
    Permission(
        group="kubeflow.org",
        resources=("pytorchjobs",),
        verbs=("create", "delete", "get", "list", "watch"),
    ),
)
