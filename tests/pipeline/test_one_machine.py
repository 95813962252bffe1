"""The whole pipeline, from S3, git and a teacher to a registry: all of them real servers on loopback."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from instructlab_pipeline import artifacts
from instructlab_pipeline.conversation import question_messages
from instructlab_pipeline.pipeline import STAGE_NAMES
from servers.command import command, descendants, kill_group, started
from servers.held import after_step, answering, held
from servers.process import gone
from servers.small_world import LEAVES, small_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DETERMINISTIC = ("sdg", "dataset", "train_phase_1", "train_phase_2", "eval_final")
IN_FLIGHT = 8  # sdg_num_workers x sdg_batch_size in the small world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with small_world(tmp_path_factory.mktemp("world")) as servers:
        yield servers


@pytest.fixture(scope="module")
def first(world):
    """An undisturbed run, shared by the tests that only look at it."""
    done = run(world, "first")
    assert done.returncode == 0, done.stderr
    return world.folder / "runs" / "first"


def run(world, name, *arguments, **changed):
    environment = {**world.environment, **changed}
    return command(
        "run", "--run-dir", f"runs/{name}", "--json", *arguments, folder=world.folder, environment=environment
    )


def at_the_commit_of(run_dir):
    """The environment of a run on the same taxonomy, whatever other tests have committed and published since."""
    commit = json.loads((run_dir / "taxonomy" / "taxonomy.json").read_text())["commit"]
    return {"SDG_REPO_REVISION": commit, "OUTPUT_OVERWRITE_VERSION": "true"}


def digests(run_dir, stages=DETERMINISTIC):
    return {name: artifacts.read(run_dir / name).digest for name in stages}


def stages_of(done):
    return {stage["stage"]: stage["status"] for stage in json.loads(done.stdout)["stages"]}


def tags(world, repository):
    found = world.registry.storage / "docker" / "registry" / "v2" / "repositories" / repository / "_manifests" / "tags"
    return sorted(path.name for path in found.iterdir()) if found.exists() else []


def skopeo(world, *arguments):
    login = world.environment["REGISTRY_AUTH_FILE"]
    return subprocess.run(
        ["skopeo", *arguments, "--authfile", login], capture_output=True, text=True, check=True, env=os.environ
    ).stdout


def test_a_run_ends_with_an_image_that_other_tools_read_and_that_answers_as_recorded(world, first, tmp_path):
    published = json.loads((first / "publish" / "published.json").read_text())
    image = f"docker://{world.registry.host}/team/tiny:latest"
    inspected = json.loads(skopeo(world, "inspect", "--tls-verify=false", image))
    assert inspected["Digest"] == published["digest"]

    skopeo(world, "copy", "--quiet", "--src-tls-verify=false", image, f"oci:{tmp_path}/layout:latest")
    unpack = ["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/layout:latest", f"{tmp_path}/bundle"]
    subprocess.run(unpack, capture_output=True, check=True)
    assert_answers_as_recorded(tmp_path / "bundle" / "rootfs" / "models", first / "eval_final" / "answers.jsonl")


def test_the_image_of_a_run_is_followed_back_to_the_taxonomys_commit(world, first):
    image = f"{world.registry.host}/team/tiny:latest"
    done = command("verify", image, "--insecure", "--json", folder=world.folder, environment=world.environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["digest"] == json.loads((first / "publish" / "published.json").read_text())["digest"]
    assert found["taxonomy"]["commit"] == json.loads((first / "taxonomy" / "taxonomy.json").read_text())["commit"]
    metrics = json.loads((first / "eval_final" / "verdict.json").read_text())["metrics"]
    assert found["evaluation"]["metrics"]["accuracy"]["tuned"] == metrics["accuracy"]["tuned"]


def assert_answers_as_recorded(model_folder, answers):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(model_folder)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    for record in artifacts.read_jsonl(answers):
        messages = question_messages(record["question"], context=record["context"])
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        reply = model.generate(**prompt, do_sample=False, max_new_tokens=16)[0, prompt["input_ids"].shape[1] :]
        said = tokenizer.decode(reply, skip_special_tokens=True).strip()
        assert record["tuned"].startswith(said) or said.startswith(record["tuned"])


def test_the_run_folder_holds_what_the_documentation_promises(first):
    record = json.loads((first / "run.json").read_text())
    assert record["parameters"]["sdg_scale_factor"] == {"value": 2, "origin": "environment SDG_SCALE_FACTOR"}
    funnel = json.loads((first / "sdg" / "funnel.json").read_text())
    assert sorted(funnel) == sorted(LEAVES)
    assert {leaf["accepted"] for leaf in funnel.values()} == {10}
    sizes = {name: (first / "dataset" / name).stat().st_size for name in ("phase_1.jsonl", "phase_2.jsonl")}
    assert all(sizes.values())
    metrics = json.loads((first / "eval_final" / "metrics.json").read_text())
    assert {"accuracy", "f1"} <= set(json.dumps(metrics).replace('"', " ").split())


def planned(world, name, *arguments):
    done = command(
        "plan", "--run-dir", f"runs/{name}", "--json", *arguments, folder=world.folder, environment=world.environment
    )
    assert done.returncode == 0, done.stderr
    return {stage["name"]: stage for stage in json.loads(done.stdout)["stages"]}


def test_a_plan_says_what_is_reused_and_what_a_changed_parameter_costs_and_makes_nothing(world, first):
    asked = len(world.teacher.requests)
    assert {stage["action"] for stage in planned(world, "first").values()} == {"reuse"}
    changed = planned(world, "first", "--sdg_scale_factor", "3")
    assert changed["taxonomy"]["action"] == "reuse"
    assert changed["sdg"]["why"] == "changed: sdg_scale_factor was 2"
    assert changed["publish"]["action"] == "run"
    assert f"{15 * len(LEAVES)} samples" in changed["sdg"]["work"]
    planned(world, "never", "--train_seed", "5")
    assert not (world.folder / "runs" / "never").exists()
    assert [r for r in world.teacher.requests[asked:] if "messages" in r] == []


def test_a_plan_says_when_the_questions_are_too_few_and_counts_those_of_ones_own(world, first, tmp_path):
    few = ("--eval_quality_threshold", "0.8", "--eval_num_samples", "10")
    assert "too few to pass 0.8 clearly" in planned(world, "first", *few)["eval_final"]["work"]
    own = tmp_path / "own.jsonl"
    artifacts.write_jsonl(own, [{"question": f"Which colour has door {n}?", "reference": "red"} for n in range(90)])
    work = planned(world, "first", *few, "--eval_questions", str(own))["eval_final"]["work"]
    assert "100 questions; 89% right answers pass 0.8 clearly" in work


def test_the_page_of_a_run_names_the_image_the_commit_and_every_leaf(first):
    page = (first / "report.html").read_text()
    commit = json.loads((first / "taxonomy" / "taxonomy.json").read_text())["commit"]
    digest = json.loads((first / "publish" / "published.json").read_text())["digest"]
    assert all(word in page for word in ("published", commit, digest, *LEAVES))


def test_no_evaluation_question_is_among_the_samples(first):
    asked = {row["question"] for row in artifacts.read_jsonl(first / "sdg" / "evaluation.jsonl")}
    trained = {row["question"] for row in artifacts.read_jsonl(first / "sdg" / "samples.jsonl")}
    assert len(asked) >= 9
    assert not asked & trained


def test_a_second_run_reuses_everything_and_asks_nobody(world, first):
    asked = len(world.teacher.requests)
    done = run(world, "first")
    assert set(stages_of(done).values()) == {"reused"}
    assert [r for r in world.teacher.requests[asked:] if "messages" in r] == []


def test_another_run_beside_it_reuses_what_was_sealed_there(world, first):
    done = run(world, "beside")
    assert set(stages_of(done).values()) == {"reused"}
    assert digests(world.folder / "runs" / "beside") == digests(first)


def test_no_secret_is_written_anywhere(world, first):
    for path in (world.folder / "runs").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [secret for secret in world.secrets if secret.encode() in content], path


def test_the_gate_blocks_a_model_that_does_not_reach_the_threshold(world, first):
    image = f"{world.registry.host}/team/refused:1"
    done = run(world, "refused", EVAL_QUALITY_THRESHOLD="0.99", OUTPUT_OCI_MODEL_URI=image)
    assert done.returncode == 5, done.stderr
    report = json.loads(done.stdout)
    assert report["evaluation"]["verdict"] == "fail"
    assert report["error"]["exit_code"] == 5
    assert (world.folder / "runs" / "refused" / "eval_final" / "metrics.json").exists()
    assert not (world.folder / "runs" / "refused" / "publish" / "manifest.json").exists()
    assert tags(world, "team/refused") == []


def test_one_changed_answer_regenerates_that_leaf_alone(world, first):
    shutil.copytree(first, world.folder / "runs" / "changed", symlinks=True)
    qna = world.taxonomy / LEAVES[1] / "qna.yaml"
    text = qna.read_text()
    answer = next(line for line in text.splitlines() if "answer:" in line)
    qna.write_text(text.replace(answer, answer.split("answer:")[0] + "answer: '1999-12-31'", 1))
    world.commit("Correct an answer")
    try:
        done = run(world, "changed", OUTPUT_OVERWRITE_VERSION="true")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["generation"]["leaves_asked_for"] == [LEAVES[1]]
    finally:
        qna.write_text(text)
        world.commit("Take it back")


def test_kill_9_at_any_moment_and_run_again_gives_the_same_bytes(world, first, tmp_path):
    """The whole process group is killed at random moments until a run comes through; nothing may tell."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    moments, environment = random.Random(7), {**world.environment, **at_the_commit_of(first)}
    asked, kills = len(world.teacher.requests), 0
    for patience in (0.6, 1.2, 4, 8, 12, 16):
        process = started(
            "run", "--run-dir", "runs/killed", folder=folder, environment=environment, output=tmp_path / "log"
        )
        below = []
        deadline = time.monotonic() + patience * moments.uniform(0.7, 1.3)
        while time.monotonic() < deadline and process.poll() is None:
            below = descendants(process.pid) or below
            time.sleep(0.05)
        if process.poll() is None:
            kill_group(process)
            kills += 1
        assert all(gone(pid) for pid in below)
    done = command("run", "--run-dir", "runs/killed", folder=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    assert kills >= 3
    assert digests(folder / "runs" / "killed") == digests(first)
    times = Counter(json.dumps(request, sort_keys=True) for request in world.teacher.requests[asked:])
    assert sum(times.values()) - len(times) <= kills * IN_FLIGHT


@contextmanager
def stopped_in(stage, world, first):
    """What starts in this block comes to a stop in the middle of `stage`; this gives what waits until it has."""
    if stage == "sdg":
        with held_teacher(world.teacher) as reached:
            yield reached
    else:
        tuned = json.loads((first / "eval_final" / "verdict.json").read_text())["model"]["digest"]
        with held(answering(tuned) if stage == "eval_final" else after_step(1)) as hold:
            yield hold.reached


@contextmanager
def held_teacher(teacher):
    teacher.holds_after = len(teacher.requests) + 10

    def reached():
        deadline = time.monotonic() + 240
        while len(teacher.requests) <= teacher.holds_after:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    try:
        yield reached
    finally:
        teacher.holds_after = None


@pytest.mark.parametrize("stage", ["sdg", "train_phase_1", "eval_final"])
def test_ctrl_c_ends_with_130_and_leaves_nobody_behind(world, first, tmp_path, stage):
    output, long = tmp_path / "log", {"TRAIN_EPOCHS_PHASE_1": "20"} if stage == "train_phase_1" else {}
    environment = {**world.environment, **at_the_commit_of(first), **long}
    with stopped_in(stage, world, first) as reached:
        process = started("run", "--run-dir", "runs/stopped", folder=tmp_path, environment=environment, output=output)
        reached()
        below = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130, output.read_text()
        assert all(gone(pid) for pid in below)
    assert f"{stage}: started" in output.read_text()
    assert "run the same command again" in output.read_text()
    checkpoints = list((tmp_path / "runs" / "stopped" / stage).rglob("step-*/manifest.json"))
    assert bool(checkpoints) == (stage == "train_phase_1")


def test_a_second_process_on_the_same_run_is_refused_with_the_holders_name(world, first, tmp_path):
    output = tmp_path / "log"
    with stopped_in("sdg", world, first) as reached:
        process = started(
            "run", "--run-dir", "runs/held", folder=tmp_path, environment=world.environment, output=output
        )
        reached()
        refused = command("run", "--run-dir", "runs/held", folder=tmp_path, environment=world.environment)
        kill_group(process)
    assert refused.returncode == 2
    assert f"is in use by process {process.pid} of " in refused.stderr


def test_stages_one_by_one_are_the_same_as_a_run(world, first):
    """What pods do: each stage is a process of its own, on the recorded parameters alone."""
    folder = world.folder / "pods"
    folder.mkdir()
    opened = {
        name: world.environment[name] for name in world.environment if name.startswith(("AWS", "OPENAI", "REGISTRY"))
    }
    environment = {**world.environment, **at_the_commit_of(first)}
    begun = command("run", "--run-dir", "runs/pods", "--until", "model", folder=folder, environment=environment)
    assert begun.returncode == 0, begun.stderr
    early = command("stage", "publish", "--run-dir", "runs/pods", folder=folder, environment=opened)
    assert early.returncode == 2
    assert "which is not finished" in early.stderr
    for name in STAGE_NAMES:
        done = command("stage", name, "--run-dir", "runs/pods", folder=folder, environment=opened)
        assert done.returncode == 0, f"{name}: {done.stderr}"
    assert digests(folder / "runs" / "pods") == digests(first)


def test_status_tells_how_far_a_run_is(world, first):
    shown = command("status", str(first), "--json", folder=world.folder)
    states = {stage["stage"]: stage["state"] for stage in json.loads(shown.stdout)["stages"]}
    assert states == dict.fromkeys(STAGE_NAMES, "finished")
    assert "nobody works on it" in command("status", str(first), folder=world.folder).stdout


def test_events_are_in_order_and_end_every_span(first):
    events = [json.loads(line) for line in (first / "events.jsonl").read_text().splitlines()]
    assert all(earlier["time"] <= later["time"] + 0.01 for earlier, later in pairwise(events))
    began = [event["name"] for event in events if event["event"] == "start"]
    ended = [event["name"] for event in events if event["event"] == "end" and event["ok"]]
    assert began == ended == list(STAGE_NAMES)


def test_without_a_teacher_a_run_stops_before_anything_is_spent(world, tmp_path):
    environment = {**world.environment, "SDG_TEACHER_ENDPOINT": ""}
    done = command("run", "--run-dir", "runs/none", folder=tmp_path, environment=environment)
    assert done.returncode == 2
    assert "builtin:extractive" in done.stderr
    assert "it is not a language model" in done.stderr
    assert not (tmp_path / "runs" / "none" / "model").exists()


def test_a_layout_where_a_file_is_stops_before_anything_is_spent(world, tmp_path):
    (tmp_path / "image").write_text("not a folder")
    environment = {**world.environment, "OUTPUT_OCI_MODEL_URI": "oci:image:1"}
    done = command("run", "--run-dir", "runs/none", folder=tmp_path, environment=environment)
    assert done.returncode == 2
    assert "image is a file" in done.stderr
    assert not (tmp_path / "runs" / "none").exists()


@pytest.mark.parametrize(
    ("changed", "exit_code", "words"),
    [
        ({"SDG_BASE_MODEL": "s3://models/nothing"}, 3, "s3://models/nothing"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, 3, "s3://models/tiny"),
        ({"AWS_S3_ENDPOINT": "http://127.0.0.1:9"}, 4, "127.0.0.1:9"),
        ({"SDG_REPO_URL": "git://127.0.0.1:9/none"}, 4, "127.0.0.1:9"),
        ({"SDG_REPO_REVISION": "no-such-branch"}, 3, "no-such-branch"),
        ({"OPENAI_API_KEY": "wrong"}, 4, "OPENAI_API_KEY"),
        ({"SDG_TEACHER_ENDPOINT": "http://127.0.0.1:9/v1"}, 4, "127.0.0.1:9"),
        ({"SDG_TEACHER_MODEL": "no-such-model"}, 4, "no-such-model"),
    ],
)
def test_what_is_wrong_outside_is_named_with_its_exit_code(world, first, changed, exit_code, words):
    name = f"wrong-{abs(hash(str(changed)))}"
    done = run(world, name, "--until", "sdg", **changed)
    assert done.returncode == exit_code, done.stderr
    assert words in done.stderr
    assert "what to do: " in done.stderr
    assert not Path(world.folder / "runs" / name / "sdg" / "manifest.json").exists()
