import asyncio
import resource
import signal
import string
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.errors import ServiceError
from instructlab_pipeline.sdg.calls import Reply
from instructlab_pipeline.sdg.journal import MOST_SEGMENTS, decode, encode, open_journal
from instructlab_pipeline.sdg.places import Places

keys = st.text(alphabet=string.hexdigits[:16], min_size=64, max_size=64)
replies = st.builds(
    Reply,
    text=st.text(),
    finish=st.sampled_from(["stop", "length", "refused"]),
    tokens_in=st.integers(0, 1 << 40),
    tokens_out=st.integers(0, 1 << 40),
)


def key(number):
    return f"{number:064x}"


def write(folder, numbers, text="reply"):
    async def put():
        journal = open_journal(folder)
        for number in numbers:
            journal.put(key(number), Reply(text=f"{text} {number}", finish="stop"))
        await journal.flush()
        journal.close()

    asyncio.run(put())


def known(folder, numbers):
    journal = open_journal(folder)
    found = [number for number in numbers if journal.get(key(number)) is not None]
    journal.close()
    return found


@given(keys, replies)
def test_a_record_comes_back_as_it_went_in(name, reply):
    assert decode(encode(name, reply)) == (name, reply)
    assert encode(name, reply).count(b"\n") == 1


@given(keys, replies, st.data())
def test_a_record_with_any_byte_changed_is_none(name, reply, data):
    line = bytearray(encode(name, reply))
    line[data.draw(st.integers(0, len(line) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert decode(bytes(line)) is None


def test_replies_are_there_after_reopening(tmp_path):
    write(tmp_path, range(5))
    write(tmp_path, range(5, 8))
    assert known(tmp_path, range(10)) == list(range(8))
    assert len(list(tmp_path.glob("*.journal"))) == 1


def test_a_tail_torn_at_any_byte_costs_the_last_record_alone_and_is_mended(tmp_path):
    write(tmp_path / "whole", range(3))
    (segment,) = (tmp_path / "whole").glob("*.journal")
    content = segment.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(content)):
        folder = tmp_path / str(end)
        folder.mkdir()
        (folder / segment.name).write_bytes(content[:end])
        assert known(folder, range(4)) == [0, 1]
        write(folder, [3])
        assert known(folder, range(4)) == [0, 1, 3]


def test_damage_in_the_middle_costs_its_record_alone(tmp_path):
    write(tmp_path, range(3))
    (segment,) = tmp_path.glob("*.journal")
    segment.write_bytes(segment.read_bytes().replace(b"reply 1", b"reply 7"))
    assert known(tmp_path, range(3)) == [0, 2]


def test_two_writers_at_once_have_a_segment_each_and_learn_from_each_other(tmp_path):
    async def both():
        one, other = open_journal(tmp_path), open_journal(tmp_path)
        for number in range(20):
            (one if number % 2 else other).put(key(number), Reply(text="x" * number, finish="stop"))
        for journal in (one, other):
            journal._looked_at = float("-inf")  # as if a second had passed
            assert all(journal.get(key(number)).text == "x" * number for number in range(20))
            assert len(journal) == 20
        await one.flush()
        await other.flush()
        one.close()
        other.close()

    asyncio.run(both())
    assert len(list(tmp_path.glob("*.journal"))) == 2
    assert known(tmp_path, range(20)) == list(range(20))
    write(tmp_path, [20])
    assert len(list(tmp_path.glob("*.journal"))) == 2


def test_many_segments_are_joined_each_key_once_while_a_reader_goes_on_reading(tmp_path):
    reader = open_journal(tmp_path)
    for number in range(MOST_SEGMENTS + 1):
        write(tmp_path / "elsewhere", [7, number])
        (segment,) = (tmp_path / "elsewhere").glob("*.journal")
        segment.rename(tmp_path / f"{number}.journal")
    reader._looked_at = float("-inf")
    assert reader.get(key(3)).text == "reply 3"
    assert known(tmp_path, range(10)) == list(range(MOST_SEGMENTS + 1))
    assert len(list(tmp_path.glob("*.journal"))) == 2  # the reader's own, and the joined one
    (joined,) = (path for path in tmp_path.glob("*.journal") if path.stat().st_size)
    assert joined.read_bytes().count(b"\n") == MOST_SEGMENTS + 1
    assert reader.get(key(8)).text == "reply 8"
    reader.close()


@given(st.dictionaries(st.binary(min_size=32, max_size=32), st.integers(0, 1 << 62)))
def test_places_are_found_again(wanted):
    places = Places()
    for name, place in wanted.items():
        places.put(name, 0)
        places.put(name, place)
    assert {name: places.get(name) for name in wanted} == wanted
    assert len(places) == len(wanted)
    assert places.get(b"\1" * 33) is None


def test_ten_thousand_places_take_less_than_half_a_megabyte():
    places = Places()
    for number in range(10_000):
        places.put(sha256(str(number).encode()).digest(), number)
    assert all(places.get(sha256(str(number).encode()).digest()) == number for number in range(10_000))
    assert len(places._tails) * 16 < 500_000


def test_a_full_disk_is_said_plainly_and_keeps_what_was_written(tmp_path):
    write(tmp_path, range(3))
    (segment,) = tmp_path.glob("*.journal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segment.stat().st_size + 40, before[1]))
    try:
        with pytest.raises(ServiceError, match="cannot write the journal") as caught:
            write(tmp_path, [3])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "make room" in caught.value.remedy
    assert known(tmp_path, range(5)) == [0, 1, 2]
    write(tmp_path, [4])
    assert known(tmp_path, range(5)) == [0, 1, 2, 4]
