import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import pytest

from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.cache import fetched
from instructlab_pipeline.model.folder import FolderSource
from instructlab_pipeline.model.pieces import NOTE_BYTES

SIZES = {"model.safetensors": 2 * NOTE_BYTES + 12345, "config.json": 17, "empty": 0}


class CountingSource(FolderSource):
    """Counts the bytes that are read, and ends early when told to."""

    def __init__(self, uri, *, ends_after=None):
        super().__init__(uri)
        self.num_bytes, self.ends_after, self.lock = 0, ends_after, Lock()

    def read(self, entry, start, end):
        for data in super().read(entry, start, end):
            with self.lock:
                if self.ends_after is not None and self.num_bytes >= self.ends_after:
                    raise ServiceError("the server went away", remedy="wait")
                self.num_bytes += len(data)
            yield data


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, size in SIZES.items():
        (folder / name).write_bytes(os.urandom(size))
    return folder


def assert_same(folder, cached):
    for name in SIZES:
        assert (cached / name).read_bytes() == (folder / name).read_bytes()
    assert sorted(path.name for path in cached.iterdir()) == sorted(SIZES)


def test_a_file_of_many_pieces_arrives_whole(folder, tmp_path):
    source = CountingSource(f"file:{folder}")
    assert_same(folder, fetched(source, source.listing(), tmp_path / "cache", Events()))
    assert source.num_bytes == sum(SIZES.values())


def test_a_fetch_that_broke_off_goes_on_inside_the_file(folder, tmp_path):
    broken = CountingSource(f"file:{folder}", ends_after=NOTE_BYTES)
    with pytest.raises(ServiceError, match="went away"):
        fetched(broken, broken.listing(), tmp_path / "cache", Events())
    source = CountingSource(f"file:{folder}")
    assert_same(folder, fetched(source, source.listing(), tmp_path / "cache", Events()))
    assert source.num_bytes + broken.num_bytes == sum(SIZES.values())


def test_two_runs_that_ask_at_once_fetch_once(folder, tmp_path):
    sources = [CountingSource(f"file:{folder}") for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda source: fetched(source, source.listing(), tmp_path / "cache", Events()), sources)
        for cached in results:
            assert_same(folder, cached)
    assert sum(source.num_bytes for source in sources) == sum(SIZES.values())


def test_a_model_of_which_one_file_changed_costs_that_file_alone(folder, tmp_path):
    before = FolderSource(f"file:{folder}")
    fetched(before, before.listing(), tmp_path / "cache", Events())
    (folder / "config.json").write_text('{"changed": true}')
    (folder / "new.json").write_text("{}")
    source = CountingSource(f"file:{folder}")
    cached = fetched(source, source.listing(), tmp_path / "cache", Events())
    for name in (*SIZES, "new.json"):
        assert (cached / name).read_bytes() == (folder / name).read_bytes()
    assert source.num_bytes == len('{"changed": true}') + len("{}")


@pytest.mark.parametrize("left", [b"", b"cut short", None])
def test_a_file_that_was_cut_short_in_the_cache_is_fetched_again(folder, tmp_path, left):
    source = FolderSource(f"file:{folder}")
    cached = fetched(source, source.listing(), tmp_path / "cache", Events())
    if left is None:
        (cached / "config.json").unlink()
    else:
        (cached / "config.json").write_bytes(left)
    assert_same(folder, fetched(source, source.listing(), tmp_path / "cache", Events()))


@pytest.mark.parametrize("text", ["", "{broken", "[1, 2]", '["a"]', "[[1, 2]]", "null"])
def test_a_listing_in_the_cache_that_cannot_be_read_costs_nothing_but_work(folder, tmp_path, text):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/of others.listing").write_text(text)
    source = FolderSource(f"file:{folder}")
    assert_same(folder, fetched(source, source.listing(), tmp_path / "cache", Events()))


def test_names_that_look_like_our_own_files_are_names_like_others(tmp_path):
    folder = tmp_path / "model"
    names = ("model.safetensors", "model.safetensors.part", "files/a", "notes/a", "unpacked/a", "work/a")
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes([number]) * (1000 + number))
    for ends_after in (0, 900):
        broken = CountingSource(f"file:{folder}", ends_after=ends_after)
        with pytest.raises(ServiceError, match="went away"):
            fetched(broken, broken.listing(), tmp_path / "cache", Events())
    source = FolderSource(f"file:{folder}")
    cached = fetched(source, source.listing(), tmp_path / "cache", Events())
    assert {name: (cached / name).read_bytes() for name in names} == {
        name: (folder / name).read_bytes() for name in names
    }
    assert {path.name for path in cached.iterdir() if path.name.startswith(".")} == set()


def test_a_model_may_have_more_files_than_a_process_may_have_open(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number}.json").write_text(str(number))
    source = FolderSource(f"file:{folder}")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 60, before[1]))
    try:
        cached = fetched(source, source.listing(), tmp_path / "cache", Events())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [int((cached / f"{number}.json").read_text()) for number in range(400)] == list(range(400))


def test_a_file_that_changes_while_it_is_copied_is_noticed(folder, tmp_path):
    source = FolderSource(f"file:{folder}")
    entries = source.listing()
    (folder / "config.json").write_text("{}")
    with pytest.raises(SourceError, match="changed while it was copied"):
        fetched(source, entries, tmp_path / "cache", Events())


def test_a_cache_that_cannot_be_written_is_told(folder, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    source = FolderSource(f"file:{folder}")
    with pytest.raises(ServiceError, match="fetching file:"):
        fetched(source, source.listing(), tmp_path / "cache", Events())
