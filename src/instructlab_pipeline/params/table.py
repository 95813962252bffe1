"""The parameters: the one place where a name, a default, a rule or a help text is written.

Options of the command line, names of environment variables, the JSON Schema and `docs/parameters.md` come out of it.
A parameter is a field of `Parameters`; its section says how it is declared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from instructlab_pipeline.params import kinds
from instructlab_pipeline.params.kinds import Kind
from instructlab_pipeline.params.readers import Value

PROFILES = ("dev", "prod")

# What ilab-on-ocp called some of them.
ALIASES: Mapping[str, str] = {
    "train_num_epochs_phase_1": "train_epochs_phase_1",
    "train_num_epochs_phase_2": "train_epochs_phase_2",
    "train_cpu_per_worker": "train_cpu_limit",
    "train_node_selectors": "k8s_node_selector",
    "train_tolerations": "k8s_tolerations",
}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What is known of one parameter. `defaults` is by profile; where it is None, the value is unset unless given.

    `follows`: the parameter whose value stands in where this one is unset.
    `specified`: it is in the specification; the others are our additions.
    """

    name: str = ""
    section: str
    kind: Kind
    meaning: str
    defaults: Mapping[str, Value]
    required: bool = False
    specified: bool = True
    follows: str | None = None

    @property
    def environment_name(self) -> str:
        return self.name.upper()

    @property
    def may_be_unset(self) -> bool:
        return not self.required and None in self.defaults.values()


@dataclass(frozen=True)
class Section:
    """Parameters that belong together, and the three ways in which one is declared."""

    title: str

    def required(self, kind: Kind, meaning: str) -> Any:
        """A parameter that has no default."""
        nothing = dict.fromkeys(PROFILES)
        return _declared(Parameter(section=self.title, kind=kind, meaning=meaning, defaults=nothing, required=True))

    def parameter(self, kind: Kind, dev: Value, meaning: str, *, prod: Value = None) -> Any:
        """A parameter of the specification; `prod` is given where its default differs from `dev`."""
        defaults = {"dev": dev, "prod": dev if prod is None else prod}
        return _declared(Parameter(section=self.title, kind=kind, meaning=meaning, defaults=defaults))

    def addition(self, kind: Kind, default: Value, meaning: str, *, follows: str | None = None) -> Any:
        """A parameter of ours, beyond the specification, always optional."""
        return _declared(
            Parameter(
                section=self.title,
                kind=kind,
                meaning=meaning,
                defaults=dict.fromkeys(PROFILES, default),
                specified=False,
                follows=follows,
            )
        )


def _declared(parameter: Parameter) -> Any:
    return field(metadata={"parameter": parameter})


CORE = Section("Core")
SDG = Section("Synthetic data generation")
TRAINING = Section("Training")
EVALUATION = Section("Evaluation")
INFRASTRUCTURE = Section("Infrastructure")
OUTPUT = Section("Output")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The value of every parameter of a run."""

    sdg_base_model: str = CORE.required(
        kinds.MODEL_URI,
        "The base model that is tuned: the prefix in S3 under which its Hugging Face folder lies, with config.json, "
        "the tokenizer and the safetensors files; a model of the Hugging Face Hub, which HF_TOKEN opens; or an image "
        "that was published before.",
    )
    sdg_repo_url: str = CORE.required(
        kinds.GIT_URL,
        "The git repository that holds the taxonomy. Credentials never stand in the URL: git's own helpers give them.",
    )
    output_oci_model_uri: str = CORE.required(
        kinds.IMAGE,
        "Where the tuned model is published as an OCI image. Without a tag, the tag is latest.",
    )
    output_oci_registry_secret: str = CORE.parameter(
        kinds.KUBERNETES_NAME,
        "oci-registry-secret",
        "The name of the Kubernetes secret, of type dockerconfigjson, that opens the registry. On one machine the "
        "auth files of docker and podman are read instead.",
    )
    output_model_name: str = CORE.parameter(
        kinds.MODEL_NAME,
        "instructlab-model",
        "The name of the tuned model, as it stands in the image's annotations.",
    )
    output_model_version: str = CORE.parameter(
        kinds.SEMANTIC_VERSION, "0.1.0", "The version of the tuned model, as it stands in the image's annotations."
    )
    k8s_storage_class_name: str = CORE.parameter(
        kinds.KUBERNETES_NAME, "gp3-csi", "The storage class of the scratch volume that each pod gets."
    )
    train_gpu_identifier: str = CORE.parameter(
        kinds.EXTENDED_RESOURCE, "nvidia.com/gpu", "The resource name under which the cluster offers its GPUs."
    )
    train_num_workers: int = CORE.parameter(
        kinds.POSITIVE_INTEGER,
        2,
        "How many workers train together: processes on one machine, pods on a cluster.",
        prod=4,
    )

    sdg_scale_factor: int = SDG.parameter(
        kinds.POSITIVE_INTEGER,
        30,
        "Accepted samples per seed example. A leaf with 5 seed examples and a factor of 30 ends with exactly 150 "
        "accepted samples, or with a counted shortfall and its reasons.",
    )
    sdg_batch_size: int = SDG.parameter(
        kinds.POSITIVE_INTEGER,
        16,
        "Requests that one SDG worker keeps open. Times sdg_num_workers, it is the most requests to the teacher in "
        "flight; when the endpoint pushes back, fewer are.",
        prod=32,
    )
    sdg_num_workers: int = SDG.parameter(
        kinds.POSITIVE_INTEGER, 4, "SDG workers. Each keeps sdg_batch_size requests to the teacher open.", prod=8
    )
    sdg_random_seed: int = SDG.parameter(
        kinds.INTEGER,
        42,
        "The seed of all that is random in generation and in the dataset: same seed, same data.",
    )
    sdg_quality_threshold: float = SDG.parameter(
        kinds.UNIT_FLOAT,
        0.7,
        "A sample's quality is the smallest of its judged criteria, each scaled to 0..1. It is kept when its quality "
        "reaches this threshold.",
    )
    sdg_repo_revision: str | None = SDG.addition(
        kinds.GIT_REVISION,
        None,
        "The branch, tag or commit of the taxonomy. Where unset, the repository's default branch is taken. "
        "The commit itself is recorded in any case.",
    )
    sdg_repo_secret: str = SDG.addition(
        kinds.KUBERNETES_NAME,
        "taxonomy-repo-secret",
        "The name of the Kubernetes secret, of type basic-auth or ssh-auth, that opens the taxonomy's repository. On "
        "one machine git's own helpers do.",
    )
    sdg_teacher_endpoint: str | None = SDG.addition(
        kinds.ENDPOINT,
        None,
        "The teacher's OpenAI-compatible API; its key comes from OPENAI_API_KEY. builtin:extractive is a small "
        "rule-based writer of questions and answers, not a language model. Generation does not start without one.",
    )
    sdg_teacher_model: str | None = SDG.addition(
        kinds.TEXT,
        None,
        "The name under which the endpoint serves the teacher. Where unset, the only model that it serves.",
    )
    sdg_teacher_secret: str = SDG.addition(
        kinds.KUBERNETES_NAME,
        "teacher-secret",
        "The name of the Kubernetes secret of the teacher, with the keys api_token, model_name and endpoint. On one "
        "machine the key comes from OPENAI_API_KEY.",
    )
    sdg_judge_endpoint: str | None = SDG.addition(
        kinds.ENDPOINT,
        None,
        "The judge's OpenAI-compatible API. Its key comes from JUDGE_API_KEY, or else from OPENAI_API_KEY. Where "
        "unset, the teacher judges.",
    )
    sdg_judge_model: str | None = SDG.addition(
        kinds.TEXT,
        None,
        "The name under which the endpoint serves the judge. Where unset, the teacher's, or the only model that "
        "sdg_judge_endpoint serves.",
    )
    sdg_flows: str | None = SDG.addition(
        kinds.TEXT,
        None,
        "Flows of your own, as YAML files or folders of them with commas between; each takes the place of the built-in "
        "one for its kind of leaf. Their content decides whether samples are made anew, not where they lie.",
    )
    sdg_max_attempts: int = SDG.addition(
        kinds.POSITIVE_INTEGER,
        4,
        "How many rounds of candidates may be asked for to fill a leaf before its shortfall is accepted and counted.",
    )

    train_epochs_phase_1: int = TRAINING.parameter(
        kinds.POSITIVE_INTEGER, 7, "Epochs of phase 1, which trains on knowledge with its documents."
    )
    train_epochs_phase_2: int = TRAINING.parameter(
        kinds.POSITIVE_INTEGER, 10, "Epochs of phase 2, which trains on skills and replays phase 1."
    )
    train_learning_rate: float = TRAINING.parameter(
        kinds.POSITIVE_FLOAT, 2e-5, "The highest learning rate of both phases."
    )
    train_batch_size: int = TRAINING.parameter(
        kinds.POSITIVE_INTEGER,
        8,
        "Samples of one worker in one accumulation step. Times train_gradient_accumulation_steps and "
        "train_num_workers, it is the number of samples of an optimizer step. Times train_sequence_length, it is the "
        "token budget of one micro-batch on one worker.",
        prod=16,
    )
    train_sequence_length: int = TRAINING.parameter(
        kinds.POSITIVE_INTEGER,
        2048,
        "The longest sample in tokens of the base model. Documents are chunked so that samples fit; what still does "
        "not fit is left out, counted and listed, never cut.",
    )
    train_memory_per_worker: str = TRAINING.parameter(
        kinds.SIZE,
        "120Gi",
        "Memory of one training worker. Set explicitly, it wins over k8s_worker_resources for training pods.",
        prod="200Gi",
    )
    train_gradient_accumulation_steps: int = TRAINING.parameter(
        kinds.POSITIVE_INTEGER, 4, "Accumulation steps per optimizer step; see train_batch_size."
    )
    train_cpu_limit: int = TRAINING.parameter(
        kinds.POSITIVE_INTEGER,
        4,
        "CPUs of one training worker. Set explicitly, it wins over k8s_worker_resources for training pods.",
        prod=8,
    )
    train_gpus_per_worker: int = TRAINING.addition(
        kinds.WHOLE_NUMBER,
        1,
        "GPUs of one training pod on a cluster, under the name train_gpu_identifier; a process trains on each. 0 "
        "trains on CPUs. On one machine it has no effect: there train_num_workers processes share the GPUs.",
    )
    train_seed: int = TRAINING.addition(kinds.INTEGER, 42, "The seed of the order in which training sees its samples.")
    train_warmup_ratio: float = TRAINING.addition(
        kinds.UNIT_FLOAT, 0.05, "The share of a phase's steps over which the learning rate rises to its highest value."
    )
    train_learning_rate_phase_1: float = TRAINING.addition(
        kinds.POSITIVE_FLOAT,
        None,
        "The highest learning rate of phase 1. Where unset, train_learning_rate.",
        follows="train_learning_rate",
    )
    train_learning_rate_phase_2: float = TRAINING.addition(
        kinds.POSITIVE_FLOAT,
        None,
        "The highest learning rate of phase 2. Where unset, train_learning_rate.",
        follows="train_learning_rate",
    )
    train_replay_ratio: float = TRAINING.addition(
        kinds.UNIT_FLOAT,
        1.0,
        "The share of phase 1's samples that phase 2 sees again, so that they are not forgotten.",
    )

    train_lora_rank: int = TRAINING.addition(
        kinds.WHOLE_NUMBER,
        0,
        "The rank of adapters (LoRA) that are trained instead of all weights, in a quarter of the memory; they are "
        "merged into the model that is published. 0 trains all weights.",
    )
    train_moments_8bit: bool = TRAINING.addition(
        kinds.BOOLEAN,
        False,
        "Whether the optimizer's two moments take 8 bits each instead of 32: a weight needs 10 bytes of memory instead "
        "of 16, and half as much in a checkpoint. Losses differ slightly.",
    )
    train_validation_share: float = TRAINING.addition(
        kinds.UNIT_FLOAT,
        0.0,
        "The share of a phase's samples that are held out to measure each epoch by. Where output_save_checkpoints is "
        "true, the phase's model is that of the epoch that did best on them, else that of the last epoch.",
    )
    train_compile: str = TRAINING.addition(
        kinds.SWITCH,
        "auto",
        "Whether the model's layers are compiled, which takes about a minute at the start of a phase. auto: on GPUs.",
    )
    train_tensorboard: bool = TRAINING.addition(
        kinds.BOOLEAN,
        False,
        "Whether each step is also written for TensorBoard, into work/tensorboard in the phase's folder.",
    )

    eval_num_samples: int = EVALUATION.parameter(
        kinds.POSITIVE_INTEGER,
        100,
        "Questions of an evaluation, spread over all leaves. They are held out: no training sample asks one of them.",
    )
    eval_batch_size: int = EVALUATION.parameter(
        kinds.POSITIVE_INTEGER, 16, "Questions that are answered at a time during evaluation."
    )
    eval_metrics: tuple[str, ...] = EVALUATION.parameter(
        kinds.METRICS_LIST,
        ("accuracy", "f1"),
        "The metrics that are computed and that decide. accuracy is the share of answers graded correct (by the judge "
        "where eval_judge_endpoint is set, else by exact match), f1 the mean token F1 against the reference with SQuAD "
        "normalization. Beyond the specification: exact_match, rouge_l, mcq_accuracy by the likelihood of the choices, "
        "judge_score and judge_win_rate (against the base model) by the judge, and perplexity of the references, which "
        "informs only. See docs/evaluation.md.",
    )
    eval_quality_threshold: float = EVALUATION.parameter(
        kinds.UNIT_FLOAT,
        0.8,
        "Every metric of eval_metrics must reach it on the final evaluation, or the model is not published (exit code "
        "5). Everything up to the verdict is kept.",
    )
    eval_require_clear: bool = EVALUATION.addition(
        kinds.BOOLEAN,
        False,
        "Whether a pass must be clear: every metric's 95% interval must lie above eval_quality_threshold, not only its "
        "value.",
    )
    eval_questions: tuple[str, ...] | None = EVALUATION.addition(
        kinds.PATHS,
        None,
        "Question sets of your own, asked beside the generated one: JSONL files with question and reference, or with "
        "question, choices and key, in each line. All of their questions are asked.",
    )
    eval_lm_eval_tasks: tuple[str, ...] | None = EVALUATION.addition(
        kinds.PATHS,
        None,
        "Task files (YAML) of lm-evaluation-harness that the final evaluation runs on both models; they inform. Needs "
        "the extra lm-eval. Their data must be on this machine.",
    )
    eval_candidate_endpoint: str | None = EVALUATION.addition(
        kinds.REMOTE_ENDPOINT,
        None,
        "An OpenAI-compatible API that serves the tuned model and answers for it in the final evaluation; a key, if it "
        "takes one, comes from CANDIDATE_API_KEY. That it serves these very weights is yours to vouch for. Where "
        "unset, the weights are loaded.",
    )
    eval_candidate_model: str | None = EVALUATION.addition(
        kinds.TEXT,
        None,
        "The name under which eval_candidate_endpoint serves the tuned model. Where unset, the only model that it "
        "serves.",
    )
    eval_judge_endpoint: str | None = EVALUATION.addition(
        kinds.REMOTE_ENDPOINT,
        None,
        "The OpenAI-compatible API of the model that grades answers. Its key comes from JUDGE_API_KEY, or else from "
        "OPENAI_API_KEY. Where unset, nothing is graded by a judge.",
    )
    eval_judge_model: str | None = EVALUATION.addition(
        kinds.TEXT,
        None,
        "The name under which the endpoint serves the judge. Where unset, the only model that it serves.",
    )
    eval_judge_secret: str = EVALUATION.addition(
        kinds.KUBERNETES_NAME,
        "judge-secret",
        "The name of the Kubernetes secret of the judge, with the keys api_token, model_name and endpoint: it judges "
        "samples and grades answers. Where the cluster has no such secret, the teacher judges samples, and nobody "
        "grades.",
    )

    k8s_node_selector: str = INFRASTRUCTURE.parameter(
        kinds.NODE_SELECTOR, "", "The labels of the nodes on which worker pods may run; empty for any node."
    )
    k8s_tolerations: str = INFRASTRUCTURE.parameter(
        kinds.TOLERATIONS, "", "The taints of nodes that worker pods tolerate; empty for none."
    )
    k8s_storage_size: str = INFRASTRUCTURE.parameter(
        kinds.SIZE, "20Gi", "The size of the scratch volume that each pod gets.", prod="100Gi"
    )
    k8s_worker_resources: str = INFRASTRUCTURE.parameter(
        kinds.WORKER_RESOURCES,
        '{"cpu":"4","memory":"120Gi"}',
        "The resources of every worker pod. For training pods train_cpu_limit and train_memory_per_worker win when "
        "they are set explicitly, and train_gpus_per_worker says how many GPUs one has.",
        prod='{"cpu":"8","memory":"200Gi"}',
    )
    k8s_training_api: str = INFRASTRUCTURE.addition(
        kinds.TRAINING_API,
        "auto",
        "The kind of job in which a cluster trains: trainjob, pytorchjob, or auto for a TrainJob where the cluster has "
        "that API, else a PyTorchJob. none trains in the step's own pod. On one machine it has no effect.",
    )
    k8s_training_hours: int = INFRASTRUCTURE.addition(
        kinds.POSITIVE_INTEGER, 72, "The most hours that a training job may take before the cluster ends it."
    )
    output_signing_secret: str = INFRASTRUCTURE.addition(
        kinds.KUBERNETES_NAME,
        "signing-secret",
        "The name of the Kubernetes secret that the publishing step takes COSIGN_PRIVATE_KEY and COSIGN_PASSWORD from, "
        "with the keys cosign.key and cosign.password.",
    )
    s3_secret: str = INFRASTRUCTURE.addition(
        kinds.KUBERNETES_NAME,
        "s3-connection",
        "The name of the Kubernetes secret that opens S3, in the form of OpenShift AI's connections: "
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_S3_ENDPOINT, AWS_S3_BUCKET, AWS_DEFAULT_REGION; beyond those, "
        "AWS_SESSION_TOKEN and AWS_S3_ADDRESSING_STYLE. On one machine these are variables.",
    )
    notify_webhook_url: str | None = INFRASTRUCTURE.addition(
        kinds.WEBHOOK,
        None,
        "Where a JSON message is posted when a run ends, well or not. A token for it comes from NOTIFY_WEBHOOK_TOKEN. "
        "A message that cannot be delivered never fails the run. Records and pages show the address without its path; "
        "on a cluster it belongs into the secret that notify_webhook_secret names.",
    )
    notify_webhook_secret: str = INFRASTRUCTURE.addition(
        kinds.KUBERNETES_NAME,
        "webhook-secret",
        "The name of the Kubernetes secret that the last step takes notify_webhook_url and NOTIFY_WEBHOOK_TOKEN from, "
        "with the keys url and token.",
    )

    output_save_checkpoints: bool = OUTPUT.parameter(
        kinds.BOOLEAN,
        False,
        "Whether intermediate checkpoints are kept. Recovery from a crash does not need them.",
    )
    output_checkpoint_frequency: int = OUTPUT.parameter(
        kinds.POSITIVE_INTEGER, 1, "A checkpoint is kept every so many epochs, where output_save_checkpoints is true."
    )
    output_save_metrics: bool = OUTPUT.parameter(
        kinds.BOOLEAN, True, "Whether the evaluation writes its metrics to a file beside its verdict."
    )
    output_metrics_format: str = OUTPUT.parameter(
        kinds.METRICS_FORMAT, "json", "The format of the metrics file: metrics.json or metrics.csv."
    )
    output_registry_insecure: bool = OUTPUT.addition(
        kinds.BOOLEAN, False, "Whether the registry may be spoken to over plain HTTP, as one on this machine often is."
    )
    output_overwrite_version: bool = OUTPUT.addition(
        kinds.BOOLEAN,
        False,
        "Whether output_model_version may be published again with another model. Else that is refused, and nothing is "
        "sent.",
    )
    output_modelcar_base_image: str | None = OUTPUT.addition(
        kinds.BASE_IMAGE,
        None,
        "The image whose layers come below the model's, for runtimes that start the image as a container, such as "
        "KServe's sidecar mode, which needs a shell in it. Where unset, the image holds the model alone.",
    )
    output_model_registry_url: str | None = OUTPUT.addition(
        kinds.WEB_ADDRESS,
        None,
        "The address of a Kubeflow Model Registry in which the published model is entered. Its token, if it wants one, "
        "comes from MODEL_REGISTRY_TOKEN, in a cluster from the service account.",
    )
    output_signing_key: str | None = OUTPUT.addition(
        kinds.TEXT,
        None,
        "A PEM file with a private key on the curve P-256, which signs the image for cosign and the proofs that are "
        "attached to it; env://NAME for a variable that holds the key itself. Its password, if it has one, comes from "
        "COSIGN_PASSWORD. In a cluster: env://COSIGN_PRIVATE_KEY.",
    )


PARAMETERS: Mapping[str, Parameter] = {
    declared.name: replace(declared.metadata["parameter"], name=declared.name) for declared in fields(Parameters)
}
