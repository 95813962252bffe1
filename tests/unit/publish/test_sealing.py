"""What sealing leaves for publishing: the digests of the layers that files will be alone in."""

import asyncio
import os

import pytest

from instructlab_pipeline import artifacts
from instructlab_pipeline.publish.blob import SealedFile
from instructlab_pipeline.publish.image import LARGE_BYTES, Entry, Layer
from instructlab_pipeline.publish.memory import MEMORY, Memory
from instructlab_pipeline.publish.sealing import layer_readers


def sealed(folder, *, cache):
    return artifacts.seal(folder, kind="train_phase_2", key="k", inputs={}, facts={}, readers=layer_readers(cache))


@pytest.mark.parametrize("size", [LARGE_BYTES, LARGE_BYTES + 1, LARGE_BYTES + 511])
@pytest.mark.parametrize("path", ["model.safetensors", "deep/er/model-00001-of-00002.safetensors"])
def test_sealing_leaves_the_digest_of_the_layer_that_publishing_makes(tmp_path, path, size):
    place = tmp_path / "stage" / "model" / path
    place.parent.mkdir(parents=True)
    place.write_bytes(os.urandom(size))

    [file] = sealed(tmp_path / "stage", cache=tmp_path / "cache").files

    layer = Layer(entries=(Entry(path=path, content=SealedFile(path=place, size=size, sha256=file.sha256)),))
    remembered = Memory(tmp_path / "cache" / MEMORY).digest(layer)
    assert remembered == asyncio.run(layer.blob.digest())


def test_files_that_get_no_layer_of_their_own_leave_nothing(tmp_path):
    (tmp_path / "stage" / "model").mkdir(parents=True)
    (tmp_path / "stage" / "checkpoints").mkdir()
    (tmp_path / "stage" / "model" / "config.json").write_text("{}")
    (tmp_path / "stage" / "checkpoints" / "state").write_bytes(bytes(LARGE_BYTES))
    sealed(tmp_path / "stage", cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / MEMORY).exists()


@pytest.mark.parametrize("left", [b"", b"sha256:12", b"\x00\xff" * 40])
def test_what_a_broken_disk_left_of_a_digest_is_not_remembered(tmp_path, left):
    layer = Layer(entries=(Entry(path="config.json", content=b"{}"),))
    memory = Memory(tmp_path)
    memory.keep(layer.identity, f"sha256:{'1' * 64}")
    assert memory.digest(layer) == f"sha256:{'1' * 64}"
    (tmp_path / layer.identity).write_bytes(left)
    assert memory.digest(layer) is None
