"""How prompt templates are read and filled: the flows' and those of users' own flows.

Data stands between tags (`<document>...</document>`), and may itself hold what looks like one of them. A tag of the
prompt that stands in the data is written `&lt;document>`, so that no document can end before its end or pass for an
instruction. All other text goes in as it is.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_TAG = re.compile(r"<(\w+)>")


def template_environment(*templates: str) -> "Environment":
    """For templates whose tags are to be kept apart from the data that fills them.

    Sandboxed, since a flow may come from anywhere; a name that does not exist is an error, not an empty string.
    """
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    tags = re.compile(rf"<(?=\s*/?\s*(?:{_names_in(templates)})\b)", re.IGNORECASE)

    def apart(value: Any) -> Any:
        return tags.sub("&lt;", value) if isinstance(value, str) else value

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=apart
    )


def with_tags_again(text: str, *templates: str) -> str:
    """What a reply quotes from the data, as the data had it."""
    return re.sub(rf"&lt;(?=\s*/?\s*(?:{_names_in(templates)})\b)", "<", text, flags=re.IGNORECASE)


def _names_in(templates: tuple[str, ...]) -> str:
    return "|".join(sorted({name for template in templates for name in _TAG.findall(template)})) or r"(?!)"
