"""The verdict on a file agrees with that of the library that loads it."""

import copy
import json
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open

from instructlab_pipeline.model.tensors import read_header

ODD = (0, 1, 4, -1, 16, 2.5, None, "a", [], [1], {}, True, "BF16", "F4", float("inf"), float("nan"), 2**64)
places = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["dtype", "shape", "data_offsets"]), st.integers(0, 2))


def whole():
    return {
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [24, 28]},
    }


def changed(header, place, value):
    """One value of the header, or a number in one, is another."""
    tensor, name, index = place
    changed = copy.deepcopy(header)
    numbers = changed[tensor][name]
    if isinstance(numbers, list) and index < len(numbers):
        numbers[index] = value
    else:
        changed[tensor][name] = value
    return changed


def write(path, header, *, more_bytes=0, encoding="utf-8"):
    text = json.dumps(header).encode(encoding)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(28 + more_bytes))


def ours(path):
    try:
        read_header(path)
    except ValueError:
        return False
    return True


def theirs(path):
    try:
        with safe_open(path, "np"):
            return True
    except SafetensorError:
        return False


@settings(max_examples=300)
@given(st.lists(st.tuples(places, st.sampled_from(ODD)), max_size=2))
def test_the_verdict_on_a_header_agrees_with_the_library(tmp_path_factory, changes):
    path, header = tmp_path_factory.mktemp("header") / "model.safetensors", whole()
    for place, value in changes:
        header = changed(header, place, value)
    write(path, header)
    assert ours(path) == theirs(path)


def test_gaps_overlaps_padding_and_odd_metadata_are_refused_by_both(tmp_path):
    path = tmp_path / "model.safetensors"
    gap, overlap = whole(), whole()
    gap["b"]["data_offsets"] = [28, 32]
    overlap["b"]["data_offsets"] = [20, 24]
    cases = [
        (gap, {"more_bytes": 4}),
        (overlap, {"more_bytes": -4}),
        (whole(), {"more_bytes": 1}),
        (whole(), {"more_bytes": -1}),
        (whole(), {"encoding": "utf-16"}),
        (whole() | {"__metadata__": {"a": 1}}, {}),
        (whole() | {"__metadata__": []}, {}),
    ]
    for header, options in cases:
        write(path, header, **options)
        assert not ours(path)
        assert not theirs(path)
