"""The quantities of `params/quantities.py` in CEL."""

from instructlab_pipeline.kube.cel import bind, finds, first_fault, first_of, matches, quoted, sentence
from instructlab_pipeline.params.quantities import LARGEST, SMALLEST_SIZE, UNITS

_NUMBER = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)"
_EXPONENT = r"[eE][+-]?[0-9]{1,2}"
_NEAR_UNIT = "[kKmMgGtTpPeE][bB]*"  # what people write for one of the units


def size_fault(value: str) -> str:
    """Memory or storage, at least 1Mi."""
    return _of_amount(
        value,
        (finds(value, "[num]$"), _too_fine(value)),
        (f"a < {_double(SMALLEST_SIZE)}", sentence(quoted("is only "), _plain("a"), quoted(_UNIT_MISSING))),
    )


def cpu_fault(value: str) -> str:
    return _of_amount(value, (f"!{finds(value, '[0-9.m]$')}", quoted("has a unit that processors do not have")))


def count_fault(value: str) -> str:
    """Whole things, such as GPUs."""
    return _of_amount(value, (f"!{matches(value, '[0-9]+')}", quoted("is not a whole number")))


def amount(value: str) -> str:
    """What a quantity counts, as a double."""
    units = "{" + ", ".join(f"{quoted(unit)}: {_double(factor)}" for unit, factor in UNITS.items()) + "}"
    with_unit = f"double({value}.find({quoted('^[0-9.]+')})) * {units}[{value}.find('[A-Za-z]*$')]"
    return f"({matches(value, _NUMBER + _EXPONENT)} ? double({value}) : {with_unit})"


_UNIT_MISSING = " bytes: is a unit such as Gi missing"


def _of_amount(value: str, *rules: tuple[str, str]) -> str:
    """What no quantity may be, then `rules`, in which `a` is the amount."""
    units = "|".join(unit for unit in UNITS if unit)
    faults = first_of(
        ("a == 0.0", quoted("is zero")),
        (f"a > {_double(LARGEST)}", quoted("is more than 2^63 - 1, where Kubernetes ends")),
        *rules,
    )
    return first_fault(
        (f"{value}.startsWith('-')", quoted("is negative")),
        (f"!{matches(value, f'{_NUMBER}({_EXPONENT}|{units})?')}", _why_not_a_quantity(value)),
        otherwise=bind("a", amount(value), faults),
    )


def _why_not_a_quantity(value: str) -> str:
    unit = f"{value}.find('[A-Za-z]+$')"
    first = f"{unit}.charAt(0)"
    unknown = sentence(quoted("has the unit "), unit, quoted(", which Kubernetes does not know"))
    decimal = f"({first}.lowerAscii() == 'k' ? 'k' : {first}.upperAscii())"
    meant = sentence(
        unknown, quoted(": "), f"{first}.upperAscii()", quoted("i counts in 1024, "), decimal, quoted(" in 1000")
    )
    return first_fault(
        (matches(value, _NUMBER + _NEAR_UNIT), meant),
        (matches(value, _NUMBER + "[A-Za-z]+"), unknown),
        otherwise=quoted("is not a number with a unit"),
    )


def _too_fine(value: str) -> str:
    last = f"{value}.substring({value}.size() - 1)"
    return sentence(quoted("counts in thousandths of a byte or less: "), last, quoted(" is not mega"))


def _plain(number: str) -> str:
    """A number without a fraction of zero."""
    return f"(double(int({number})) == {number} ? string(int({number})) : string({number}))"


def _double(number: object) -> str:
    return repr(float(str(number)))
