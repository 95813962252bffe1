"""`kube submit`, `status` and `logs` against a recording Kubeflow and a recording cluster."""

import json

import pytest

from instructlab_pipeline.kube.connection import connected
from instructlab_pipeline.kube.pod_logs import follow_pods
from instructlab_pipeline.kube.watching import Collection
from servers.command import command
from servers.kfp_api import TOKEN, KfpApi
from servers.kube_api import KubeApi

GIVEN = (
    "--sdg_base_model=s3://models/tiny",
    "--sdg_repo_url=https://example.com/taxonomy.git",
    "--output_oci_model_uri=quay.io/team/model:1",
)


@pytest.fixture
def kubeflow():
    with KfpApi() as started:
        yield started


def kube(kubeflow, folder, *words, token=TOKEN):
    environment = {"KF_PIPELINES_ENDPOINT": kubeflow.url, "KFP_TOKEN": token, "HOME": str(folder)}
    return command("kube", *words, folder=folder, environment=environment)


def test_a_submission_uploads_the_package_once_and_starts_runs_with_its_parameters(kubeflow, tmp_path):
    words = (
        "submit",
        "--run-dir",
        "s3://runs/one",
        *GIVEN,
        "--train_num_workers=6",
        "--k8s_storage_size=77Gi",
        "--json",
    )
    done = kube(kubeflow, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"run": "run-1", "run_dir": "s3://runs/one", "link": f"{kubeflow.url}/#/runs/details/run-1"}
    given = kubeflow.runs[0]["runtime_config"]["parameters"]
    assert (given["train_num_workers"], given["run_dir"]) == (6, "s3://runs/one")
    _, platform = next(iter(kubeflow.packages.values()))
    assert "77Gi" in json.dumps(platform)

    uploads = len(kubeflow.packages)
    assert kube(kubeflow, tmp_path, *words).returncode == 0
    assert (len(kubeflow.packages), len(kubeflow.runs)) == (uploads, 2)


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (("--run-dir", "s3://runs/one"), 2, "sdg_base_model: missing"),
        (("--run-dir", "runs/one", *GIVEN), 2, "is no place in a bucket"),
        (("--run-dir", "s3://runs/one", *GIVEN, "--train_num_workers=-3"), 2, "is not above 0"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(kubeflow, tmp_path, words, exit_code, said):
    done = kube(kubeflow, tmp_path, "submit", *words)
    assert done.returncode == exit_code
    assert said in done.stderr
    assert kubeflow.runs == []


@pytest.mark.parametrize(
    ("output", "said"), [("package.txt", "is no name for a package"), ("file/x.yaml", "may not work (file)")]
)
def test_a_place_where_no_package_can_be_is_said_to_be_none(tmp_path, output, said):
    (tmp_path / "file").touch()
    done = command("kube", "compile", "--output", output, folder=tmp_path)
    assert done.returncode in {2, 3}
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stranger_is_told_how_to_log_in(kubeflow, tmp_path):
    done = kube(kubeflow, tmp_path, "submit", "--run-dir", "s3://runs/one", *GIVEN, token="nonsense")
    assert done.returncode == 2
    assert "KFP_TOKEN" in done.stderr
    assert "nonsense" not in done.stderr


def test_the_state_of_a_run_is_told_task_by_task(kubeflow, tmp_path):
    kube(kubeflow, tmp_path, "submit", "--run-dir", "s3://runs/one", *GIVEN)
    done = kube(kubeflow, tmp_path, "status", "run-1")
    assert done.returncode == 0, done.stderr
    assert "sdg             RUNNING" in done.stdout
    assert kube(kubeflow, tmp_path, "status", "run-9").returncode == 2


def test_the_logs_of_a_runs_pods_are_printed(kubeflow, tmp_path):
    with KubeApi() as cluster:
        for number in (1, 2):
            cluster.put("pods", f"step-{number}", metadata={"labels": {"pipeline/runid": "run-1"}})
            cluster.logs[f"step-{number}"] = [f"line of {number}"]
        environment = {"KUBECONFIG": cluster.kubeconfig(tmp_path)}
        done = command("kube", "logs", "run-1", folder=tmp_path, environment=environment)
        assert done.stdout == "[step-1] line of 1\n[step-2] line of 2\n"
        assert command("kube", "logs", "run-2", folder=tmp_path, environment=environment).returncode == 2


def test_logs_that_are_followed_go_on_with_pods_that_come_later(tmp_path, monkeypatch):
    with KubeApi() as cluster:
        monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig(tmp_path))
        cluster.logs = {"step-1": ["first"], "step-2": ["second"]}
        told = []

        def is_in(pod, phase):
            metadata = {"labels": {"pipeline/runid": "run-1"}}
            cluster.put("pods", pod, metadata=metadata, status={"phase": phase})

        def tell(line):
            told.append(line)
            if line == "[step-1] first":
                is_in("step-2", "Running")
                is_in("step-1", "Succeeded")
            else:
                is_in("step-2", "Succeeded")

        is_in("step-1", "Running")
        pods = Collection(
            path="/api/v1/namespaces/data-science-project/pods", selectors={"labelSelector": "pipeline/runid=run-1"}
        )
        follow_pods(connected(), pods, tell, container="main", quiet_s=0.5)
    assert told == ["[step-1] first", "[step-2] second"]
