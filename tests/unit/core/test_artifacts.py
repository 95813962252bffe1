import json
import stat

import pytest

from instructlab_pipeline import artifacts
from instructlab_pipeline.errors import SourceError


def made(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return artifacts.seal(folder, kind="sdg", key="k", inputs={"taxonomy": "t"}, facts={"samples": 3})


def test_a_sealed_folder_reads_back_as_it_was_sealed(tmp_path):
    sealed = made(tmp_path, a="one", b__c="two")
    assert artifacts.read(tmp_path) == sealed
    assert [file.path for file in sealed.files] == ["a", "b/c"]


def test_a_folder_without_manifest_is_no_artifact(tmp_path):
    (tmp_path / "samples.jsonl").write_text("{}")
    assert artifacts.read(tmp_path) is None


def test_the_digest_speaks_for_content_and_not_for_work_or_place(tmp_path):
    first = made(tmp_path / "x", a="one", work__journal="1")
    second = made(tmp_path / "y", a="one", work__journal="2")
    third = made(tmp_path / "z", a="other")
    assert first.digest == second.digest != third.digest
    assert [file.path for file in second.files] == ["a"]


def test_sealed_files_are_read_only_and_world_readable(tmp_path):
    made(tmp_path, a="one")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o444


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_text("longer than it was"), "bytes instead of"),
        (lambda path: path.write_text("owe"), "was changed after it was sealed"),
    ],
)
def test_damage_to_a_sealed_file_is_named(tmp_path, harm, complaint):
    sealed = made(tmp_path, a="one")
    assert artifacts.damage(sealed) is None
    (tmp_path / "a").chmod(0o644)
    harm(tmp_path / "a")
    assert complaint in artifacts.damage(sealed)


def test_unsealing_keeps_only_the_work_folder(tmp_path):
    made(tmp_path, a="one", b__c="two", work__journal="kept")
    artifacts.unseal(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert (tmp_path / "work" / "journal").read_text() == "kept"


def test_a_copy_elsewhere_is_the_same_artifact(tmp_path):
    sealed = made(tmp_path / "x", a="one", b__c="two", work__journal="stays")
    copied = artifacts.copy_sealed(sealed, tmp_path / "y")
    assert (copied.digest, copied.facts) == (sealed.digest, sealed.facts)
    assert artifacts.damage(copied) is None
    assert not (tmp_path / "y" / "work").exists()


def test_a_manifest_that_is_not_ours_is_refused_by_name(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"schemaVersion": 2}))
    with pytest.raises(SourceError, match=r"manifest\.json is not a manifest of ours"):
        artifacts.read(tmp_path)


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert artifacts.digest_of({"a": 1, "b": [2, None]}) == artifacts.digest_of({"b": [2, None], "a": 1})


def records(count):
    return [{"number": number, "text": "wörds " * (number % 7)} for number in range(count)]


def test_many_records_go_on_in_further_files_that_read_as_one(tmp_path):
    path = tmp_path / "samples.jsonl"
    assert artifacts.write_jsonl(path, records(50), shard_bytes=400) == 50
    shards = artifacts.shards_of(path)
    assert [shard.name for shard in shards[:2]] == ["samples.jsonl", "samples-00002.jsonl"]
    assert all(shard.stat().st_size <= 400 for shard in shards)
    assert list(artifacts.read_jsonl(path)) == records(50)


def test_few_records_are_one_file(tmp_path):
    artifacts.write_jsonl(tmp_path / "samples.jsonl", records(3))
    assert [path.name for path in tmp_path.iterdir()] == ["samples.jsonl"]
    assert artifacts.shards_digest(tmp_path / "samples.jsonl") == artifacts.file_digest(tmp_path / "samples.jsonl")


def test_a_record_that_is_longer_than_a_shard_is_not_cut(tmp_path):
    path = tmp_path / "samples.jsonl"
    artifacts.write_jsonl(path, records(9), shard_bytes=1)
    assert len(artifacts.shards_of(path)) == 9
    assert list(artifacts.read_jsonl(path)) == records(9)


def test_shards_of_an_earlier_and_longer_set_do_not_stay(tmp_path):
    path = tmp_path / "samples.jsonl"
    (tmp_path / "samples-notes.jsonl").write_text("another file")
    artifacts.write_jsonl(path, records(50), shard_bytes=400)
    before = artifacts.shards_digest(path)
    artifacts.write_jsonl(path, records(20), shard_bytes=400)
    assert list(artifacts.read_jsonl(path)) == records(20)
    assert artifacts.shards_digest(path) != before
    assert (tmp_path / "samples-notes.jsonl").exists()
