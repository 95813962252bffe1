"""The controller of training jobs against a recording API server: every end that a job can come to."""

import pytest

from instructlab_pipeline.errors import ServiceError, SourceError, UsageError, WorkerError
from instructlab_pipeline.kube.connection import connected
from instructlab_pipeline.kube.deputy import RUN_LABEL, owner_of
from instructlab_pipeline.kube.training_job import PYTORCH_JOB, TRAIN_JOB, Training
from instructlab_pipeline.kube.training_run import Patience, api_served, remove_jobs, run_job
from servers.kube_api import NAMESPACE, TRAINER, TRAINING, KubeApi

NAME = "train-phase-1-0123456789"
APIS = pytest.mark.parametrize("api", [TRAIN_JOB, PYTORCH_JOB], ids=lambda api: api.kind)


@pytest.fixture
def server(tmp_path, monkeypatch):
    with KubeApi() as started:
        monkeypatch.setenv("KUBECONFIG", started.kubeconfig(tmp_path))
        yield started


@pytest.fixture
def cluster(server):
    return connected()


def training(**changed):
    return Training(
        **{
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {RUN_LABEL: "run"},
            "owner": None,
            "image": "registry.example.com/ours:1",
            "command": ("instructlab-pipeline", "stage", "train_phase_1", "--run-dir", "s3://runs/one"),
            "secret": "s3-connection",
            "nodes": 2,
            "gpus": 1,
            "resources": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"},
            "node_selector": {},
            "tolerations": (),
            "storage_class": "gp3-csi",
            "storage_size": "20Gi",
            "deadline_s": 3600,
            **changed,
        }
    )


def run(cluster, api, told=None, *, minutes=10.0, again_after_s=0.02):
    patience = Patience(again_after_s=again_after_s, start_within_minutes=minutes)
    run_job(training(), api, cluster, tell=(told if told is not None else []).append, patience=patience)


def pods(api, phase, **status):
    """The act in which both pods are in this state."""

    def act(server, _job):
        for number in range(2):
            labels = {api.pod_label: NAME}
            server.put(
                "pods", f"{NAME}-node-0-{number}", metadata={"labels": labels}, status={"phase": phase, **status}
            )

    return act


def ended(kind, reason="", message=""):
    def act(_server, job):
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        job.setdefault("status", {})["conditions"] = [condition]

    return act


def nothing(_server, _job):
    pass


def cut(server, _job):
    server.cut()


def expire(server, _job):
    server.expire()


@APIS
def test_a_job_is_followed_to_its_success_with_its_workers_log(server, cluster, api):
    server.logs = {f"{NAME}-node-0-0": ["step 1", "step 2"], f"{NAME}-node-0-1": ["waiting"]}
    server.acts = [nothing, pods(api, "Pending"), pods(api, "Running"), nothing, ended(api.succeeded)]
    told = []
    run(cluster, api, told)
    assert server.made("POST", api.plural) == [NAME]
    assert {f"[{NAME}-node-0-0] step 1", f"[{NAME}-node-0-0] step 2", f"[{NAME}-node-0-1] waiting"} <= set(told)
    assert ("trainingruntimes", NAME) in server.objects or api is PYTORCH_JOB


@APIS
@pytest.mark.parametrize(("code", "error"), [(6, WorkerError), (3, SourceError), (2, UsageError), (4, ServiceError)])
def test_a_failed_job_fails_the_step_in_the_terms_of_its_worker(server, cluster, api, code, error):
    terminated = {"terminated": {"exitCode": code, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}}
    failed = pods(api, "Failed", containerStatuses=[{"name": "node", "state": terminated}])
    server.acts = [pods(api, "Running"), failed, ended("Failed", "BackoffLimitExceeded", "too many failures")]
    with pytest.raises(error, match=rf"BackoffLimitExceeded: too many failures(.|\n)*ended with exit code {code}"):
        run(cluster, api)


@APIS
def test_an_eviction_is_told_as_what_it_is_and_may_be_tried_again(server, cluster, api):
    evicted = pods(api, "Failed", reason="Evicted", message="The node was low on resource: memory.")
    server.acts = [pods(api, "Running"), evicted, ended("Failed", "PodFailed", "a pod failed")]
    with pytest.raises(WorkerError, match="Evicted: The node was low on resource: memory") as raised:
        run(cluster, api)
    assert raised.value.retry_helps


@APIS
def test_pods_that_find_no_node_fail_the_step_in_minutes_with_the_events(server, cluster, api):
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    server.warn("Pod", f"{NAME}-node-0-0", "FailedScheduling", "preemption: 0/3 nodes are available")
    server.acts = [pods(api, "Pending", conditions=[condition])]
    told = []
    with pytest.raises(WorkerError, match=r"did not start within 0.005 minutes: .* Insufficient") as raised:
        run(cluster, api, told, minutes=0.005)
    assert "FailedScheduling: preemption" in raised.value.message
    assert "train_num_workers" in raised.value.remedy
    assert any(line.startswith("waiting: pod") for line in told)
    assert (api.plural, NAME) not in server.objects


@APIS
def test_an_image_that_cannot_be_pulled_is_for_a_person_to_mend(server, cluster, api):
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "ours:1"'}}
    server.acts = [pods(api, "Pending", containerStatuses=[{"name": "node", "state": waiting}])]
    with pytest.raises(UsageError, match="ImagePullBackOff: Back-off pulling image"):
        run(cluster, api, minutes=0.005)


@APIS
def test_a_large_image_that_is_being_pulled_gets_more_time_and_then_is_told(server, cluster, api):
    creating = {"waiting": {"reason": "ContainerCreating"}}
    server.warn("Pod", f"{NAME}-node-0-0", "FailedMount", "timed out waiting for volume scratch")
    pods(api, "Pending", containerStatuses=[{"name": "node", "state": creating}])(server, None)
    patience = Patience(again_after_s=0.02, start_within_minutes=0.0, create_within_minutes=0.005)
    with pytest.raises(WorkerError, match=r"within 0.005 minutes: .*ContainerCreating(.|\n)*FailedMount: timed out"):
        run_job(training(), api, cluster, tell=[].append, patience=patience)


@APIS
def test_a_quota_that_lets_no_pod_be_made_is_told(server, cluster, api):
    server.warn(api.kind, NAME, "FailedCreate", "exceeded quota: compute, requested: requests.nvidia.com/gpu=1")
    with pytest.raises(WorkerError, match=r"it has no pods(.|\n)*exceeded quota"):
        run(cluster, api, minutes=0.005)


@APIS
def test_a_job_that_a_queue_holds_back_is_waited_for(server, cluster, api):
    held = ended("Suspended", "Queued")
    server.acts = [held, *[nothing] * 150, ended(api.succeeded)]
    run(cluster, api, minutes=1 / 60)


@APIS
def test_a_step_that_is_tried_again_goes_on_with_its_running_job(server, cluster, api):
    server.acts = [pods(api, "Running"), nothing]
    server.acts += [ended(api.succeeded)]
    run(cluster, api)
    del server.objects[api.plural, NAME]["status"]
    told = []
    server.acts = [nothing, nothing, ended(api.succeeded)]
    run(cluster, api, told)
    assert server.made("POST", api.plural) == [NAME]
    assert any("is at work already" in line for line in told)


@APIS
def test_a_job_that_failed_before_is_made_anew(server, cluster, api):
    server.acts = [ended("Failed", "DeadlineExceeded")]
    with pytest.raises(WorkerError, match="DeadlineExceeded"):
        run(cluster, api)
    server.acts = [nothing, nothing, ended(api.succeeded)]
    run(cluster, api)
    assert server.made("POST", api.plural) == [NAME, NAME]
    assert server.made("DELETE", api.plural) == [NAME]


def test_a_runtime_whose_job_was_deleted_is_made_anew_with_what_is_asked_for_now(server, cluster):
    server.put("trainingruntimes", NAME, spec={"of": "an earlier attempt"})
    server.acts = [ended(TRAIN_JOB.succeeded)]
    run(cluster, TRAIN_JOB)
    assert "template" in server.objects["trainingruntimes", NAME]["spec"]


@APIS
def test_a_job_that_somebody_deleted_fails_the_step(server, cluster, api):
    server.acts = [pods(api, "Running"), lambda server, _job: server.objects.pop((api.plural, NAME))]
    with pytest.raises(WorkerError, match="was deleted"):
        run(cluster, api)


@APIS
def test_a_step_that_is_ended_takes_its_job_along(server, cluster, api):
    def interrupt(_line):
        raise KeyboardInterrupt

    server.acts = [nothing, pods(api, "Pending", conditions=[{"type": "PodScheduled", "status": "False"}])]
    with pytest.raises(KeyboardInterrupt):
        run_job(training(), api, cluster, tell=_after_the_first(interrupt), patience=Patience(again_after_s=0.02))
    assert [key for key in server.objects if key[0] != "events"] == []


def _after_the_first(tell):
    """The first line says that the job was made."""
    told = []
    return lambda line: tell(line) if told else told.append(line)


@APIS
def test_an_api_server_that_is_away_for_a_moment_is_waited_for(server, cluster, api):
    def away(server, _job):
        server.outages = 3
        server.cut()

    server.acts = [pods(api, "Running"), away, nothing, ended(api.succeeded)]
    run(cluster, api)


@APIS
def test_an_end_is_told_by_the_server_and_not_looked_for(server, cluster, api):
    """Whoever had to look again here would do so after ten minutes, and the test would fail before."""
    server.acts = [pods(api, "Running"), *[nothing] * 20, pods(api, "Succeeded"), ended(api.succeeded)]
    run(cluster, api, again_after_s=600.0)
    assert server.watches == 2
    assert server.looks(api.plural) == 1


@APIS
@pytest.mark.parametrize("trouble", [cut, expire], ids=["cut", "expired"])
def test_a_watch_that_breaks_is_begun_again_and_nothing_is_missed(server, cluster, api, trouble):
    terminated = {"terminated": {"exitCode": 6, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}}
    failed = pods(api, "Failed", containerStatuses=[{"name": "node", "state": terminated}])
    server.acts = [pods(api, "Running"), trouble, nothing, failed, trouble, ended("Failed", "BackoffLimitExceeded")]
    with pytest.raises(WorkerError, match=r"BackoffLimitExceeded(.|\n)*ended with exit code 6"):
        run(cluster, api)
    assert server.watches > 2
    assert server.looks(api.plural) > 1


@APIS
def test_a_version_that_is_too_old_when_watching_begins_is_asked_for_anew(server, cluster, api):
    def expire_between_list_and_watch(server, _job):
        server.expire_at_next_watch = True
        server.cut()

    server.acts = [pods(api, "Running"), expire_between_list_and_watch, nothing, ended(api.succeeded)]
    run(cluster, api)


@APIS
def test_a_watch_that_the_server_ends_goes_on_from_where_it_was(server, cluster, api):
    server.longest_watch_s = 0.05
    server.acts = [pods(api, "Running"), *[nothing] * 30, ended(api.succeeded)]
    run(cluster, api)
    assert server.watches > 3
    assert server.looks(api.plural) == 1


@APIS
def test_whoever_may_not_watch_looks_again_and_again(server, cluster, api):
    server.forbidden = {("watch", api.plural), ("watch", "pods")}
    server.acts = [pods(api, "Running"), nothing, ended(api.succeeded)]
    run(cluster, api)
    assert server.watches == 0
    assert server.looks(api.plural) > 2


@APIS
def test_whoever_may_not_even_list_is_told(server, cluster, api):
    server.forbidden = {("list", "pods")}
    with pytest.raises(UsageError, match="cannot list resource pods"):
        run(cluster, api)


@APIS
def test_a_log_whose_connection_breaks_goes_on_without_a_line_lost_or_told_twice(server, cluster, api):
    name = f"{NAME}-node-0-0"
    server.logs = {name: ["step 1", "step 2", "step 3"]}
    server.cut_logs_after = [2, 0]
    told = []

    def when_told(server, _job):
        """The job ends once the whole log was told, however long that takes."""
        last = f"[{name}] step 3"
        server.acts.append(ended(api.succeeded) if last in told else when_told)

    labels = {api.pod_label: NAME}
    server.acts = [
        lambda server, _job: server.put("pods", name, metadata={"labels": labels}, status={"phase": "Running"}),
        when_told,
    ]
    run(cluster, api, told)
    assert [line for line in told if line.startswith(f"[{name}]")] == [f"[{name}] step {n}" for n in (1, 2, 3)]


@APIS
def test_a_job_that_is_being_deleted_counts_as_deleted(server, cluster, api):
    def deleting(_server, job):
        job["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    server.acts = [pods(api, "Running"), deleting]
    with pytest.raises(WorkerError, match="was deleted"):
        run(cluster, api)


def test_how_long_nothing_changed_before_an_outage_is_no_part_of_it(server, cluster):
    server.acts = [pods(TRAIN_JOB, "Running"), *[nothing] * 250, cut, nothing, ended(TRAIN_JOB.succeeded)]
    patience = Patience(again_after_s=0.02, away_for_minutes=2 / 60)
    run_job(training(), TRAIN_JOB, cluster, tell=[].append, patience=patience)


@APIS
def test_an_api_server_that_stays_away_ends_the_step_but_not_the_job(server, cluster, api):
    def away(server, _job):
        server.outages = 1_000_000
        server.cut()

    server.acts = [pods(api, "Running"), away]
    patience = Patience(again_after_s=0.02, away_for_minutes=0.005)
    with pytest.raises(ServiceError, match="unable to handle the request"):
        run_job(training(), api, cluster, tell=[].append, patience=patience)
    assert (api.plural, NAME) in server.objects


def test_a_user_who_may_not_create_jobs_is_told(server, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", server.kubeconfig(tmp_path, token="nonsense"))
    with pytest.raises(UsageError, match="not allowed"):
        run(connected(), TRAIN_JOB)


@pytest.mark.parametrize(
    ("served", "wish", "kind"),
    [
        ((TRAINER, TRAINING), "auto", "TrainJob"),
        ((TRAINING,), "auto", "PyTorchJob"),
        ((TRAINER, TRAINING), "pytorchjob", "PyTorchJob"),
    ],
)
def test_the_api_is_the_one_that_is_wished_for_or_found(server, cluster, served, wish, kind):
    server.served = {"v1", *served}
    assert api_served(cluster, wish).kind == kind


@pytest.mark.parametrize("wish", ["auto", "trainjob"])
def test_a_cluster_without_the_api_is_refused_by_its_name(server, cluster, wish):
    server.served = {"v1"}
    with pytest.raises(UsageError, match=r"does not serve TrainJob \(trainer.kubeflow.org/v1alpha1\)"):
        api_served(cluster, wish)


def test_the_jobs_of_a_run_are_cleaned_up_and_no_others(server, cluster):
    server.put("trainjobs", "ours", metadata={"labels": {RUN_LABEL: "run"}})
    server.put("pytorchjobs", "theirs", metadata={"labels": {RUN_LABEL: "other"}})
    assert remove_jobs(cluster, NAMESPACE, f"{RUN_LABEL}=run") == ["trainjobs/ours"]
    assert ("pytorchjobs", "theirs") in server.objects


def test_the_owner_is_the_workflow_of_the_step_or_else_its_pod(server, cluster):
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "name": "run-1",
        "uid": "w",
        "controller": True,
    }
    server.put("pods", "step-1", metadata={"ownerReferences": [workflow]})
    server.put("pods", "step-2")
    assert owner_of(cluster, "step-1") == {name: workflow[name] for name in ("apiVersion", "kind", "name", "uid")}
    assert owner_of(cluster, "step-2")["kind"] == "Pod"
    assert owner_of(cluster, "my-laptop") is None
