"""The bytes of layers, read by Python's own tar reader and hashed by others."""

import asyncio
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.publish.blob import Blob, SealedFile
from instructlab_pipeline.publish.image import LARGE_BYTES, MOST_ALONE, Entry, Layer, layers


def content_of(blob: Blob, start: int = 0) -> bytes:
    return b"".join(blob.chunks(start))


def digest_of(blob: Blob) -> str:
    return asyncio.run(blob.digest())


def sealed_file(path: Path, content: bytes) -> SealedFile:
    path.write_bytes(content)
    return SealedFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())


names = st.builds(
    str.__add__,
    st.from_regex(r"[a-z0-9 é水]{1,8}(/[a-z0-9]{1,60}){0,3}", fullmatch=True),
    st.sampled_from(["", f"/{'f' * 200}"]),
)


@given(st.dictionaries(names, st.binary(max_size=1500), min_size=1, max_size=5))
def test_a_layer_is_a_tar_of_its_files_below_models(files):
    files = {path: content for path, content in files.items() if not any(p.startswith(f"{path}/") for p in files)}
    blob = Layer(entries=tuple(Entry(path=path, content=content) for path, content in sorted(files.items()))).blob
    whole = content_of(blob)
    assert len(whole) == blob.size
    assert digest_of(blob) == f"sha256:{hashlib.sha256(whole).hexdigest()}"

    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        members = tar.getmembers()
        read = {member.name: tar.extractfile(member).read() for member in members if member.isfile()}
    assert read == {f"models/{path}": content for path, content in files.items()}
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert all(m.mode == (0o755 if m.isdir() else 0o644) for m in members)
    folders = [m.name for m in members if m.isdir()]
    assert folders == sorted({str(parent) for name in read for parent in list(Path(name).parents)[:-1]})


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 220))
def test_a_blob_is_read_from_anywhere(pieces, start):
    assert content_of(Blob(tuple(pieces)), start) == b"".join(pieces)[start:]


@given(st.integers(0, 60))
@settings(max_examples=20)
def test_a_blob_of_files_is_read_from_anywhere(tmp_path_factory, start):
    file = sealed_file(tmp_path_factory.mktemp("blob") / "file", bytes(range(30)))
    assert (
        content_of(Blob((b"abc", file, b"xyz", file)), start)
        == (b"abc" + bytes(range(30)) + b"xyz" + bytes(range(30)))[start:]
    )


def test_a_large_file_has_its_own_layer_and_small_ones_share_the_last(tmp_path):
    large = SealedFile(path=tmp_path / "none", size=LARGE_BYTES, sha256="")
    planned = layers(
        [
            Entry(path="z.safetensors", content=large),
            Entry(path="b.json", content=b"{}"),
            Entry(path="a.safetensors", content=large),
            Entry(path="a.json", content=bytes(LARGE_BYTES - 1)),
        ]
    )
    assert [[entry.path for entry in layer.entries] for layer in planned] == [
        ["a.safetensors"],
        ["z.safetensors"],
        ["a.json", "b.json"],
    ]


def test_no_more_files_are_alone_than_runtimes_mount(tmp_path):
    files = [Entry(path=f"{n:03}", content=SealedFile(path=tmp_path, size=LARGE_BYTES, sha256="")) for n in range(120)]
    made = layers([*reversed(files), Entry(path="0", content=b"")])
    assert [len(layer.entries) for layer in made] == [1] * MOST_ALONE + [21]
    assert [entry.path for entry in made[-1].entries] == ["0", *(f"{n:03}" for n in range(MOST_ALONE, 120))]


def test_the_order_in_which_files_are_found_does_not_matter():
    entries = [Entry(path=name, content=name.encode()) for name in ("b", "a/c", "a")]
    there, back = layers(entries), layers(reversed(entries))
    assert [digest_of(layer.blob) for layer in there] == [digest_of(layer.blob) for layer in back]


def test_a_layers_identity_is_told_without_reading_its_files(tmp_path):
    file = SealedFile(path=tmp_path / "none", size=5, sha256="1" * 64)
    moved = SealedFile(path=tmp_path / "elsewhere", size=5, sha256="1" * 64)
    other = SealedFile(path=tmp_path / "none", size=5, sha256="2" * 64)
    first, second, third = (Layer(entries=(Entry(path="a", content=each),)) for each in (file, moved, other))
    assert first.identity == second.identity != third.identity
    assert first.identity != Layer(entries=(Entry(path="b", content=file),)).identity


def test_a_file_of_many_gigabytes_has_a_header(tmp_path):
    huge = SealedFile(path=tmp_path / "none", size=20 << 30, sha256="")
    assert Layer(entries=(Entry(path="huge", content=huge),)).blob.size > 20 << 30


@pytest.mark.parametrize("changed", [b"other bytes", b"short", b"longer than it was"])
def test_a_file_that_is_not_what_was_sealed_is_refused(tmp_path, changed):
    file = sealed_file(tmp_path / "file", b"these bytes")
    file.path.write_bytes(changed)
    with pytest.raises(SourceError, match="was changed after it was sealed"):
        digest_of(Blob((file,)))
