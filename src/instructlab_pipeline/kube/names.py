"""What things are called on the cluster: in manifests, in the package, and by the commands that look for them."""

from collections.abc import Mapping

NAMESPACE = "data-science-project"
CONFIGMAP = "instructlab-pipeline-params"
SERVICE_ACCOUNT = "instructlab-pipeline"
NAME_LABEL = "app.kubernetes.io/name"
# On every object and pod of ours: network policies, monitors and people find them by it.
LABELS: Mapping[str, str] = {NAME_LABEL: "instructlab-pipeline", "app.kubernetes.io/part-of": "instructlab-pipeline"}
IMAGE = "quay.io/instructlab-pipeline/instructlab-pipeline"
