"""What a step of the Kubeflow pipeline does: it calls the command line, and shows what came of it in Kubeflow's terms.

A step is a program of its own, which ends with the exit code of the command. Kubeflow starts every step that failed
again; where that cannot help, the second attempt finds a note of the first in the run's bucket and ends at once.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from instructlab_pipeline.errors import Interrupted, ServiceError, WorkerError
from instructlab_pipeline.s3.remote import RemoteFolder

RETRIED = frozenset(kind.exit_code for kind in (ServiceError, WorkerError, Interrupted))
REFUSALS = "refusals"
OPTIONS: Mapping[str, tuple[str, ...]] = {"train_phase_1": ("--as-job",), "train_phase_2": ("--as-job",)}
INPUTS_OF_OUR_OWN = ("run_dir", "profile", "scratch", "params_configmap")


class Prepared(NamedTuple):
    """What Kubeflow needs to know of the parameters to place the steps."""

    cpu: str
    memory: str
    gpu_type: str
    gpus: str
    training_cpu: str
    training_memory: str
    training_gpus: str
    output_oci_registry_secret: str
    output_signing_secret: str
    sdg_repo_secret: str
    node_selector: dict[str, str]
    tolerations: list[dict[str, Any]]


class Published(NamedTuple):
    reference: str
    digest: str


def prepare(run_dir: str, **words: str) -> Prepared:
    """Check the parameters among this step's inputs, and record them where the other steps find them."""
    values = _executor_input()["inputs"]["parameterValues"]
    given = {name: value for name, value in values.items() if name not in INPUTS_OF_OUR_OWN}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(given, file)
        file.flush()
        options = [f"--{name.replace('_', '-')}={value}" for name, value in words.items()]
        return Prepared(**_told(command("kube", "prepare", f"--run-dir={run_dir}", f"--inputs={file.name}", *options)))


def perform(name: str, run_dir: str, pipeline_run: str, **outputs: Any) -> dict[str, Any]:
    """Perform a stage and fill the `outputs`: `artifact`, `metrics`, `report`, as far as the component has them.

    pipeline_run: Kubeflow's name for this run of the pipeline. Says the stage's facts.
    """
    notes = RemoteFolder.open(run_dir, named_by="run_dir").below(REFUSALS)
    _refuse_again(notes, name, pipeline_run)
    done = command("stage", name, "--run-dir", run_dir, "--json", *OPTIONS.get(name, ()))
    if done.returncode > 0 and done.returncode not in RETRIED:
        notes.write(name, json.dumps({"pipeline_run": pipeline_run, "exit_code": done.returncode}).encode())
    facts: dict[str, Any] = _told(done)["facts"]
    if artifact := outputs.get("artifact"):
        artifact.uri = f"{run_dir.rstrip('/')}/{name}"
        artifact.metadata.update(_plain(facts))
    if metrics := outputs.get("metrics"):
        for metric, value in metrics_of(facts).items():
            metrics.log_metric(metric, value)
    if report := outputs.get("report"):
        _told(command("report", run_dir, "--output", report.path), is_json=False)
    return facts


def published(facts: Mapping[str, Any]) -> Published:
    return Published(reference=facts["reference"], digest=facts["digest"])


def tell_end(run_dir: str, state: str, *, webhook: str, params_configmap: str) -> None:
    """Have the webhook told: that of the pipeline's input, or else of the secret, or else of the ConfigMap."""
    words = ["kube", "notify", "--run-dir", run_dir, "--state", state]
    if webhook:
        words.append(f"--notify_webhook_url={webhook}")
    elif not os.environ.get("NOTIFY_WEBHOOK_URL") and params_configmap:
        words.append(f"--from-configmap={params_configmap}")
    command(*words)


def finish(run_dir: str, *, state: str, report: Any) -> None:
    """Show how the run ended, and leave no training job behind. What cannot be done here must not fail the run."""
    click.echo(f"the pipeline ended: {state}")
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        command("kube", "clean", "--run-dir", run_dir)
    click.echo(command("status", run_dir).stdout)
    command("report", run_dir, "--output", report.path)


def metrics_of(facts: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among a stage's facts; of an evaluation, each metric of the tuned and of the base model."""
    found = {name: float(value) for name, value in facts.items() if _is_number(value)}
    for name, metric in (facts.get("metrics") or {}).items():
        found |= {name: metric["tuned"], f"{name}_base": metric["base"]}
    return found


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line; what it tells on its way goes to the step's log."""
    program = [sys.executable, "-m", "instructlab_pipeline", *arguments]
    return subprocess.run(program, stdout=subprocess.PIPE, text=True, check=False)


def _told(done: subprocess.CompletedProcess[str], *, is_json: bool = True) -> dict[str, Any]:
    """What a command printed; where it failed, the step ends with its exit code."""
    if done.returncode != 0:
        raise SystemExit(done.returncode if done.returncode > 0 else WorkerError.exit_code)
    return dict(json.loads(done.stdout)) if is_json else {}


def _refuse_again(notes: RemoteFolder, name: str, pipeline_run: str) -> None:
    note = json.loads(notes.read(name) or b"{}")
    if note.get("pipeline_run") == pipeline_run:
        click.echo(f"{name} has failed in a way that trying again cannot mend: see the log of its first attempt")
        raise SystemExit(note["exit_code"])


def _executor_input() -> dict[str, Any]:
    """What Kubeflow hands to every step; a component's own arguments are only those that its function names."""
    return dict(json.loads(sys.argv[sys.argv.index("--executor_input") + 1]))


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if isinstance(value, str) or _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
