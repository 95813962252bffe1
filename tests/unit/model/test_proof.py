import hashlib
import os
import random

import pytest

from instructlab_pipeline.model.proof import Proof
from instructlab_pipeline.model.source import Entry
from instructlab_pipeline.model.spans import Spans
from instructlab_pipeline.s3.e_tags import MEBIBYTE, e_tag

SIZE = 17 * MEBIBYTE + 12345
BLOCK = MEBIBYTE // 2


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("proof") / "model.safetensors"
    path.write_bytes(os.urandom(SIZE))
    return path


def proof_of(path, version):
    """Of a file whose pieces arrive in any order, some offered as they come, some only read again."""
    proof, there = Proof(Entry(name=path.name, size=SIZE, version=version)), Spans()
    pieces = list(range(0, SIZE, BLOCK))
    random.Random(7).shuffle(pieces)
    with path.open("rb") as file:
        for number, start in enumerate(pieces):
            end = min(start + BLOCK, SIZE)
            if number % 3:
                proof.offer(start, memoryview(os.pread(file.fileno(), BLOCK, start)))
            there.add(start, end)
            proof.catch_up(file.fileno(), (start, end), there.reach)
        proof.catch_up(file.fileno(), (0, SIZE), there.reach, wait=True)
    return proof


def versions(path):
    data = path.read_bytes()
    yield hashlib.md5(data).hexdigest()
    yield f"sha256:{hashlib.sha256(data).hexdigest()}"
    for part_bytes in (5 * MEBIBYTE, 8 * MEBIBYTE, 9 * MEBIBYTE, 16 * MEBIBYTE, SIZE):
        yield e_tag(path, part_bytes=part_bytes, always_in_parts=True)


def test_whatever_the_digest_and_the_order_of_pieces_the_right_bytes_are_proven(path):
    for version in versions(path):
        assert proof_of(path, version).holds(path), version


def test_other_bytes_are_never_proven(path, tmp_path):
    other = tmp_path / path.name
    data = bytearray(path.read_bytes())
    data[SIZE // 2] ^= 1
    other.write_bytes(data)
    for version in versions(path):
        assert not proof_of(other, version).holds(other), version


@pytest.mark.parametrize("version", ["", "W/abc", "/a/path:123", "0x8DAABC123", "ABCDEF0123456789-2"])
def test_a_version_that_is_no_digest_proves_nothing(version):
    assert not Proof(Entry(name="a", size=5, version=version)).is_possible


def test_an_empty_file_has_a_digest_too(tmp_path):
    (tmp_path / "empty").touch()
    proof = Proof(Entry(name="empty", size=0, version=hashlib.md5(b"").hexdigest()))
    assert proof.is_possible
    assert proof.holds(tmp_path / "empty")
