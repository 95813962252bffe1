"""What is asked and what comes back. A call's key is the digest of all that can change its reply: of its body."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from json.encoder import encode_basestring as quoted  # a text as JSON, without what json.dumps prepares for it
from typing import Any, NamedTuple

REFUSED = "refused"  # the finish of a call that the endpoint will not answer, whatever we do


@dataclass(frozen=True, kw_only=True)
class Form:
    """What all calls of a step have in common: how to sample, and the schema that the reply is to have."""

    sampling: Mapping[str, float]
    schema_name: str
    schema: Mapping[str, Any]

    @cached_property
    def sampling_members(self) -> bytes:
        """Members of the request's JSON, with a comma behind each."""
        members = (f"{json.dumps({name: value}, ensure_ascii=False)[1:-1]}, " for name, value in self.sampling.items())
        return "".join(members).encode()

    @cached_property
    def response_format(self) -> bytes:
        schema = {"name": self.schema_name, "schema": self.schema, "strict": True}
        return json.dumps({"type": "json_schema", "json_schema": schema}, ensure_ascii=False).encode()


@dataclass(kw_only=True, slots=True)
class Call:
    """One chat completion, asked for as JSON by schema.

    `variant`: another one has another seed. `tries`: replies without use that its row has had before.
    `seed`: one of its own for each call, and others for its variants; 31 bits, as every server takes them.
    `body`: the request as it is sent, as JSON whose members are always in the same order.
    `attempt_key`: what a reply without use is remembered by: the same call asked once more may get another one.
    """

    model: str
    messages: Sequence[Mapping[str, str]]
    form: Form
    random_seed: int
    variant: int = 0
    tries: int = 0
    seed: int = field(init=False)
    body: bytes = field(init=False)
    key: str = field(init=False)
    attempt_key: str = field(init=False)

    def __post_init__(self) -> None:
        """The body is put together from pieces, of which the messages alone are encoded for each call, once."""
        turns = (f'{{"role": {quoted(turn["role"])}, "content": {quoted(turn["content"])}}}' for turn in self.messages)
        chat = f"[{', '.join(turns)}]".encode()
        start = b"[%d, %d, " % (self.random_seed, self.variant)
        self.seed = int.from_bytes(sha256(b"%b%b]" % (start, chat)).digest()[:4], "big") >> 1
        model = quoted(self.model).encode()
        self.body = b'{"model": %b, "messages": %b, %b"seed": %d, "response_format": %b}' % (
            model,
            chat,
            self.form.sampling_members,
            self.seed,
            self.form.response_format,
        )
        self.key = sha256(self.body).hexdigest()
        self.attempt_key = sha256(b"%b %d" % (self.key.encode(), self.tries)).hexdigest()


class Reply(NamedTuple):
    """What a call ended with: the text, or with finish `refused` the endpoint's words; tokens as it counted them.

    `retries`: how often it failed before.
    """

    text: str
    finish: str
    tokens_in: int = 0
    tokens_out: int = 0
    retries: int = 0
