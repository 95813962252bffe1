"""The package for Kubeflow Pipelines: the stages as steps, each with what its pod needs.

What can wait until a run starts is an input of the pipeline. The class and the size of the scratch volumes cannot, nor
can the image: they are compiled in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instructlab_pipeline.kube import inputs as pipeline_inputs
from instructlab_pipeline.kube import security
from instructlab_pipeline.kube.manifests_secrets import OPTIONAL_S3_KEYS, S3_KEYS
from instructlab_pipeline.kube.names import LABELS
from instructlab_pipeline.kube.placement import SECRETS_OF_STEPS
from instructlab_pipeline.kube.training_job import SHARED_MEMORY
from instructlab_pipeline.params.layers import Resolved
from instructlab_pipeline.pipeline import STAGES, needed_stages

NAME = "instructlab-pipeline"
DESCRIPTION = "From a taxonomy in git and a base model in S3 to a tuned, evaluated model in an OCI registry."
REQUESTS = {"cpu": "500m", "memory": "2Gi"}  # what a step's node must have free, where the step loads no model
LIMITS = {"cpu": "1", "memory": "4Gi"}  # of the first and the last step
BACKOFF = {"backoff_duration": "30s", "backoff_factor": 2.0, "backoff_max_duration": "600s"}
REGISTRY_FOLDER, REPOSITORY_FOLDER = "/secrets/registry", "/secrets/taxonomy"
REGISTRY_LOGIN = f"{REGISTRY_FOLDER}/.dockerconfigjson"
EVALUATIONS = ("eval_phase_1", "eval_final")
TRAININGS = ("train_phase_1", "train_phase_2")
SSH_COMMAND = f"ssh -i {REPOSITORY_FOLDER}/ssh-privatekey -o BatchMode=yes -o StrictHostKeyChecking=accept-new"


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret as variables of a step, or as files. `parameter`: the one that names it."""

    parameter: str
    variables: Mapping[str, str] | None = None
    folder: str = ""


S3_SECRET = Secret(parameter="s3_secret", variables={name: name for name in (*S3_KEYS, *OPTIONAL_S3_KEYS)})
JUDGE_SECRET = Secret(parameter="eval_judge_secret", variables={"api_token": "JUDGE_API_KEY"})
REGISTRY_SECRET = Secret(parameter="output_oci_registry_secret", folder=REGISTRY_FOLDER)
SECRETS: Mapping[str, Sequence[Secret]] = {
    "prepare": (
        Secret(
            parameter="sdg_teacher_secret",
            variables={"endpoint": "SDG_TEACHER_ENDPOINT", "model_name": "SDG_TEACHER_MODEL"},
        ),
        Secret(
            parameter="eval_judge_secret",
            variables={"endpoint": "SDG_JUDGE_ENDPOINT", "model_name": "SDG_JUDGE_MODEL"},
        ),
        Secret(
            parameter="eval_judge_secret",
            variables={"endpoint": "EVAL_JUDGE_ENDPOINT", "model_name": "EVAL_JUDGE_MODEL"},
        ),
    ),
    "model": (REGISTRY_SECRET,),
    "taxonomy": (
        Secret(parameter="sdg_repo_secret", variables={"username": "GIT_USERNAME", "password": "GIT_PASSWORD"}),
        Secret(parameter="sdg_repo_secret", folder=REPOSITORY_FOLDER),
    ),
    "sdg": (Secret(parameter="sdg_teacher_secret", variables={"api_token": "OPENAI_API_KEY"}), JUDGE_SECRET),
    "eval_phase_1": (JUDGE_SECRET,),
    "eval_final": (JUDGE_SECRET,),
    "finish": (
        Secret(
            parameter="notify_webhook_secret",
            variables={"url": "NOTIFY_WEBHOOK_URL", "token": "NOTIFY_WEBHOOK_TOKEN"},
        ),
    ),
    "publish": (
        REGISTRY_SECRET,
        Secret(
            parameter="output_signing_secret",
            variables={"cosign.key": "COSIGN_PRIVATE_KEY", "cosign.password": "COSIGN_PASSWORD"},
        ),
    ),
}
ENVIRONMENTS: Mapping[str, Mapping[str, str]] = {
    "taxonomy": {"GIT_SSH_COMMAND": SSH_COMMAND},
    "model": {"REGISTRY_AUTH_FILE": REGISTRY_LOGIN},
    "publish": {"REGISTRY_AUTH_FILE": REGISTRY_LOGIN},
}


@dataclass(frozen=True, kw_only=True)
class Package:
    """What is compiled in, and the defaults of the inputs. `retries`: of a step, where trying again can help.

    `environment`: where programs in the image find a home and caches.
    """

    resolved: Resolved
    image: str
    retries: int = 3
    environment: Mapping[str, str] = field(default_factory=lambda: security.ENVIRONMENT)

    @property
    def scratch(self) -> tuple[str, str]:
        """Class and size of the scratch volumes."""
        values = self.resolved.values
        return str(values["k8s_storage_class_name"]), str(values["k8s_storage_size"])


def compiled(package: Package, output: Path) -> None:
    """Write the package; the same parameters give the same bytes."""
    from kfp import compiler

    output.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(pipeline(package), str(output))


def pipeline(package: Package) -> Any:
    """The pipeline as Kubeflow's compiler, and its local runner, take it."""
    from kfp import dsl

    found = pipeline_inputs.inputs(package.resolved)

    def steps(*channels: Any) -> None:
        _lay_out(package, {each.name: channel for each, channel in zip(found, channels, strict=True)})

    steps.__signature__ = pipeline_inputs.signature(found)  # type: ignore[attr-defined]
    steps.__doc__ = pipeline_inputs.docstring(found)
    return dsl.pipeline(name=NAME, description=DESCRIPTION)(steps)


def _lay_out(package: Package, channels: Mapping[str, Any]) -> None:
    """Each stage after those that it needs; whatever happens, `finish` comes last."""
    from kfp import dsl

    from instructlab_pipeline.kube import components

    run_dir = channels[pipeline_inputs.RUN_DIR]
    told = {name: channels[name] for name in ("params_configmap", "notify_webhook_url")}
    finish = _small(_placed(components.finish(run_dir=run_dir, **told), "finish", package, channels))
    with dsl.ExitHandler(finish, name="run"):
        prepared = _prepared(package, channels)
        decided = {**channels, **{name: prepared.outputs[name] for name in SECRETS_OF_STEPS}}
        tasks: dict[str, Any] = {}
        for stage in STAGES:
            task = getattr(components, stage.name)(run_dir=run_dir, pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
            task.after(*[tasks[name] for name in needed_stages(stage)] or [prepared])
            tasks[stage.name] = _sized(_placed(task, stage.name, package, decided), stage.name, prepared.outputs)


def _prepared(package: Package, channels: Mapping[str, Any]) -> Any:
    """The first step, which takes every parameter as an input."""
    from instructlab_pipeline.kube import components

    component = _taking_parameters(components.prepare, package.resolved)
    task = component(profile=package.resolved.profile, scratch=" ".join(package.scratch), **channels)
    return _small(_placed(task, "prepare", package, channels))


def _taking_parameters(component: Any, resolved: Resolved) -> Any:
    """The component with an input for each parameter beside those that its function names."""
    from copy import deepcopy

    from kfp.dsl import structures

    specification = deepcopy(component.component_spec)
    for each in pipeline_inputs.inputs(resolved):
        specification.inputs.setdefault(each.name, structures.InputSpec(pipeline_inputs.TYPES[each.type]))
    return type(component)(component_spec=specification, python_func=component.python_func)


def _placed(task: Any, name: str, package: Package, channels: Mapping[str, Any]) -> Any:
    """The step's pod: our image, scratch space, secrets, no caching (sealed stages know better), and its retries."""
    from kfp import kubernetes

    storage_class, size = package.scratch
    task.set_display_name(name).set_caching_options(False)
    task.set_container_image(package.image)
    task.set_retry(package.retries, **BACKOFF)
    for variable, value in {**ENVIRONMENTS.get(name, {}), **_own_image(package), **package.environment}.items():
        task.set_env_variable(variable, value)
    for label, value in LABELS.items():
        kubernetes.add_pod_label(task, label, value)
    kubernetes.set_security_context(task, run_as_non_root=True)  # the rest of "restricted" Kubeflow sees to itself
    kubernetes.add_ephemeral_volume(
        task,
        volume_name=security.SCRATCH_VOLUME,
        mount_path=security.SCRATCH,
        access_modes=["ReadWriteOnce"],
        size=size,
        storage_class_name=storage_class,
    )
    for secret in (S3_SECRET, *SECRETS.get(name, ())):
        _give(task, secret, channels[secret.parameter])
    return task


def _own_image(package: Package) -> dict[str, str]:
    """A training step starts its workers in the image that it runs in."""
    return {"INSTRUCTLAB_PIPELINE_IMAGE": package.image}


def _give(task: Any, secret: Secret, name: Any) -> None:
    """Secrets may be absent: which of them a run needs is known when it runs."""
    from kfp import kubernetes

    if secret.variables is not None:
        kubernetes.use_secret_as_env(task, name, dict(secret.variables), optional=True)
    else:
        kubernetes.use_secret_as_volume(task, name, secret.folder, optional=True)


def _small(task: Any) -> Any:
    """Projects with quotas take no pod that says nothing of what it needs."""
    task.set_cpu_request(REQUESTS["cpu"]).set_memory_request(REQUESTS["memory"])
    return task.set_cpu_limit(LIMITS["cpu"]).set_memory_limit(LIMITS["memory"])


def _sized(task: Any, name: str, prepared: Mapping[str, Any]) -> Any:
    """Where the pod may run and how much it may take. A step that loads a model gets all of it from the beginning."""
    from kfp import kubernetes

    kind = "training_" if name in TRAININGS else ""
    task.set_cpu_limit(prepared[f"{kind}cpu"]).set_memory_limit(prepared[f"{kind}memory"])
    if name in (*EVALUATIONS, *TRAININGS):
        task.set_accelerator_type(prepared["gpu_type"]).set_accelerator_limit(prepared[f"{kind}gpus"])
    else:
        task.set_cpu_request(REQUESTS["cpu"]).set_memory_request(REQUESTS["memory"])
    if name in TRAININGS:
        kubernetes.empty_dir_mount(task, volume_name=SHARED_MEMORY, mount_path="/dev/shm", medium="Memory")  # noqa: S108
    kubernetes.add_node_selector_json(task, prepared["node_selector"])
    kubernetes.add_toleration_json(task, prepared["tolerations"])
    return task
