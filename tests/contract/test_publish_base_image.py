"""A model on top of another image: its layers below, its settings kept, and others' tools content."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish.evidence import gather
from instructlab_pipeline.publish.inputs import PublishInputs
from instructlab_pipeline.publish.stage import fingerprint, run
from instructlab_pipeline.publish.verification import verify
from instructlab_pipeline.stage import Context
from servers.finished_run import finished_run
from servers.registry import registry
from servers.registry import run as client

SHELL = b"#!/bin/true\n" * 100


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"), uri="", shards=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """An OCI layout with an image of one compressed layer, made by umoci."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "sh").write_bytes(SHELL)
    image = ["--image", f"{folder}/layout:1"]
    client("umoci", "init", "--layout", f"{folder}/layout")
    client("umoci", "new", *image)
    client("umoci", "insert", "--rootless", *image, f"{folder}/sh", "/bin/sh")
    client("umoci", "config", *image, "--config.env=LANG=C.UTF-8", "--config.user=1001", "--config.label=from=base")
    return folder / "layout"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


def publish(inputs: PublishInputs, folder: Path, **changes) -> dict:
    folder.mkdir(parents=True, exist_ok=True)
    return run(replace(inputs, **changes), Context(folder=folder, cache=folder / "cache", events=Events()))


def copied(base: Path, host: str, *options: str) -> str:
    """The base image in a registry."""
    client("skopeo", "copy", *options, "--dest-tls-verify=false", f"oci:{base}:1", f"docker://{host}/org/base:1")
    return f"{host}/org/base:1"


def assert_stands_on_the_base(layout: Path, tag: str, bundle: Path) -> None:
    client("umoci", "unpack", "--rootless", "--image", f"{layout}:{tag}", str(bundle))
    assert (bundle / "rootfs" / "bin" / "sh").read_bytes() == SHELL
    assert (bundle / "rootfs" / "models" / "config.json").exists()
    seen = json.loads(client("skopeo", "inspect", "--config", f"oci:{layout}:{tag}"))
    assert seen["config"]["Env"][-1] == "LANG=C.UTF-8"
    assert seen["config"]["User"] == "1001"
    assert seen["config"]["Labels"]["from"] == "base"
    assert seen["config"]["Labels"]["org.opencontainers.image.title"] == "river-model"
    assert len([entry for entry in seen["history"] if not entry.get("empty_layer")]) == len(seen["rootfs"]["diff_ids"])


def test_a_model_stands_on_a_base_image_from_a_layout(finished, base, tmp_path):
    image = f"oci:{tmp_path}/images:1"
    publish(finished, tmp_path / "p", output_oci_model_uri=image, output_modelcar_base_image=f"oci:{base}:1")
    assert_stands_on_the_base(tmp_path / "images", "1", tmp_path / "bundle")
    assert verify(gather(image, insecure=False), None).base_image == "oci:layout:1"  # and not where the layout lies


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_a_base_image_in_the_same_registry_is_mounted_and_not_sent(finished, base, server, tmp_path, form):
    name = copied(base, server.host, f"--format={form}")
    image = f"{server.host}/org/on-{form}:1"
    before = len(server.requests())
    facts = publish(finished, tmp_path / "p", output_oci_model_uri=image, output_modelcar_base_image=name)
    requests = server.requests()[before:]
    assert not [line for line in requests if line.startswith("GET /v2/org/base/blobs/") and "config" not in line][1:]
    assert facts["layers_sent"] == 2  # the shard and the small files
    client("skopeo", "copy", "--src-tls-verify=false", f"docker://{image}", f"oci:{tmp_path}/images:1")
    assert_stands_on_the_base(tmp_path / "images", "1", tmp_path / "bundle")


def test_a_base_image_from_another_place_is_copied(finished, base, server, tmp_path):
    image = f"{server.host}/org/copied:1"
    changes = {"output_oci_model_uri": image, "output_modelcar_base_image": f"oci:{base}:1"}
    assert publish(finished, tmp_path / "p", **changes)["layers_sent"] == 3
    assert publish(finished, tmp_path / "again", **changes)["layers_sent"] == 0


def test_of_several_platforms_the_right_one_is_taken(finished, base, tmp_path):
    layout = tmp_path / "many"
    client("cp", "-r", str(base), str(layout))
    index = json.loads((layout / "index.json").read_text())
    (only,) = index["manifests"]
    plain = {name: only[name] for name in ("mediaType", "digest", "size")}
    other = {**plain, "digest": f"sha256:{'0' * 64}", "platform": {"os": "linux", "architecture": "arm64"}}
    ours = {**plain, "platform": {"os": "linux", "architecture": "amd64"}}
    name_index(layout, [other, ours], tag="many")
    name_index(layout, [other], tag="foreign")
    image = f"oci:{tmp_path}/images:1"
    publish(finished, tmp_path / "p", output_oci_model_uri=image, output_modelcar_base_image=f"oci:{layout}:many")
    assert_stands_on_the_base(tmp_path / "images", "1", tmp_path / "bundle")
    with pytest.raises(SourceError, match="nothing for linux/amd64"):
        publish(
            finished, tmp_path / "q", output_oci_model_uri=image, output_modelcar_base_image=f"oci:{layout}:foreign"
        )


def name_index(layout: Path, manifests: list[dict], *, tag: str) -> None:
    text = json.dumps(
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
    )
    digest = hashlib.sha256(text.encode()).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_text(text)
    entry = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": f"sha256:{digest}", "size": len(text)}
    index = json.loads((layout / "index.json").read_text())
    index["manifests"].append({**entry, "annotations": {"org.opencontainers.image.ref.name": tag}})
    (layout / "index.json").write_text(json.dumps(index))


def test_a_base_image_that_is_not_there_is_named_before_anything_is_sent(finished, base, server, tmp_path):
    changes = {
        "output_oci_model_uri": f"{server.host}/org/none:1",
        "output_modelcar_base_image": f"{server.host}/org/nowhere:1",
    }
    with pytest.raises(SourceError, match=r"there is no base image .*/org/nowhere:1"):
        publish(finished, tmp_path / "p", **changes)
    assert not any("org/none" in line for line in server.requests())


def test_a_base_image_that_moved_is_noticed(finished, base, tmp_path):
    layout = tmp_path / "moving"
    client("cp", "-r", str(base), str(layout))
    inputs = replace(finished, output_modelcar_base_image=f"oci:{layout}:1", output_oci_model_uri=f"oci:{tmp_path}/i:1")
    before = fingerprint(inputs)
    assert before == fingerprint(inputs)
    client("umoci", "config", "--image", f"{layout}:1", "--config.user=1002")
    assert fingerprint(inputs) != before
