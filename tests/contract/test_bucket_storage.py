"""A run at s3://bucket/prefix, worked on by machines that share nothing but the bucket."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from instructlab_pipeline.artifacts import MANIFEST, Artifact
from instructlab_pipeline.bucket_storage import BucketStorage
from instructlab_pipeline.cli.status import state_of
from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.params.layers import resolve
from instructlab_pipeline.pipeline import Workshop, perform
from instructlab_pipeline.stage import Stage
from servers.s3_server import s3_server

GIVEN = (("sdg_base_model", "file:m"), ("sdg_repo_url", "./t"), ("output_oci_model_uri", "oci:o:1"))
FILES = {"weights/one": b"1" * 100_000, "weights/two": b"2", "card.md": b"# Card"}


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
    """What a machine of that name has: a storage for the test's run, in scratch space of its own."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)

    def at(name):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return BucketStorage.open(f"s3://runs/team/{request.node.name}")

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


def start(storage, seed):
    given = [f"{name}={text}" for name, text in (*GIVEN, ("train_seed", seed))]
    return subprocess.Popen([sys.executable, "-c", WORKER, storage.remote.uri, *given])


def finish(storage, seed):
    assert start(storage, seed).wait() == 0


@pytest.mark.parametrize("num_files", [1, 20])
def test_a_machine_killed_while_it_uploads_leaves_nothing_that_counts(machine, num_files):
    """The stage had been sealed before, with another key: the old manifest must not speak for new files either."""
    storage = machine("one")
    finish(storage, 1)
    folder = storage.remote.below("model")
    before = folder.listing()
    killed = start(storage, 2)
    while killed.poll() is None and sum(before.get(n) != entry for n, entry in folder.listing().items()) < num_files:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert storage.sealed("model") is None
    finish(storage, 2)
    assert storage.damage(storage.sealed("model")) is None
    second = machine("two")
    second.bring(second.sealed("model"))
    assert (second.folder.stage("model") / "29").read_bytes() == bytes([29, 2]) * 50_000
