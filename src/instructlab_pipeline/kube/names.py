"""What things are called on the cluster: in manifests, in the package, and by the commands that look for them."""

from collections.abc import Mapping

NAMESPACE = "data-science-project"
CONFIGMAP = "instructlab-pipeline-params"
SERVICE_ACCOUNT = "instructlab-pipeline"
# The account under which OpenShift AI's pipelines server runs steps that name none.
PIPELINE_RUNNER = "pipeline-runner-dspa"
NAME_LABEL = "app.kubernetes.io/name"
# On every object of ours.
PART_OF: Mapping[str, str] = {"app.kubernetes.io/part-of": "instructlab-pipeline"}
# On every pod that works on a run too: network policies and people find them by it.
LABELS: Mapping[str, str] = {NAME_LABEL: "instructlab-pipeline", **PART_OF}
IMAGE = "quay.io/instructlab-pipeline/instructlab-pipeline"
