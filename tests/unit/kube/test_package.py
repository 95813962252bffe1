"""The package for Kubeflow, without running it."""

import ast
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from instructlab_pipeline.cli.kubeflow import SECRETS_OF_INPUTS
from instructlab_pipeline.kube import inputs as pipeline_inputs
from instructlab_pipeline.kube.package import Package, compiled
from instructlab_pipeline.kube.placement import SECRETS_OF_STEPS, step_placement
from instructlab_pipeline.params.kinds import text_of
from instructlab_pipeline.params.layers import resolve, resolve_layers
from instructlab_pipeline.params.places import Given, Layer
from instructlab_pipeline.params.table import PARAMETERS, PROFILES
from instructlab_pipeline.pipeline import STAGE_NAMES
from servers.command import command

GOLDEN = Path(__file__).parents[2] / "golden" / "kube"
REQUIRED = {
    "SDG_BASE_MODEL": "s3://bucket/m",
    "SDG_REPO_URL": "https://example.com/t",
    "OUTPUT_OCI_MODEL_URI": "q.io/a:1",
}
SECRETS = {
    "s3_secret",
    "sdg_teacher_secret",
    "eval_judge_secret",
    "output_oci_registry_secret",
    "output_signing_secret",
    "notify_webhook_secret",
    "sdg_repo_secret",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The specification and the platform part of the development package."""
    path = tmp_path_factory.mktemp("package") / "dev.yaml"
    compiled(Package(resolved=resolve(environment={}), image="registry.example.com/ours:1"), path)
    return tuple(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_packages_are_those_that_were_reviewed(profile, tmp_path):
    done = command("kube", "compile", "--env", profile, "--output", tmp_path / "package.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = GOLDEN / f"{profile}.yaml"
    message = (
        f"`instructlab-pipeline kube compile --env {profile} --output tests/golden/kube/{profile}.yaml` writes it anew"
    )
    assert (tmp_path / "package.yaml").read_text() == expected.read_text(), message


def test_every_parameter_is_a_typed_and_described_input_with_its_default(package):
    declared = package[0]["root"]["inputDefinitions"]["parameters"]
    assert set(declared) == {"run_dir", "params_configmap", *PARAMETERS}
    kinds = {bool: "BOOLEAN", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE"}
    for name, parameter in PARAMETERS.items():
        default, found = parameter.defaults["dev"], declared[name]
        assert found["parameterType"] == kinds.get(type(default), "STRING"), name
        assert " ".join(parameter.meaning.split()) in " ".join(found["description"].split())
        if parameter.required:
            assert "defaultValue" not in found
        else:
            expected = default if type(default) in kinds else text_of(default) if default is not None else ""
            assert found["defaultValue"] == expected


def test_each_stage_is_a_step_that_installs_nothing_and_holds_no_program(package):
    executors = package[0]["deploymentSpec"]["executors"]
    assert {name.removeprefix("exec-").replace("-", "_") for name in executors} == {"prepare", *STAGE_NAMES, "finish"}
    for executor in executors.values():
        text = json.dumps(executor["container"])
        assert "pip install" not in text
        source = executor["container"]["command"][-1]
        (function,) = [each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef)]
        assert len(function.body) <= 3, source
        assert "from instructlab_pipeline.cli import step" in source


def test_no_step_is_cached_and_each_is_tried_again_with_patience(package):
    tasks = package[0]["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    for name, task in {**tasks, "finish": package[0]["root"]["dag"]["tasks"]["finish"]}.items():
        assert task["cachingOptions"] == {}, name
        assert task["retryPolicy"]["maxRetryCount"] == 3
        assert task["retryPolicy"]["backoffFactor"] == 2.0


def test_the_steps_come_in_the_order_in_which_they_need_each_other(package):
    tasks = package[0]["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert tasks["model"]["dependentTasks"] == ["prepare"]
    assert {"dataset", "model", "train-phase-1"} <= set(tasks["train-phase-2"]["dependentTasks"])
    assert "train-phase-2" not in tasks["eval-phase-1"]["dependentTasks"]


def test_each_pod_has_a_volume_of_its_own_which_goes_with_it(package):
    for executor in package[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        (volume,) = executor["genericEphemeralVolume"]
        assert (volume["storageClassName"], volume["size"]) == ("gp3-csi", "20Gi")
        assert volume["accessModes"] == ["ReadWriteOnce"]
        assert "pvcMount" not in executor


def test_no_step_runs_as_root(package):
    for executor in package[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        assert executor["securityContext"] == {"runAsNonRoot": True}


def test_secrets_are_named_by_the_inputs_and_never_hold_values(package):
    executors = package[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    named = [
        secret["secretNameParameter"]
        for executor in executors.values()
        for secret in (*executor.get("secretAsEnv", ()), *executor.get("secretAsVolume", ()))
    ]
    by_input = {name["componentInputParameter"] for name in named if "componentInputParameter" in name}
    by_prepare = {name["taskOutputParameter"]["outputParameterKey"] for name in named if "taskOutputParameter" in name}
    assert {name.removeprefix("pipelinechannel--") for name in by_input} == {*SECRETS_OF_INPUTS}
    assert by_prepare == {*SECRETS_OF_STEPS}
    assert {*SECRETS_OF_INPUTS, *SECRETS_OF_STEPS} == SECRETS
    assert [s["secretNameParameter"] for s in executors["exec-publish"]["secretAsVolume"]] == [
        {"taskOutputParameter": {"outputParameterKey": "output_oci_registry_secret", "producerTask": "prepare"}}
    ]


def test_size_selector_tolerations_and_gpus_are_decided_when_a_run_starts(package):
    resources = package[0]["deploymentSpec"]["executors"]["exec-eval-final"]["container"]["resources"]
    assert "prepare-cpu" in resources["resourceCpuLimit"]
    assert "prepare-memory" in resources["resourceMemoryLimit"]
    assert "prepare-gpus" in resources["accelerator"]["resourceCount"]
    placed = package[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-sdg"]
    assert placed["nodeSelector"]["nodeSelectorJson"]["taskOutputParameter"]["outputParameterKey"] == "node_selector"
    assert placed["tolerations"][0]["tolerationJson"]["taskOutputParameter"]["outputParameterKey"] == "tolerations"


def test_every_step_says_what_it_needs_so_that_a_quota_takes_it(package):
    for name, executor in package[0]["deploymentSpec"]["executors"].items():
        resources = executor["container"]["resources"]
        assert resources["resourceCpuLimit"], name
        assert resources["resourceMemoryLimit"], name


def test_a_training_step_has_its_job_s_follower_s_size_or_that_of_the_training_itself():
    follower = step_placement(resolve(environment={**REQUIRED, "TRAIN_NUM_WORKERS": "8"}))
    assert [follower[f"training_{each}"] for each in ("cpu", "memory", "gpus")] == ["1", "4Gi", "0"]
    given = {"K8S_TRAINING_API": "none", "TRAIN_NUM_WORKERS": "2", "TRAIN_MEMORY_PER_WORKER": "1.5Gi"}
    itself = step_placement(resolve(environment={**REQUIRED, **given}))
    assert [itself[f"training_{each}"] for each in ("cpu", "gpus")] == ["8", "2"]
    assert int(itself["training_memory"]) == 3 << 30
    on_cpus = step_placement(resolve(environment={**REQUIRED, **given, "TRAIN_GPUS_PER_WORKER": "0"}))
    assert on_cpus["training_gpus"] == "0"


def test_an_input_at_its_default_leaves_the_word_to_the_configmap():
    below = Layer(place="ConfigMap", given=[Given(name="train_num_workers", text="6", origin="ConfigMap")])
    values = pipeline_inputs.arguments(resolve(environment=REQUIRED))
    given = {name: value for name, value in values.items() if name in PARAMETERS}
    untouched = resolve_layers("dev", [below, pipeline_inputs.layer(given, "dev")])
    assert untouched.values["train_num_workers"] == 6
    chosen = resolve_layers("dev", [below, pipeline_inputs.layer({**given, "train_num_workers": 3.0}, "dev")])
    assert chosen.values["train_num_workers"] == 3
    assert chosen.origins["train_num_workers"] == "pipeline input train_num_workers"


@settings(max_examples=50, deadline=None)
@given(
    workers=st.integers(1, 10_000),
    rate=st.floats(1e-9, 1, allow_nan=False),
    keeps=st.booleans(),
    phase=st.none() | st.floats(1e-9, 1),
    cpu=st.integers(1, 64),
)
def test_values_come_through_the_inputs_as_they_went_in(workers, rate, keeps, phase, cpu):
    environment = {
        **REQUIRED,
        "TRAIN_NUM_WORKERS": str(workers),
        "TRAIN_LEARNING_RATE": repr(rate),
        "OUTPUT_SAVE_CHECKPOINTS": str(keeps).lower(),
        "K8S_WORKER_RESOURCES": json.dumps({"cpu": str(cpu), "memory": "8Gi"}),
        **({"TRAIN_LEARNING_RATE_PHASE_2": repr(phase)} if phase is not None else {}),
    }
    resolved = resolve(environment=environment)
    values = json.loads(json.dumps(pipeline_inputs.arguments(resolved)))  # as Kubeflow hands them over
    layer = pipeline_inputs.layer({name: value for name, value in values.items() if name in PARAMETERS}, "dev")
    assert resolve_layers("dev", [layer]).parameters == resolved.parameters
