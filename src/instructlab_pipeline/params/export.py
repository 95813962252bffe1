"""Parameters written down as text, so that what reads it back has the same values."""

import re
from collections.abc import Mapping
from typing import Any

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.params.table import PARAMETERS

Texts = Mapping[str, str]


def env(texts: Texts) -> str:
    return "".join(f"{name.upper()}={_double_quoted(text)}\n" for name, text in texts.items())


def literals(texts: Texts) -> list[str]:
    """As kustomize has them.

    Raises:
        UsageError: a value begins or ends with a quote, which kustomize cuts off.
    """
    for name, text in texts.items():
        if text != text.strip("\"'"):
            raise UsageError(
                f"{name}: {text} begins or ends with a quote, which kustomize cuts off",
                remedy="use `params export --format configmap`, and name its file in `resources`",
            )
    return [f"{name}={text}" for name, text in texts.items()]


def dumped(*documents: Mapping[str, Any]) -> str:
    """YAML in the order of its keys, as a person would write it."""
    from yaml import SafeDumper, dump_all

    class InFull(SafeDumper):
        """Writes what stands twice twice: people read no anchors."""

        def ignore_aliases(self, _data: Any) -> bool:
            return True

    return dump_all(documents, Dumper=InFull, sort_keys=False, width=120, allow_unicode=True)


def sectioned(text: str) -> str:
    """The YAML with a comment above the first literal of each section of the parameter table."""
    seen = ""
    lines = []
    for line in text.splitlines():
        match = re.match(r"(\s*)- '?(\w+)=", line)
        section = PARAMETERS[match[2]].section if match and match[2] in PARAMETERS else ""
        if match and section and section != seen:
            lines.append(f"{match[1]}# {section}")
            seen = section
        lines.append(line)
    return "\n".join(lines) + "\n"


def _double_quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\$`])', r"\\\1", text) + '"'
