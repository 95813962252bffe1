"""The bodies of training jobs, held against the models and schemas of those who read them."""

import json
from dataclasses import replace

import kubernetes_validate
from hypothesis import given, settings
from hypothesis import strategies as st
from kubeflow_trainer_api.models import TrainerV1alpha1TrainingRuntime, TrainerV1alpha1TrainJob

from instructlab_pipeline.kube.deputy import Making, training_of
from instructlab_pipeline.kube.training_job import Training, pytorch_job, train_job, training_runtime
from instructlab_pipeline.params.layers import resolve

RELEASE = "1.31"
REQUIRED = {
    "SDG_BASE_MODEL": "s3://bucket/model",
    "SDG_REPO_URL": "https://example.com/taxonomy.git",
    "OUTPUT_OCI_MODEL_URI": "quay.io/team/model:1",
}


class Nowhere:
    """A cluster in which this machine is no pod."""

    namespace = "data-science-project"

    def find(self, _path):
        return None


MAKING = Making(stage="train_phase_1", run_dir="s3://runs/one", key="key")


def training(**parameters) -> Training:
    given = {name.upper(): str(value) for name, value in parameters.items()}
    resolved = resolve(environment={**REQUIRED, **given})
    return training_of(resolved, MAKING, image="registry.example.com/ours:1", cluster=Nowhere())


def pods(asked):
    """The pod of each API."""
    job_set = training_runtime(asked)["spec"]["template"]["spec"]
    (replicated,) = job_set["replicatedJobs"]
    replicas = pytorch_job(asked)["spec"]["pytorchReplicaSpecs"].values()
    return [replicated["template"]["spec"]["template"]["spec"], *(each["template"]["spec"] for each in replicas)]


def assert_valid(asked):
    """Models drop what they do not know, so what they give back must be what they were given."""
    for model, body in (
        (TrainerV1alpha1TrainJob, train_job(asked)),
        (TrainerV1alpha1TrainingRuntime, training_runtime(asked)),
    ):
        assert json.loads(model.from_dict(body).to_json()) == body
    assert_known_to_the_training_operator(pytorch_job(asked))
    for spec in pods(asked):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
        kubernetes_validate.validate(pod, RELEASE, strict=True)


def assert_known_to_the_training_operator(body):
    from kubeflow.training import models

    job = models.KubeflowOrgV1PyTorchJobSpec
    assert set(body["spec"]) <= set(job.attribute_map.values())
    assert set(body["spec"]["runPolicy"]) <= set(models.KubeflowOrgV1RunPolicy.attribute_map.values())
    for replica in body["spec"]["pytorchReplicaSpecs"].values():
        assert set(replica) <= set(models.KubeflowOrgV1ReplicaSpec.attribute_map.values())
    assert isinstance(body["spec"]["nprocPerNode"], str)


GPU = st.sampled_from(["nvidia.com/gpu", "amd.com/gpu", "habana.ai/gaudi"])
SELECTOR = st.dictionaries(st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True), st.just("yes"), max_size=3)
TOLERATION = st.sampled_from(["gpu", "spot"]).map(lambda taint: {"key": taint, "operator": "Exists"})


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "train_num_workers": st.integers(1, 64),
            "train_gpu_identifier": GPU,
            "train_cpu_limit": st.integers(1, 128),
            "train_memory_per_worker": st.sampled_from(["1Gi", "120Gi", "1.5Ti", "500G"]),
            "k8s_node_selector": SELECTOR.map(json.dumps),
            "k8s_tolerations": st.lists(TOLERATION, max_size=2).map(json.dumps),
            "train_gpus_per_worker": st.integers(0, 8),
            "k8s_storage_size": st.sampled_from(["1Gi", "20Gi", "2Ti"]),
        }
    )
)
def test_bodies_are_valid_whatever_the_parameters(parameters):
    identifier, workers = parameters["train_gpu_identifier"], parameters["train_num_workers"]
    gpus = parameters["train_gpus_per_worker"]
    asked = training(**parameters)
    assert_valid(asked)
    nodes = train_job(asked)["spec"]["trainer"]
    assert (nodes["numNodes"], nodes["numProcPerNode"]) == (workers, max(1, gpus))
    assert nodes["resourcesPerNode"]["limits"].get(identifier) == (str(gpus) if gpus else None)
    replicas = pytorch_job(asked)["spec"]["pytorchReplicaSpecs"]
    assert sum(replica["replicas"] for replica in replicas.values()) == workers


def test_every_infrastructure_parameter_reaches_the_pods():
    asked = training(
        k8s_node_selector='{"pool": "a100"}',
        k8s_tolerations='[{"key": "gpu", "operator": "Exists"}]',
        k8s_storage_class_name="fast",
        k8s_storage_size="77Gi",
        s3_secret="my-connection",
        k8s_training_hours=2,
    )
    for pod in pods(asked):
        assert pod["nodeSelector"] == {"pool": "a100"}
        assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
        (container,) = pod["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "my-connection"}}]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        claim = volumes["scratch"]["ephemeral"]["volumeClaimTemplate"]["spec"]
        assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("fast", "77Gi")
        assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory"}
        assert {"name": "shared-memory", "mountPath": "/dev/shm"} in container["volumeMounts"]
        assert pod["automountServiceAccountToken"] is False
    assert train_job(asked)["spec"]["activeDeadlineSeconds"] == 7200
    assert pytorch_job(asked)["spec"]["runPolicy"]["activeDeadlineSeconds"] == 7200


def test_training_s_own_resources_win_only_where_somebody_gave_them():
    workers = '{"cpu": "16", "memory": "64Gi"}'
    assert training(k8s_worker_resources=workers).resources == {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": "1"}
    told = training(k8s_worker_resources=workers, train_cpu_limit=2, train_memory_per_worker="32Gi")
    assert told.resources == {"cpu": "2", "memory": "32Gi", "nvidia.com/gpu": "1"}


def test_a_train_job_sets_none_of_the_variables_that_its_operator_sets():
    text = json.dumps([train_job(training()), training_runtime(training())])
    assert "PET_" not in text


def test_one_pod_needs_no_worker_replicas():
    assert set(pytorch_job(training(train_num_workers=1))["spec"]["pytorchReplicaSpecs"]) == {"Master"}


def test_the_name_of_a_job_tells_what_it_makes():
    others = [replace(MAKING, **{field: "other"}) for field in ("stage", "run_dir", "key")]
    assert len({making.job_name for making in (MAKING, *others)}) == 4
    assert replace(MAKING).job_name == MAKING.job_name
    assert training().name == MAKING.job_name
    assert MAKING.job_name.startswith("train-phase-1-")
