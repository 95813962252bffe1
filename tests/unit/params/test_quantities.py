from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructlab_pipeline.params.quantities import UNITS, amount, cpu_fault, size_fault


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("120Gi", 120 * 2**30),
        ("500M", 500 * 10**6),
        ("1.5Gi", 3 * 2**29),
        (".5Ki", 512),
        ("5.Ki", 5 * 1024),
        ("12e6", 12 * 10**6),
        ("1E", 10**18),
        ("1E3", 1000),
        ("1Ei", 2**60),
        ("250m", Decimal("0.25")),
        ("3u", Decimal("0.000003")),
        ("1e-2", Decimal("0.01")),
    ],
)
def test_quantities_count_as_in_kubernetes(text, value):
    assert amount(text) == value


@pytest.mark.parametrize(
    "text", ["", "Gi", "1 Gi", "-1", "+1", "1GiB", "1K", "0x1", "1e", "1ee3", "1e3Gi", "\u0661Gi", "1,5Gi"]
)
def test_what_is_not_of_the_grammar_is_no_quantity(text):
    assert amount(text) is None


@given(
    whole=st.integers(min_value=0, max_value=10**6),
    decimals=st.integers(min_value=0, max_value=999),
    unit=st.sampled_from(sorted(UNITS)),
)
def test_any_number_with_any_unit_is_the_product_of_both(whole, decimals, unit):
    assert amount(f"{whole}{unit}") == whole * UNITS[unit]
    assert amount(f"{whole}.{decimals:03d}{unit}") == Decimal(f"{whole}.{decimals:03d}") * UNITS[unit]


@given(
    number=st.integers(min_value=1, max_value=7),
    unit=st.sampled_from(["M", "G", "T", "P", "E", "Mi", "Gi", "Ti", "Ei"]),
)
def test_sizes_above_a_mebibyte_and_below_the_end_are_valid(number, unit):
    assert (size_fault(f"{number}{unit}") is None) == (unit != "M" or number > 1)


@given(text=st.text())
def test_any_text_is_a_size_or_gets_a_reason(text):
    if size_fault(text) is None:
        assert amount(text) >= UNITS["Mi"]
    if cpu_fault(text) is None:
        assert amount(text) > 0
