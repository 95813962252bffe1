"""The JSON strings of `params/kubernetes.py` in CEL, which cannot read JSON.

What is valid is flat: an object of strings, an array of objects of scalars, an object of quantities, without escapes or
braces in any string. So patterns tell the shape, and find the pairs. What has another shape is refused with one reason
where the command line names the character at which JSON breaks.
"""

from instructlab_pipeline.kube.cel import (
    bind,
    finds,
    first_fault,
    first_in,
    first_of,
    in_quotes,
    listed,
    matches,
    quoted,
    sentence,
)
from instructlab_pipeline.kube.policy_quantities import count_fault, cpu_fault, size_fault
from instructlab_pipeline.params.kubernetes import (
    EFFECTS,
    LABEL,
    OPERATORS,
    SIZED_RESOURCES,
    SUBDOMAIN,
    TOLERATION_FIELDS,
)

NOT_JSON = "is not JSON of this form"
MOST_TOLERATIONS = 20  # of which the message knows the number

_STRING = r'"[^"\\{}\x00-\x1f]*"'
_SCALAR = rf"({_STRING}|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null)"
_KEY = r'"[^"]*"\s*:'
_PAIR = rf"{_KEY}\s*{_SCALAR}"
_OBJECT = rf"\{{\s*({_PAIR}\s*(,\s*{_PAIR}\s*)*)?\}}"
_ARRAY = rf"\[\s*(({_OBJECT}|{_SCALAR})\s*(,\s*({_OBJECT}|{_SCALAR})\s*)*)?\]"
_ITEM = rf"\{{[^}}]*\}}|{_SCALAR}"
_LABEL_KEY = f"({SUBDOMAIN}/)?{LABEL}"
_DEVICE = f"{SUBDOMAIN}/{LABEL}"
_LABEL_VALUE = f"({LABEL})?"


def node_selector_fault(value: str) -> str:
    no_string = sentence(quoted("has a value for "), _NAME, quoted(" that is not a string: put it in double quotes"))
    text = _unquoted(_WRITTEN)
    no_value = sentence(
        quoted("has the value "), in_quotes(text), quoted(" for "), _NAME, quoted(", which is not a label's value")
    )
    pair = first_of(
        (f"{_label_key_fault(_NAME)} != ''", _named("key", _NAME, _label_key_fault(_NAME))),
        (f"!{_is_text(_WRITTEN)}", no_string),
        (f"{_is_text(_WRITTEN)} && !{matches(text, _LABEL_VALUE)}", no_value),
    )
    return first_fault(*_not_an_object(value), otherwise=first_in(_by_pair(value, pair)))


def worker_resources_fault(value: str) -> str:
    nested = finds(value, r'^\{\s*"(requests|limits)"\s*:')
    why = sentence(
        quoted("has "),
        in_quotes(_unquoted(value)),
        quoted(" in it: name the resources themselves, such as cpu and memory"),
    )
    return first_fault((nested, why), *_not_an_object(value), otherwise=first_in(_by_pair(value, _resource_fault())))


def worker_quantities_fault(value: str) -> str:
    """What `worker_resources_fault` leaves: an expression may not nest so deep that it could say both."""
    cpu, sized, device = _resource_kinds()
    faults = (_quantities(value, cpu, cpu_fault("q")), _quantities(value, sized, size_fault("q")))
    return first_in(f"({' + '.join([*faults, _quantities(value, device, count_fault('q'))])})")


def tolerations_fault(value: str) -> str:
    items = f"{value}.substring(1, {value}.size() - 1).findAll({_raw(_ITEM)})"
    return first_fault(
        (matches(value, _OBJECT), quoted("is one JSON object: put it in [ ]")),
        (matches(value, _SCALAR), quoted("is not a JSON array")),
        (f"!{matches(value, _ARRAY)}", quoted(NOT_JSON)),
        otherwise=bind("l", f"{items}.map(t, {_toleration_fault()})", _numbered()),
    )


def _numbered() -> str:
    """The first fault of the list `l`, with its number."""
    numbers = f"[{', '.join(str(number) for number in range(MOST_TOLERATIONS))}]"
    number = f"{numbers}.filter(j, j < l.size() && l[j] != '').map(j, ' (number ' + string(j + 1) + ')')"
    told = sentence(quoted("has a toleration"), f"({number} + [''])[0]", quoted(" that "), first_in("l"))
    return f"l.exists(s, s != '') ? {told} : ''"


_NOTHING = ('""', "null", "false", "0")
# `p` is a pair of an object: its name, and its value as it is written.
_NAME = "p.split('\"')[1]"
_WRITTEN = "p.substring(p.indexOf(':', p.indexOf('\"', 1)) + 1).trim()"


def _by_pair(value: str, fault: str) -> str:
    return f"{value}.findAll({_raw(_PAIR)}).map(p, {fault})"


def _resource_kinds() -> tuple[str, str, str]:
    """Whether a pair gives processors, a size, or devices."""
    sized = f"({_NAME} in {listed(SIZED_RESOURCES)} || {_NAME}.startsWith('hugepages-'))"
    device = f"({matches(_NAME, _DEVICE)} && !{finds(_NAME, '^([^/]*[.])?kubernetes[.]io/')})"
    return f"{_NAME} == 'cpu'", sized, device


def _resource_fault() -> str:
    no_resource = sentence(
        quoted("has the resource "),
        in_quotes(_NAME),
        quoted(f"; there are cpu, {', '.join(SIZED_RESOURCES)}, and devices such as nvidia.com/gpu"),
    )
    no_quantity = sentence(quoted("has a value for "), _NAME, quoted(" that is not a quantity"))
    return first_of(
        (f"!({' || '.join(_resource_kinds())})", no_resource),
        (f"{_WRITTEN} in ['true', 'false', 'null']", no_quantity),
    )


def _quantities(value: str, where: str, fault: str) -> str:
    """The faults of those pairs' quantities, each the bare text `q`."""
    told = sentence(quoted("has "), _repr(_WRITTEN), quoted(" for "), _NAME, quoted(", which "), "g")
    given = f"{where} && !({_WRITTEN} in ['true', 'false', 'null'])"
    pairs = f"{value}.findAll({_raw(_PAIR)}).filter(p, {given})"
    return f"{pairs}.map(p, [{_bare(_WRITTEN)}].map(q, {fault}).map(g, g == '' ? '' : {told})[0])"


def _not_an_object(value: str) -> tuple[tuple[str, str], ...]:
    names = f"{value}.findAll({_raw(_KEY)}).map(n, {_unquoted('n')})"
    why_twice = sentence(quoted("is not JSON: "), in_quotes(_first_twice(names)), quoted(" is there twice"))
    return (
        (matches(value, f"({_SCALAR}|{_ARRAY})"), quoted("is not a JSON object")),
        (f"!{matches(value, _OBJECT)}", quoted(NOT_JSON)),
        (_twice(names), why_twice),
    )


def _toleration_fault() -> str:
    """`t` is the toleration as it is written."""
    names = f"t.findAll({_raw(_KEY)}).map(n, {_unquoted('n')})"
    unknown = f"{names}.filter(n, !(n in {listed(TOLERATION_FIELDS)}))"
    no_field = sentence(
        quoted("has the field "),
        in_quotes(f"{unknown}[0]"),
        quoted(f"; a toleration has {', '.join(TOLERATION_FIELDS)}"),
    )
    return first_of(
        ("!t.startsWith('{')", quoted("is not a JSON object")),
        (_twice(names), sentence(in_quotes(_first_twice(names)), quoted(" is there twice"))),
        (f"{unknown}.size() > 0", no_field),
        *_key_rules(),
        *_operator_rules(),
        *_effect_rules(),
    )


def _key_rules() -> tuple[tuple[str, str], ...]:
    """A toleration without a key tolerates everything, which only the operator Exists may say."""
    key, value, operator = _field("key", '""'), _field("value", '""'), _field("operator", '"Equal"')
    name, has_none = _unquoted(key), _is_nothing(key)
    is_label_value = f"({_is_text(value)} && {matches(_unquoted(value), _LABEL_VALUE)})"
    return (
        (f"{has_none} && {operator} != '\"Exists\"'", quoted("has no key, which only operator Exists allows")),
        (
            f"!{has_none} && !{_is_text(key)}",
            sentence(quoted("has the key "), key, quoted(", which is not a string")),
        ),
        (
            f"!{has_none} && {_is_text(key)} && {_label_key_fault(name)} != ''",
            _named("key", name, _label_key_fault(name)),
        ),
        (
            f"!{has_none} && !{is_label_value}",
            sentence(quoted("has the value "), _repr(value), quoted(", which no taint has")),
        ),
    )


def _operator_rules() -> tuple[tuple[str, str], ...]:
    operator, value = _field("operator", '"Equal"'), _field("value", '""')
    return (
        (f"!({operator} in {_written(OPERATORS)})", _no_choice("operator", operator, OPERATORS)),
        (
            f"{operator} == '\"Exists\"' && !{_is_nothing(value)}",
            quoted("has a value, which operator Exists does not take"),
        ),
    )


def _effect_rules() -> tuple[tuple[str, str], ...]:
    effect, seconds = _field("effect", f'"{EFFECTS[0]}"'), _field("tolerationSeconds", "0")
    no_integer = sentence(quoted("has tolerationSeconds "), _repr(seconds), quoted(", which is not an integer"))
    return (
        (f"!({effect} in {_written(EFFECTS)})", _no_choice("effect", effect, EFFECTS)),
        (f"!{matches(seconds, '-?[0-9]+')}", no_integer),
        (
            f"{_has('tolerationSeconds')} && {effect} != '\"NoExecute\"'",
            quoted("has tolerationSeconds, which only effect NoExecute takes"),
        ),
    )


def _label_key_fault(key: str) -> str:
    no_domain = f"({key}.contains('/') && !{matches(key, f'{SUBDOMAIN}/[^/]*')})"
    return first_fault(
        (no_domain, quoted("has no domain name before its slash")),
        (f"!{matches(key, _LABEL_KEY)}", quoted("is not a label's key")),
    )


def _named(what: str, name: str, fault: str) -> str:
    return sentence(quoted(f"has the {what} "), in_quotes(name), quoted(", which "), fault)


def _no_choice(what: str, value: str, choices: tuple[str, ...]) -> str:
    return sentence(quoted(f"has the {what} "), _repr(value), quoted(f"; there are {', '.join(choices)}"))


def _written(choices: tuple[str, ...]) -> str:
    return listed(f'"{choice}"' for choice in choices)


def _field(name: str, default: str) -> str:
    """The value of a toleration's field as it is written, or its default."""
    written = rf'"{name}"\s*:\s*{_SCALAR}'
    found = f"t.find({_raw(written)})"
    return f"({_has(name)} ? {found}.substring({found}.indexOf(':') + 1).trim() : {quoted(default)})"


def _has(name: str) -> str:
    return finds("t", rf'"{name}"\s*:')


def _is_nothing(written: str) -> str:
    return f"({written} in {listed(_NOTHING)})"


def _is_text(written: str) -> str:
    return f"{written}.startsWith('\"')"


def _twice(names: str) -> str:
    return f"{names}.exists(n, {names}.filter(m, m == n).size() > 1)"


def _first_twice(names: str) -> str:
    return f"{names}.filter(n, {names}.filter(m, m == n).size() > 1)[0]"


def _unquoted(written: str) -> str:
    """What stands between the first two quotes."""
    return f"{written}.split('\"')[1]"


def _bare(written: str) -> str:
    return f"({_is_text(written)} ? {_unquoted(written)} : {written})"


def _repr(written: str) -> str:
    """A scalar as Python shows it."""
    return f"({_is_text(written)} ? {in_quotes(_unquoted(written))} : {written})"


def _raw(pattern: str) -> str:
    return f"r'''{pattern}'''"
