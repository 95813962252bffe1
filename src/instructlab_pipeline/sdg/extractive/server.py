"""The built-in teacher behind the HTTP API of any teacher: `GET /v1/models`, `POST /v1/chat/completions`."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from instructlab_pipeline.sdg.extractive.replies import CannotReply, reply

if TYPE_CHECKING:
    from aiohttp import web

MODEL = "builtin-extractive"
DESCRIPTION = "A small rule-based question and answer writer for demonstrations. It is not a language model."
HOST = "127.0.0.1"
LONGEST_REQUEST_BYTES = 16 << 20


@asynccontextmanager
async def serve(port: int = 0) -> AsyncIterator[str]:
    """Serve on loopback while the block runs; yields the base URL. Port 0 takes one that is free."""
    from aiohttp import web

    application = web.Application(client_max_size=LONGEST_REQUEST_BYTES)
    application.router.add_get("/v1/models", _models)
    application.router.add_post("/v1/chat/completions", _chat_completions)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def _models(_request: "web.Request") -> "web.Response":
    from aiohttp import web

    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "instructlab-pipeline"}
    return web.json_response({"object": "list", "data": [{**model, "description": DESCRIPTION}]})


async def _chat_completions(request: "web.Request") -> "web.Response":
    from aiohttp import web

    body = await request.read()
    try:
        return web.json_response(completion(body))
    except CannotReply as error:
        refusal = {"message": f"{error}.", "type": "invalid_request_error", "code": None}
        return web.json_response({"error": refusal}, status=400)


def completion(body: bytes) -> dict[str, Any]:
    """The chat completion for a request's body.

    Raises:
        CannotReply: the body is not a request that the built-in teacher understands.
    """
    request = _parsed(body)
    name, schema = _schema(request)
    prompt = _prompt(request)
    content = json.dumps(reply(name, prompt, schema), ensure_ascii=False)
    return {
        "id": f"chatcmpl-{sha256(body).hexdigest()[:24]}",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": _usage(prompt, content),
    }


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise CannotReply("the request is not JSON") from error
    if not isinstance(request, dict):
        raise CannotReply("the request is not a JSON object")
    if request.get("stream"):
        raise CannotReply("the built-in teacher does not stream: leave `stream` out")
    return request


def _schema(request: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    try:
        asked = request["response_format"]["json_schema"]
        return str(asked["name"]), dict(asked["schema"])
    except (KeyError, TypeError, ValueError) as error:
        raise CannotReply(
            "the built-in teacher follows rules and cannot chat: it needs a `response_format` of type json_schema"
        ) from error


def _prompt(request: Mapping[str, Any]) -> str:
    """The last user message, whose content is a text or a list of parts."""
    try:
        content = next(message["content"] for message in reversed(request["messages"]) if message["role"] == "user")
        return content if isinstance(content, str) else "".join(part["text"] for part in content)
    except (KeyError, TypeError, StopIteration) as error:
        raise CannotReply("the request has no user message with text") from error


def _usage(prompt: str, content: str) -> dict[str, int]:
    """Counted in words, for want of a tokenizer."""
    asked, answered = len(prompt.split()), len(content.split())
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
