from itertools import count, pairwise
from operator import itemgetter

from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.model.shares import FIRST, LARGEST, SMALLEST, Shares

MEBIBYTE = 1 << 20
gaps = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400)), max_size=4).map(
    lambda steps: laid_out([(skip * MEBIBYTE, size * MEBIBYTE - 5) for skip, size in steps])
)


def laid_out(steps):
    """Spans one after the other, each after so many bytes that are there."""
    spans, position = [], 0
    for skip, size in steps:
        position += skip + 1
        spans.append((position, position := position + size))
    return spans


def given_out(missing, num_workers):
    """All shares, to workers who are equally fast: (worker, file, start, end) in order."""
    shares, taken, free_at = Shares(missing, lambda: 0.0), [], dict.fromkeys(range(num_workers), 0)
    while free_at:
        worker, now = min(free_at.items(), key=itemgetter(1))
        share = shares.take(worker)
        if share is None:
            del free_at[worker]
            continue
        file, (start, end) = share
        taken.append((worker, file, start, end))
        free_at[worker] = now + end - start
    return taken


@given(st.lists(gaps, max_size=4), st.integers(1, 5))
def test_all_that_is_missing_is_given_out_once(missing, num_workers):
    taken = given_out(missing, num_workers)
    for file, spans in enumerate(missing):
        shares = sorted((start, end) for _, of, start, end in taken if of == file)
        assert sum(end - start for start, end in shares) == sum(end - start for start, end in spans)
        assert all(any(low <= start < end <= high for low, high in spans) for start, end in shares)
        assert all(first[1] <= second[0] for first, second in pairwise(shares))


def test_a_worker_goes_on_where_it_ended_and_helps_when_its_file_is_through():
    size = 200 * MEBIBYTE
    taken = given_out([[(0, size)], [(0, 3 * size)]], 2)
    ends: dict[int, tuple[int, int]] = {}
    for worker, file, start, end in taken:
        alone = len({other for other, of, *_ in taken if of == file}) == 1
        assert ends.get(worker, (file, 0)) == (file, start) or not alone
        ends[worker] = file, end
    assert len({worker for worker, file, *_ in taken if file == 1}) == 2


def test_few_requests_bring_much_and_the_last_ones_are_short():
    taken = given_out([[(0, 4096 * MEBIBYTE)]], 4)
    sizes = [end - start for *_, start, end in taken]
    assert sizes[0] == FIRST
    assert max(sizes) == LARGEST
    assert max(sizes[-4:]) < 2 * SMALLEST
    assert len(sizes) < 60


def test_small_files_are_one_share_each():
    taken = given_out([[(0, number)] for number in range(1, 1500)], 8)
    assert sorted(end for *_, end in taken) == list(range(1, 1500))


def test_a_file_that_grew_together_with_others_has_no_crumbs():
    for size in (FIRST + SMALLEST - 1, FIRST + SMALLEST, FIRST + SMALLEST + 1):
        taken = given_out([[(0, size)]], 1)
        assert all(end - start >= FIRST for *_, start, end in taken)


def test_who_comes_later_finds_work_as_long_as_there_is_much():
    shares = Shares([[(0, 1024 * MEBIBYTE)]])
    for worker in count():
        if shares.take(worker) is None:
            break
    assert worker >= 16


def test_a_share_is_what_its_worker_brings_in_a_second():
    moments = iter([0.0, 0.125, 10.0])
    shares = Shares([[(0, 4096 * MEBIBYTE)]], lambda: next(moments))
    taken = [shares.take(0) for _ in range(3)]
    assert [end - start for _, (start, end) in filter(None, taken)] == [FIRST, 8 * FIRST, SMALLEST]


def test_one_worker_takes_what_goes_first_while_the_others_begin_with_the_rest():
    shares = Shares([[(0, 400 * MEBIBYTE)], [(0, 5)], [(0, 7)]], first={1, 2})
    assert [share[0] for share in map(shares.take, (1, 0, 0, 0)) if share] == [0, 2, 1, 0]
