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
class Form:
    """What all calls of a step have in common: how to sample, and the schema that the reply is to have."""

    sampling: Mapping[str, float]
    schema_name: str
    schema: Mapping[str, Any]

    @cached_property
    def sampling_text(self) -> str:
        """Members of the request's JSON, without the braces."""
        return ENCODER.encode(self.sampling)[1:-1]

    @cached_property
    def response_format_text(self) -> str:
        schema = {"name": self.schema_name, "schema": self.schema, "strict": True}
        return ENCODER.encode({"type": "json_schema", "json_schema": schema})


@dataclass(frozen=True, kw_only=True)
class Call:
    """One chat completion, asked for as JSON by schema.

    `variant`: another one has another seed. `tries`: replies without use that its row has had before.
    """

    model: str
    messages: Sequence[Mapping[str, str]]
    form: Form
    random_seed: int
    variant: int = 0
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
        """The request as it is sent, as JSON whose members are always in the same order.

        Put together from pieces, of which the messages alone are encoded for each call.
        """
        members = (
            f'"model": {ENCODER.encode(self.model)}',
            f'"messages": {self._chat}',
            self.form.sampling_text,
            f'"seed": {self.seed}',
            f'"response_format": {self.form.response_format_text}',
        )
        return f"{{{', '.join(filter(None, members))}}}".encode()

    @cached_property
    def seed(self) -> int:
        """One of its own for each call, and others for its variants; 31 bits, as every server takes them."""
        text = f"[{self.random_seed}, {self.variant}, {self._chat}]"
        return int.from_bytes(sha256(text.encode()).digest()[:4], "big") >> 1

    @cached_property
    def _chat(self) -> str:
        return ENCODER.encode(self.messages)


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
