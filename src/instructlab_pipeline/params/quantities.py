"""Kubernetes quantities: `120Gi`, `500M`, `1.5Gi`, `250m`.

The grammar is that of `k8s.io/apimachinery/pkg/api/resource`. Where Kubernetes takes a text that nobody can mean
(`120` or `120m` bytes of memory, more than 2^63 bytes, which it caps without a word), we refuse it.
"""

import re
from decimal import Decimal

UNITS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
SMALLEST_SIZE = UNITS["Mi"]
LARGEST = Decimal(2**63 - 1)

_QUANTITY = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:(?P<exponent>[eE][+-]?[0-9]{1,2})|(?P<unit>[A-Za-z]*))"
)


def amount(text: str) -> Decimal | None:
    """What a quantity counts, in bytes, cores or pieces; None where it is not a quantity."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    if match["exponent"]:
        return Decimal(match["number"] + match["exponent"])
    return Decimal(match["number"]) * UNITS[match["unit"]] if match["unit"] in UNITS else None


def size_fault(text: str) -> str | None:
    """Why `text` is not a size of memory or storage, or None."""
    if (fault := _fault(text)) is not None:
        return fault
    if text[-1] in "num":
        return f"counts in thousandths of a byte or less: {text[-1]} is not mega"
    value = amount(text)
    assert value is not None
    if value < SMALLEST_SIZE:
        return f"is only {value.normalize():f} bytes: is a unit such as Gi missing"
    return None


def cpu_fault(text: str) -> str | None:
    """Why `text` is not a number of CPUs (`4`, `0.5`, `500m`), or None."""
    if (fault := _fault(text)) is not None:
        return fault
    return None if text[-1] in "0123456789.m" else "has a unit that processors do not have"


def count_fault(text: str) -> str | None:
    """Why `text` is not a number of whole things, such as GPUs, or None."""
    if (fault := _fault(text)) is not None:
        return fault
    return None if text.isdecimal() else "is not a whole number"


def _fault(text: str) -> str | None:
    if text.startswith("-"):
        return "is negative"
    value = amount(text)
    if value is None:
        return _why_not_a_quantity(text)
    if value == 0:
        return "is zero"
    return "is more than 2^63 - 1, where Kubernetes ends" if value > LARGEST else None


def _why_not_a_quantity(text: str) -> str:
    match = _QUANTITY.fullmatch(text)
    unit = match["unit"] if match else ""
    if unit.upper().rstrip("B") in {"K", "M", "G", "T", "P", "E"}:
        binary, decimal = f"{unit[0].upper()}i", "k" if unit[0] in "kK" else unit[0].upper()
        return f"has the unit {unit}, which Kubernetes does not know: {binary} counts in 1024, {decimal} in 1000"
    if unit:
        return f"has the unit {unit}, which Kubernetes does not know"
    return "is not a number with a unit"
