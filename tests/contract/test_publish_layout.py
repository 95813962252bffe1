"""Publishing to an OCI layout on disk, read by clients of other makers."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish.stage import run
from instructlab_pipeline.stage import Context
from servers.finished_run import finished_run, with_one_shard_changed, write_json
from servers.registry import require
from servers.registry import run as client


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"), uri="")


def context_in(folder: Path) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    return Context(folder=folder, cache=folder / "cache", events=Events(path=folder.parent / "events.jsonl"))


def inspected(layout: Path, tag: str) -> dict:
    require("skopeo", "umoci")
    return json.loads(client("skopeo", "inspect", f"oci:{layout}:{tag}"))


def test_a_layout_is_read_by_skopeo_under_both_tags(finished, tmp_path):
    uri = f"oci:{tmp_path}/images:latest"
    facts = run(replace(finished, output_oci_model_uri=uri), context_in(tmp_path / "publish"))
    for tag in ("latest", "0.1.0"):
        seen = inspected(tmp_path / "images", tag)
        assert seen["Digest"] == facts["digest"]
        assert seen["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    assert facts["reference"] == uri


def test_other_images_in_the_same_layout_are_kept(finished, tmp_path):
    layout = tmp_path / "images"
    first = run(replace(finished, output_oci_model_uri=f"oci:{layout}:one"), context_in(tmp_path / "one"))
    changed = with_one_shard_changed(finished, tmp_path / "run")
    changed = replace(changed, output_oci_model_uri=f"oci:{layout}:two", output_model_version="0.2.0")
    second = run(changed, context_in(tmp_path / "two"))
    assert inspected(layout, "one")["Digest"] == inspected(layout, "0.1.0")["Digest"] == first["digest"]
    assert inspected(layout, "two")["Digest"] == inspected(layout, "0.2.0")["Digest"] == second["digest"]
    assert first["digest"] != second["digest"]


def test_publishing_again_writes_nothing(finished, tmp_path):
    inputs = replace(finished, output_oci_model_uri=f"oci:{tmp_path}/images:latest")
    run(inputs, context_in(tmp_path / "one"))
    again = run(inputs, context_in(tmp_path / "two"))
    assert (again["layers_sent"], again["bytes_sent"]) == (0, 0)
    assert (tmp_path / "one" / "published.json").read_bytes() == (tmp_path / "two" / "published.json").read_bytes()


def test_umoci_unpacks_the_layout(finished, tmp_path):
    require("umoci")
    run(replace(finished, output_oci_model_uri=f"oci:{tmp_path}/images:latest"), context_in(tmp_path / "publish"))
    client("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/images:latest", str(tmp_path / "bundle"))
    for file in (finished.train_phase_2 / "model").rglob("*.*"):
        target = tmp_path / "bundle" / "rootfs" / "models" / file.relative_to(finished.train_phase_2 / "model")
        assert target.read_bytes() == file.read_bytes()


def test_names_that_are_long_or_foreign_come_out_as_they_were(tmp_path):
    trained = tmp_path / "run" / "train_phase_2" / "model"
    names = (
        "with a space.txt",
        "wörter/水.txt",
        f"deep/{'d' * 120}/{'f' * 200}.json",
        f"{'e' * 251}.txt",
        "-rf",
        "a\\b",
    )
    for name in names:
        write_json(trained / name, name)
    inputs = finished_run(tmp_path / "run", uri=f"oci:{tmp_path}/images:latest", shards=1, shard_bytes=1000)
    run(inputs, context_in(tmp_path / "publish"))
    client("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/images:latest", str(tmp_path / "bundle"))
    for name in names:
        unpacked = tmp_path / "bundle" / "rootfs" / "models" / name
        assert json.loads(unpacked.read_text()) == name
        assert unpacked.stat().st_mode & 0o777 == 0o644


def test_two_runs_at_once_keep_each_others_tags(finished, tmp_path):
    layout = tmp_path / "images"

    def publish(tag: str) -> None:
        inputs = replace(finished, output_oci_model_uri=f"oci:{layout}:{tag}", output_model_version=f"1.0.0-{tag}")
        run(inputs, context_in(tmp_path / tag / "publish"))

    threads = [threading.Thread(target=publish, args=[tag]) for tag in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index = json.loads((layout / "index.json").read_text())
    tags = {entry.get("annotations", {}).get("org.opencontainers.image.ref.name") for entry in index["manifests"]}
    assert tags - {None} == {"a", "b", "c", "1.0.0-a", "1.0.0-b", "1.0.0-c"}


def test_a_folder_that_cannot_be_written_is_named(finished, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceError, match=f"writing the OCI layout {tmp_path}/file"):
        run(replace(finished, output_oci_model_uri=f"oci:{tmp_path}/file:1"), context_in(tmp_path / "publish"))


def test_a_foreign_index_is_not_overwritten(finished, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "index.json").write_text("[1]")
    with pytest.raises(UsageError, match="not the index of an OCI layout"):
        run(replace(finished, output_oci_model_uri=f"oci:{tmp_path}/images:1"), context_in(tmp_path / "publish"))
    assert (tmp_path / "images" / "index.json").read_text() == "[1]"


def test_the_same_files_give_the_same_digest_in_another_process(finished, tmp_path):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from servers.finished_run import finished_run
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish.stage import run
from instructlab_pipeline.stage import Context
folder = Path(sys.argv[2])
inputs = finished_run(folder / "run", uri=f"oci:{folder}/images:latest")
sys.stdout.write(run(inputs, Context(folder=folder, cache=folder, events=Events()))["digest"])
"""
    argv = [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(tmp_path / "other")]
    elsewhere = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    there = subprocess.run(argv, capture_output=True, text=True, check=True, env=elsewhere, umask=0o077)
    inputs = replace(finished, output_oci_model_uri=f"oci:{tmp_path}/images:latest")
    assert there.stdout == run(inputs, context_in(tmp_path / "publish"))["digest"]
