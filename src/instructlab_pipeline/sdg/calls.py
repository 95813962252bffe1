"""What is asked and what comes back. A call's key is the digest of all that can change its reply: of its body."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

ENCODER = json.JSONEncoder(ensure_ascii=False)  # made once: json.dumps makes another one for each call
REFUSED = "refused"  # the finish of a call that the endpoint will not answer, whatever we do


@dataclass(frozen=True, kw_only=True)
class Call:
    """One chat completion, asked for as JSON by schema. `tries`: replies without use that its row has had before."""

    model: str
    messages: Sequence[Mapping[str, str]]
    sampling: Mapping[str, float]
    schema_name: str
    schema: Mapping[str, Any]
    seed: int
    tries: int = 0

    @cached_property
    def key(self) -> str:
        return sha256(self.body).hexdigest()

    @cached_property
    def attempt_key(self) -> str:
        """What a reply without use is remembered by: the same call asked once more may get another one."""
        return sha256(f"{self.key} {self.tries}".encode()).hexdigest()

    @cached_property
    def body(self) -> bytes:
        """The request as it is sent; its fields are always in the same order."""
        schema = {"name": self.schema_name, "schema": self.schema, "strict": True}
        request = {
            "model": self.model,
            "messages": self.messages,
            **self.sampling,
            "seed": self.seed,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }
        return ENCODER.encode(request).encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a call ended with: the text, or with finish `refused` the endpoint's words; tokens as it counted them.

    `retries`: how often it failed before.
    """

    text: str
    finish: str
    tokens_in: int = 0
    tokens_out: int = 0
    retries: int = 0


def seed_for(random_seed: int, messages: Sequence[Mapping[str, str]], *, variant: int) -> int:
    """A seed of its own for each call, and others for its variants; 31 bits, as every server takes them."""
    text = ENCODER.encode([random_seed, variant, messages])
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big") >> 1
