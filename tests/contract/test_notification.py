"""The message at a run's end, to a real webhook; and that nothing about it ever changes how the run ends."""

import json

import pytest

from instructlab_pipeline.notification import deliver, message
from servers.command import command
from servers.loopback import free_port
from servers.tiny_model import write_tiny_model
from servers.webhook import webhook

DONE = message("runs/demo", None)


def delivered(hook, pauses_s=(0.1, 0.2)):
    """What `deliver` says, and how long it waited before each further attempt."""
    waited = []
    return deliver(hook.url, DONE, pauses_s=pauses_s, sleep=waited.append), waited


def test_a_message_arrives_as_one_json_object():
    with webhook() as hook:
        assert delivered(hook) == (None, [])
    ((body, headers),) = hook.messages
    assert body == {"text": "runs/demo is done", "run": "runs/demo", "ok": True, "error": None}
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers


def test_a_token_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("NOTIFY_WEBHOOK_TOKEN", "t0ken\n")
    with webhook() as hook:
        delivered(hook)
    assert hook.messages[0][1]["Authorization"] == "Bearer t0ken"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(status):
    with webhook(status, status) as hook:
        assert delivered(hook) == (None, [0.1, 0.2])
    assert len(hook.messages) == 3


def test_after_the_last_attempt_it_is_given_up():
    with webhook(503, 503, 503) as hook:
        assert delivered(hook) == ("status 503", [0.1, 0.2])


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_is_final(status):
    with webhook(status) as hook:
        assert delivered(hook) == (f"status {status}", [])


def test_a_webhook_that_is_away_is_a_complaint():
    waited = []
    complaint = deliver(f"http://127.0.0.1:{free_port()}/", DONE, pauses_s=(0.1,), sleep=waited.append)
    assert "refused" in complaint
    assert waited == [0.1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def run(tmp_path, url, model):
    """A run that ends after its first stage."""
    arguments = [
        f"--sdg_base_model=file:{model}",
        f"--sdg_repo_url={tmp_path}",
        "--output_oci_model_uri=oci:image:1",
        f"--notify_webhook_url={url}",
    ]
    return command("run", "--run-dir", "runs/one", "--until", "model", *arguments, folder=tmp_path)


def test_a_run_that_ends_well_says_so(tmp_path, model):
    with webhook() as hook:
        done = run(tmp_path, hook.url, model)
    assert done.returncode == 0, done.stderr
    ((body, _),) = hook.messages
    assert body["ok"]
    assert body["run"] == "runs/one"
    assert body["report"].endswith("report.html")


def test_a_run_that_fails_says_why_and_ends_with_its_own_code(tmp_path):
    with webhook() as hook:
        done = run(tmp_path, hook.url, tmp_path / "no-model")
    assert done.returncode == 3
    ((body, _),) = hook.messages
    assert not body["ok"]
    assert body["error"]["exit_code"] == 3
    assert "no-model" in body["text"]


@pytest.mark.parametrize(("state", "ok"), [("SUCCEEDED", True), ("FAILED", False)])
def test_the_last_step_of_a_pipeline_tells_how_it_ended(tmp_path, state, ok):
    with webhook() as hook:
        secret = {"NOTIFY_WEBHOOK_URL": f"{hook.url}\n", "NOTIFY_WEBHOOK_TOKEN": "t0ken"}
        assert notified(tmp_path, state, environment=secret) == 0
    ((body, headers),) = hook.messages
    assert body["ok"] is ok
    assert ok or state in body["text"]
    assert headers["Authorization"] == "Bearer t0ken"


def notified(folder, state, *words, environment=None):
    words = ("kube", "notify", "--run-dir", "s3://runs/one", "--state", state, *words)
    return command(*words, folder=folder, environment=environment).returncode


def test_the_address_may_come_from_the_configmap_or_from_an_input_too(tmp_path):
    with webhook() as hook:
        manifest = {"kind": "ConfigMap", "data": {"notify_webhook_url": hook.url}}
        (tmp_path / "params.yaml").write_text(json.dumps({"apiVersion": "v1", **manifest}))
        assert notified(tmp_path, "SUCCEEDED", "--from-configmap=params.yaml") == 0
        assert notified(tmp_path, "SUCCEEDED", f"--notify_webhook_url={hook.url}") == 0
    assert len(hook.messages) == 2


def test_a_pipeline_without_a_webhook_tells_nobody(tmp_path):
    assert notified(tmp_path, "FAILED") == 0


def test_an_address_is_neither_recorded_nor_shown_nor_compiled(tmp_path, model):
    url = f"http://127.0.0.1:{free_port()}/services/letmein"
    done = run(tmp_path, url, model)
    assert "letmein" not in done.stdout + done.stderr
    record = (tmp_path / "runs" / "one" / "run.json").read_text()
    assert "letmein" not in record + (tmp_path / "runs" / "one" / "report.html").read_text()
    assert "/***" in record
    for words in (("params", "show"), ("params", "show", "--json")):
        assert "letmein" not in command(*words, f"--notify_webhook_url={url}", folder=tmp_path).stdout
    compiled = ("kube", "compile", "--output", "package.yaml", f"--notify_webhook_url={url}")
    assert "webhook-secret" in command(*compiled, folder=tmp_path).stderr
    assert "letmein" not in (tmp_path / "package.yaml").read_text()


def test_a_webhook_that_refuses_changes_nothing_but_a_line(tmp_path, model):
    with webhook(404) as hook:
        done = run(tmp_path, hook.url, model)
    assert done.returncode == 0
    assert "/*** was not told how the run ended: status 404" in done.stderr
    assert hook.url not in done.stderr  # whoever knows the whole address may post there
