"""Images that other tools have built, out of Debian's docker-registry: compressed layers, deletions, links."""

import io
import json
import tarfile
import urllib.request
from dataclasses import replace

import pytest

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.stage import ModelInputs, fingerprint, run
from instructlab_pipeline.modelcar.source import open_image, schemes_of
from instructlab_pipeline.publish.stage import run as publish
from instructlab_pipeline.stage import Context
from servers.finished_run import finished_run
from servers.registry import registry
from servers.registry import run as client
from servers.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def push(server, tmp_path):
    """Push an image of these layers, each a list of (name, content, or what it links to); its URI."""

    def push(name, *layers, packing="gzip"):
        layout = tmp_path / "layout"
        if not layout.exists():
            client("umoci", "init", "--layout", str(layout))
        client("umoci", "new", "--image", f"{layout}:{name}")
        for number, members in enumerate(layers):
            path = tmp_path / f"{name}-{number}.tar"
            path.write_bytes(tar(members))
            client("umoci", "raw", "add-layer", "--image", f"{layout}:{name}", str(path))
        to = f"docker://{server.host}/org/{name}"
        options = ["--dest-compress-format", packing, "--dest-compress"] if packing != "gzip" else []
        client("skopeo", "copy", "--dest-tls-verify=false", *options, f"oci:{layout}:{name}", to)
        return f"oci://{server.host}/org/{name}:latest"

    return push


@pytest.fixture
def fetch(tmp_path):
    def fetch(uri, folder="run"):
        (tmp_path / folder).mkdir()
        context = Context(folder=tmp_path / folder, cache=tmp_path / "cache", events=Events())
        inputs = ModelInputs(sdg_base_model=uri, output_registry_insecure=True)
        run(inputs, context, schemes_of(inputs))
        return contents(tmp_path / folder / "files")

    return fetch


def tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)
    return buffer.getvalue()


def symlink(target):
    return tarfile.SYMTYPE, target


def hard_link(target):
    return tarfile.LNKTYPE, target


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def below(folder, tiny):
    return [(f"{folder}/{name}", data) for name, data in contents(tiny).items()]


def put_manifest(server, repository, tag, manifest):
    request = urllib.request.Request(
        f"http://{server.host}/v2/{repository}/manifests/{tag}",
        data=json.dumps(manifest).encode(),
        method="PUT",
        headers={"Content-Type": manifest["mediaType"]},
    )
    urllib.request.urlopen(request).close()


OTHERS = [("etc/os-release", b"NAME=other\n"), ("bin", symlink("usr/bin")), ("usr/bin/sh", b"#!")]


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_compressed_layers_are_unpacked(push, fetch, tiny, packing, tmp_path):
    uri = push(f"packed-{packing}", OTHERS, below("models", tiny), packing=packing)
    assert fetch(uri) == contents(tiny)
    assert fetch(uri, "again") == contents(tiny)
    assert not list((tmp_path / "cache" / "models").glob("*/000*"))  # no layer is kept beside its files


def test_a_manifest_says_what_is_there_without_unpacking(push, tiny):
    uri = push("state", below("models", tiny))
    inputs = ModelInputs(sdg_base_model=uri, output_registry_insecure=True)
    assert fingerprint(uri, schemes_of(inputs)) == fingerprint(uri, schemes_of(inputs))
    other = push("state", below("models", tiny), [("models/README.md", b"changed\n")])
    assert fingerprint(other, schemes_of(inputs)) != fingerprint(push("third", OTHERS), schemes_of(inputs))


def test_later_layers_cover_and_delete(push, fetch, tiny):
    old = [("models/old/note.txt", b"old"), ("models/config.json", b"{}"), ("models/gone.json", b"{}")]
    deletions = [("models/old/.wh..wh..opq", b""), ("models/.wh.gone.json", b"")]
    assert fetch(push("covered", old, [*deletions, *below("models", tiny)])) == contents(tiny)


def test_links_are_followed_inside_of_the_image(push, fetch, tiny):
    """As the cache of the Hugging Face Hub lays its files out."""
    blobs = [(f"cache/blobs/{number}", data) for number, data in enumerate(contents(tiny).values())]
    links = [(f"models/{name}", symlink(f"../cache/blobs/{number}")) for number, name in enumerate(contents(tiny))]
    first = next(iter(contents(tiny)))
    twice = [("models/second-name.txt", hard_link(f"models/{first}"))] if first.endswith(".txt") else []
    assert contents(tiny).items() <= fetch(push("linked", blobs, [*links, *twice])).items()


def test_a_model_in_the_one_folder_of_models_is_taken(push, fetch, tiny):
    assert fetch(push("inner", below("models/granite", tiny))) == contents(tiny)


def test_links_out_of_the_image_and_in_circles_lead_nowhere(push, fetch, tiny):
    links = [("models/host", symlink("/etc/hostname")), ("models/up", symlink("../../../../etc/hostname"))]
    circles = [("models/round", symlink("round")), ("models/self", symlink("."))]
    assert fetch(push("leading-out", below("models", tiny), [*links, *circles])) == contents(tiny)


def test_a_name_that_leads_out_of_the_image_is_refused(push, fetch, tiny):
    with pytest.raises(SourceError, match="leads out of its image"):
        fetch(push("escaping", below("models", tiny), [("../../escaped", b"here")]))


def test_a_model_that_lies_elsewhere_is_named(push, fetch, tiny):
    with pytest.raises(SourceError, match=r"has no model below /models; /opt/granite looks like one") as refusal:
        fetch(push("elsewhere", OTHERS, below("opt/granite", tiny)))
    assert "config.json" in refusal.value.remedy


def test_a_model_that_lacks_files_is_refused_by_their_names(push, fetch, tiny):
    part = [(name, data) for name, data in below("models", tiny) if "tokenizer" not in name]
    with pytest.raises(SourceError, match=r"tokenizer\.json is missing"):
        fetch(push("partial", part))


def test_a_layer_that_unpacks_without_end_is_refused(push, fetch, tiny):
    with pytest.raises(SourceError, match="unpacks to more than 100 times its size"):
        fetch(push("bomb", [*below("models", tiny), ("models/zeros", bytes(65 << 20))]))


def test_a_published_model_above_a_compressed_base_image_is_read_in_place(push, fetch, server, tmp_path):
    push("below", OTHERS)
    inputs = finished_run(tmp_path / "finished", uri=f"{server.host}/org/above:latest")
    base = f"{server.host}/org/below:latest"
    context = Context(folder=tmp_path / "publish", cache=tmp_path / "cache", events=Events())
    context.folder.mkdir()
    publish(replace(inputs, output_modelcar_base_image=base), context)
    uri = f"oci://{server.host}/org/above:latest"
    assert all("@" in entry.version for entry in open_image(uri, insecure=True).listing())  # a place in a layer
    assert "model.safetensors" in fetch(uri)


def test_an_image_for_several_platforms_is_read_for_one(server, push, fetch, tiny, tmp_path):
    push("single", below("models", tiny))
    found = json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"][-1]
    platforms = [{"architecture": "arm64", "os": "linux"}, {"architecture": "amd64", "os": "linux"}]
    entry = {name: found[name] for name in ("mediaType", "digest", "size")}
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**entry, "platform": platform} for platform in platforms],
    }
    put_manifest(server, "org/single", "several", index)
    assert fetch(f"oci://{server.host}/org/single:several") == contents(tiny)


def test_what_is_no_container_image_is_refused(server, push, fetch, tiny, tmp_path):
    push("artifact", below("models", tiny))
    index = json.loads((tmp_path / "layout" / "index.json").read_text())
    digest = index["manifests"][0]["digest"].removeprefix("sha256:")
    manifest = json.loads((tmp_path / "layout" / "blobs" / "sha256" / digest).read_text())
    manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
    manifest["layers"][0]["mediaType"] = "application/vnd.foreign"
    put_manifest(server, "org/artifact", "foreign", manifest)
    with pytest.raises(SourceError, match=r"a layer of type application/vnd\.foreign, which is not read"):
        fetch(f"oci://{server.host}/org/artifact:foreign")
