"""A run at s3://bucket/prefix, worked on by machines that share nothing but the bucket."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import pytest

from instructlab_pipeline.artifacts import MANIFEST, Artifact
from instructlab_pipeline.bucket_storage import BucketStorage
from instructlab_pipeline.cli.status import state_of
from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.params.layers import resolve
from instructlab_pipeline.pipeline import Workshop, perform
from instructlab_pipeline.stage import Stage
from servers.flaky_proxy import StallsAfter, flaky_proxy
from servers.s3_server import s3_server

GIVEN = (("sdg_base_model", "file:m"), ("sdg_repo_url", "./t"), ("output_oci_model_uri", "oci:o:1"))
FILES = {"weights/one": b"1" * 100_000, "weights/two": b"2", "card.md": b"# Card"}

HALF_A_FILE = 50_000  # bytes, of one that WORKER writes


@dataclass(frozen=True, kw_only=True)
class Inputs:
    train_seed: int


@dataclass(frozen=True, kw_only=True)
class LaterInputs:
    model: Artifact


def write(_inputs, context):
    for name, content in FILES.items():
        (context.folder / name).parent.mkdir(exist_ok=True)
        (context.folder / name).write_bytes(content)
    return {"files": len(FILES)}


def read(inputs, context):
    (context.folder / "sizes.json").write_text(
        json.dumps({name: (inputs.model / name).stat().st_size for name in FILES})
    )
    return {}


MODEL = Stage(name="model", inputs=Inputs, run=write)
LATER = Stage(name="taxonomy", inputs=LaterInputs, run=read)


@pytest.fixture(scope="module")
def server():
    with s3_server() as started:
        started.create_bucket("runs")
        yield started


@pytest.fixture
def machine(server, monkeypatch, tmp_path, request):
    """What a machine of that name has: a storage for one of the test's runs, in scratch space of its own."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)

    def at(name, run="run"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return BucketStorage.open(f"s3://runs/{request.node.name}/{run}")

    return at


def performed(storage, stage=MODEL, done=()):
    parameters = resolve(environment={}, overrides=GIVEN).parameters
    with storage.held():
        events = Events(path=storage.events_path)
        return perform(stage, Workshop(storage=storage, parameters=parameters, events=events), dict(done))


def test_what_one_machine_sealed_is_reused_by_another_without_moving_it(machine):
    assert performed(machine("one")).status == "made"
    second = machine("two")
    assert performed(second).status == "reused"
    assert not second.folder.stage("model").exists()


def test_another_run_beside_it_reuses_what_was_sealed_and_stands_on_its_own(machine, server):
    first = machine("one")
    performed(first)
    second = machine("two", "second")
    server.put("runs", f"{second.remote.prefix}/model/old.md", b"of another key")
    assert performed(second).status == "reused"
    assert not second.folder.path.with_name("run").exists()
    for name in first.remote.listing():
        server.delete("runs", f"{first.remote.prefix}/{name}")
    assert set(second.remote.below("model").listing()) == {*FILES, MANIFEST}
    performed(second, LATER, {"model": second.sealed("model")})
    assert {name: (second.folder.stage("model") / name).read_bytes() for name in FILES} == FILES


def test_what_lies_in_a_stages_place_is_strange_until_a_stage_has_sealed_it(machine, server):
    storage = machine("one")
    assert not storage.is_strange("model")
    server.put("runs", f"{storage.remote.prefix}/model/config.json", b"somebody's base model")
    assert storage.is_strange("model")
    assert not storage.is_strange("taxonomy")
    performed(storage)
    assert not storage.is_strange("model")


def test_what_is_damaged_in_another_run_is_made_again(machine, server):
    first = machine("one")
    performed(first)
    server.delete("runs", f"{first.remote.prefix}/model/card.md")
    assert performed(machine("two", "second")).status == "made"
    server.put("runs", f"{first.remote.beside('cache').prefix}/{_only_pointer(first)}", b"../elsewhere")
    assert performed(machine("three", "third")).status == "made"


def _only_pointer(storage):
    (name,) = storage.remote.beside("cache").listing()
    return name


def test_what_was_made_outside_of_a_run_is_asked_for_before_another_run_reuses_it(machine):
    asked = []

    def lost(_inputs, artifact):
        asked.append((artifact / "card.md").read_bytes())

    stage = replace(MODEL, lost=lost)
    performed(machine("one"), stage)
    assert performed(machine("two", "second"), stage).status == "reused"
    assert asked == [FILES["card.md"]]


def test_a_stage_finds_what_it_needs_brought_and_verified(machine):
    performed(machine("one"))
    second = machine("two")
    performed(second, LATER, {"model": second.sealed("model")})
    assert {name: (second.folder.stage("model") / name).read_bytes() for name in FILES} == FILES
    assert second.sealed("taxonomy").inputs == {"model": second.sealed("model").digest}


def test_bytes_that_changed_in_the_bucket_are_refused(machine, server):
    storage = machine("one")
    performed(storage)
    server.put("runs", f"{storage.remote.prefix}/model/weights/two", b"3")
    second = machine("two")
    with pytest.raises(ServiceError, match="weights/two is not what its manifest says"):
        second.bring(second.sealed("model"))
    assert not (second.folder.stage("model") / MANIFEST).exists()


def test_a_file_that_is_gone_from_the_bucket_is_made_again(machine, server):
    storage = machine("one")
    performed(storage)
    server.delete("runs", f"{storage.remote.prefix}/model/card.md")
    assert performed(machine("two")).status == "made"
    assert storage.damage(storage.sealed("model")) is None


def test_the_state_of_a_run_is_told_from_the_bucket_alone(machine):
    first = machine("one")
    with first.held():
        first.write_record({"train_seed": {"value": 42, "origin": "dev profile"}})
    performed(first)
    second = machine("two")
    assert second.record()["parameters"]["train_seed"]["value"] == 42
    told = state_of(second)
    assert (told["holder"], told["stages"][0]["state"]) == (None, "finished")
    assert told["stages"][0]["facts"] == {"files": 3}


def test_a_run_is_followed_from_another_machine_until_it_is_published(machine):
    first, second = machine("one"), machine("two")
    begun, seen = threading.Event(), threading.Event()

    def work(inputs, context):
        context.events.point("notice", message="at work")
        first._told.up()
        begun.set()
        assert seen.wait(60)
        return write(inputs, context)

    worker = threading.Thread(target=performed, args=(first, replace(MODEL, name="publish", run=work)))
    worker.start()
    assert begun.wait(60)
    told = []
    for event in second.follow(look_every_s=0.05):
        told.append(event["name"])
        seen.set()
    worker.join()
    assert told == ["publish", "notice", "publish"]
    assert [event["name"] for event in machine("three").follow()] == told


def test_what_a_stage_remembered_on_one_machine_can_be_read_on_another(machine):
    first = machine("one")
    with first.working("sdg", ("journal",)):
        (first.folder.cache / "journal").mkdir(parents=True)
        (first.folder.cache / "journal" / "a.journal").write_text("calls")
    assert (machine("two").memory("journal") / "a.journal").read_text() == "calls"


def test_a_pod_that_only_helps_to_train_keeps_nothing(machine, monkeypatch):
    monkeypatch.setenv("PET_NODE_RANK", "1")
    helper = machine("one")
    assert performed(helper).status == "made"
    assert helper.sealed("model") is None


WORKER = """
import sys
from dataclasses import dataclass
from instructlab_pipeline.bucket_storage import BucketStorage
from instructlab_pipeline.events import Events
from instructlab_pipeline.params.layers import resolve
from instructlab_pipeline.pipeline import Workshop, perform
from instructlab_pipeline.stage import Stage

@dataclass(frozen=True, kw_only=True)
class Inputs:
    train_seed: int

def write(inputs, context):
    for number in range(30):
        (context.folder / f"{number:02d}").write_bytes(bytes([number, inputs.train_seed]) * 50_000)
    return {}

storage = BucketStorage.open(sys.argv[1])
parameters = resolve(environment={}, overrides=[tuple(given.split("=", 1)) for given in sys.argv[2:]]).parameters
workshop = Workshop(storage=storage, parameters=parameters, events=Events())
print(perform(Stage(name="model", inputs=Inputs, run=write), workshop, {}).status, flush=True)
"""


def start(storage, seed, **environment):
    given = [f"{name}={text}" for name, text in (*GIVEN, ("train_seed", seed))]
    command = [sys.executable, "-c", WORKER, storage.remote.uri, *given]
    return subprocess.Popen(command, env=os.environ | environment)


def finish(storage, seed):
    assert start(storage, seed).wait() == 0


@pytest.mark.parametrize("num_files", [1, 20])
def test_a_machine_killed_while_it_uploads_leaves_nothing_that_counts(machine, server, num_files):
    """The stage had been sealed before, with another key: the old manifest must not speak for new files either."""
    storage = machine("one")
    finish(storage, 1)
    folder = storage.remote.below("model")
    before = folder.listing()
    with flaky_proxy(urlsplit(server.endpoint).port, [StallsAfter(HALF_A_FILE)]) as proxy:
        killed = start(storage, 2, AWS_S3_ENDPOINT=f"http://{proxy.host}")  # never ends by itself: one file hangs
        while sum(before.get(name) != entry for name, entry in folder.listing().items()) < num_files:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert storage.sealed("model") is None
    finish(storage, 2)
    assert storage.damage(storage.sealed("model")) is None
    second = machine("two")
    second.bring(second.sealed("model"))
    assert (second.folder.stage("model") / "29").read_bytes() == bytes([29, 2]) * 50_000
