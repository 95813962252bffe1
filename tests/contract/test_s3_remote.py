"""Folders in a bucket, leases and mirrors, on a real S3 server."""

import subprocess
import sys
import time

import pytest

from instructlab_pipeline.errors import ServiceError, SourceError, UsageError
from instructlab_pipeline.holder import this_process
from instructlab_pipeline.s3.lease import Lease, holder_of
from instructlab_pipeline.s3.mirror import Mirror, kept_up
from instructlab_pipeline.s3.remote import PART_BYTES, RemoteFolder, Wanted
from servers.process import awaited
from servers.s3_server import s3_server

LEASE = """
import sys, time
from pathlib import Path
from instructlab_pipeline.holder import this_process
from instructlab_pipeline.s3.lease import Lease
from instructlab_pipeline.s3.remote import RemoteFolder
notes = RemoteFolder.open(sys.argv[1], named_by="--run-dir")
with Lease(notes=notes, holder={**this_process(), "host": sys.argv[3]}, renewed_every_s=0.3).held():
    Path(sys.argv[2]).write_text("held")
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def server():
    with s3_server() as started:
        started.create_bucket("runs")
        yield started


@pytest.fixture
def remote(server, monkeypatch, request):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return RemoteFolder.open(f"s3://runs/{request.node.name}", named_by="--run-dir")


def test_files_of_every_size_come_back_as_they_were(remote, tmp_path):
    contents = {"empty": b"", "a/small": b"1", "a/b/large": bytes(range(256)) * (PART_BYTES // 256) + b"and more"}
    for name, content in contents.items():
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(content)
    remote.upload({name: tmp_path / "from" / name for name in contents}, there={})
    remote.download(
        {name: Wanted(target=tmp_path / "to" / name, size=entry.size) for name, entry in remote.listing().items()}
    )
    assert {name: (tmp_path / "to" / name).read_bytes() for name in contents} == contents
    assert sorted(path.name for path in (tmp_path / "to").rglob("*") if path.is_file()) == ["empty", "large", "small"]


def test_only_what_has_changed_is_sent_again(remote, tmp_path):
    files = {name: tmp_path / name for name in ("small", "large")}
    files["small"].write_bytes(b"1")
    files["large"].write_bytes(b"x" * (PART_BYTES + 1))
    remote.upload(files, there={})
    before = remote.listing()
    files["small"].write_bytes(b"2")
    remote.upload(files, there=before)
    after = remote.listing()
    assert after["small"] != before["small"]
    assert after["large"] == before["large"]


def test_a_file_that_is_not_what_was_promised_is_refused_and_leaves_nothing(remote, tmp_path):
    remote.write("model", b"other bytes")
    wanted = Wanted(target=tmp_path / "model", size=11, sha256="0" * 64)
    with pytest.raises(ServiceError, match="is not what its manifest says"):
        remote.download({"model": wanted})
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_is_not_there_is_named_with_the_option(remote):
    other = RemoteFolder.open("s3://no-such-bucket/run", named_by="--run-dir")
    with pytest.raises(SourceError, match="no such bucket") as raised:
        other.read("run.json")
    assert "--run-dir" in raised.value.remedy


@pytest.mark.parametrize(
    "uri",
    [
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3://Bucket/x",
        "s3://bucket/x y",
        "s3://bucket/a/../b",
        "s3://bucket/a//b",
    ],
)
def test_what_is_no_place_in_a_bucket_is_refused(uri):
    with pytest.raises(UsageError, match="is no place in a bucket"):
        RemoteFolder.open(uri, named_by="--run-dir")


@pytest.fixture
def other_holder(remote, tmp_path):
    """Another process, on a machine of the name that it is given, that holds the lease."""
    started = []

    def start(host):
        process = subprocess.Popen([sys.executable, "-c", LEASE, remote.uri, str(tmp_path / "held"), host])
        started.append(process)
        awaited(tmp_path / "held")
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_lease_is_refused_while_its_holder_lives(remote, other_holder):
    process = other_holder("elsewhere")
    with (
        pytest.raises(ServiceError, match=f"held by process {process.pid} of .* on elsewhere"),
        Lease(notes=remote, holder=this_process()).held(),
    ):
        pass
    assert "on elsewhere" in holder_of(remote)


def test_the_lease_of_a_silent_holder_is_taken_over_and_the_other_is_told(remote, other_holder):
    other_holder("elsewhere").kill()
    lost = Lease(notes=remote, holder=this_process(), renewed_every_s=0.3, expires_s=2)
    with lost.held():
        lost.require()
        remote.create(f"{lost._number + 1:08d}.json", b"{}")
        with pytest.raises(ServiceError, match="was taken over by another process"):
            lost.require()


def test_a_holder_that_died_on_this_machine_is_not_waited_for(remote, other_holder):
    process = other_holder(this_process()["host"])
    process.kill()
    process.wait()
    started = time.monotonic()
    with Lease(notes=remote, holder=this_process(), expires_s=300).held():
        assert time.monotonic() - started < 100
    assert holder_of(remote) is None


def test_work_that_one_machine_left_is_found_by_the_next(remote, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "step-1").mkdir(parents=True)
    (here / "journal").write_text("one\n")
    (here / "step-1" / "weights").write_text("w")
    (here / "step-1" / ".metadata").write_text("m")
    (here / "step-1" / "manifest.json").write_text("{}")
    (here / ".draft").write_text("unfinished")
    with kept_up([Mirror(folder=here, remote=remote)]):
        pass
    second = Mirror(folder=there, remote=remote)
    second.down()
    copied = sorted(path.name for path in there.rglob("*") if path.is_file())
    assert copied == [".metadata", "journal", "manifest.json", "weights"]
    (there / "journal").write_text("one\ntwo\n")
    (there / "step-1" / "weights").unlink()
    second.up()
    sizes = {"journal": 8, "step-1/.metadata": 1, "step-1/manifest.json": 2}
    assert {name: entry.size for name, entry in remote.listing().items()} == sizes
