"""What a client asks for, out of the body of a chat completion."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

_COUNT = re.compile(r"<count>(\d+)</count>")
_SCHEMA_IN_PROMPT = re.compile(r"<response_schema>\s*(\{.*\})\s*</response_schema>", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Request:
    """`schema`: of the JSON that the reply must be. `fenced`: the client wants it in a Markdown fence."""

    model: str
    prompt: str
    seed: int
    max_tokens: int
    schema: dict[str, Any] | None
    fenced: bool

    @cached_property
    def digest(self) -> bytes:
        return blake2b(self.prompt.encode("utf-8", "replace"), digest_size=8).digest()

    @cached_property
    def count(self) -> int | None:
        """How many items the prompt asks for, where it says so in a tag."""
        found = _COUNT.search(self.prompt)
        return int(found.group(1)) if found else None


def read(body: bytes, *, longest: int) -> Request:
    """`longest`: tokens of a reply where the client sets no limit.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is not a chat completion.
    """
    record = json.loads(body)
    prompt = "\n".join(_text(message["content"]) for message in record["messages"])
    schema, fenced = _schema(record, prompt)
    return Request(
        model=str(record["model"]),
        prompt=prompt,
        seed=record.get("seed") or 0,
        max_tokens=record.get("max_tokens") or record.get("max_completion_tokens") or longest,
        schema=schema,
        fenced=fenced,
    )


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def _schema(record: dict[str, Any], prompt: str) -> tuple[dict[str, Any] | None, bool]:
    """By `response_format`, as we ask, or written into the prompt, as Data Designer does."""
    wanted = record.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return wanted["json_schema"]["schema"], False
    written = _SCHEMA_IN_PROMPT.search(prompt)
    return (json.loads(written.group(1)), True) if written else (None, False)
