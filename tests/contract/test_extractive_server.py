import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from instructlab_pipeline.sdg.extractive.server import serve

DOCUMENT = (Path(__file__).parents[2] / "examples" / "documents" / "moons.md").read_text()
PROMPT = f"<document>{DOCUMENT}</document><form>fact</form><count>5</count><batch>0</batch>"


def request_of(prompt=PROMPT, name="question_answer_pairs", **more):
    return {
        "model": "builtin-extractive",
        "messages": [{"role": "system", "content": "Write."}, {"role": "user", "content": prompt}],
        "response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": {}, "strict": True}},
        **more,
    }


def exchange(*bodies, path="/chat/completions"):
    """Status and JSON of each reply; bytes are sent as they are, anything else as JSON."""

    async def talk():
        async with serve() as url, aiohttp.ClientSession() as session:
            replies = []
            for body in bodies:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                async with session.post(url + path, data=data) as response:
                    replies.append((response.status, await response.json()))
            return replies

    return asyncio.run(talk())


def test_the_model_says_that_it_is_not_a_language_model():
    async def talk():
        async with serve() as url, aiohttp.ClientSession() as session, session.get(f"{url}/models") as response:
            return await response.json()

    [model] = asyncio.run(talk())["data"]
    assert model["id"] == "builtin-extractive"
    assert "not a language model" in model["description"]


def test_a_completion_has_the_shape_of_any_teachers():
    [(status, completion)] = exchange(request_of(temperature=0.7, seed=7, max_tokens=512))
    assert status == 200
    [choice] = completion["choices"]
    assert (completion["object"], choice["finish_reason"], choice["message"]["role"]) == (
        "chat.completion",
        "stop",
        "assistant",
    )
    assert completion["usage"]["total_tokens"] > completion["usage"]["completion_tokens"] > 0
    pairs = json.loads(choice["message"]["content"])["pairs"]
    assert len(pairs) == 5
    assert set(pairs[0]) == {"question", "answer"}


def test_a_message_may_come_in_parts():
    in_parts = request_of(prompt=[{"type": "text", "text": PROMPT[:40]}, {"type": "text", "text": PROMPT[40:]}])
    [(_, whole), (_, parts)] = exchange(request_of(), in_parts)
    assert whole["choices"] == parts["choices"]


def test_equal_requests_get_equal_bytes_from_any_server():
    assert exchange(request_of()) == exchange(request_of())


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "the request is not JSON."),
        (b"[]", "the request is not a JSON object."),
        ({"messages": [{"role": "user", "content": "hello"}]}, "it needs a `response_format` of type json_schema."),
        (request_of(stream=True), "the built-in teacher does not stream: leave `stream` out."),
        (request_of() | {"messages": []}, "the request has no user message with text."),
        (request_of(name="poem"), "and not 'poem'."),
        (request_of(prompt="hello"), "the prompt has no <document>...</document>."),
    ],
)
def test_a_request_that_cannot_be_served_gets_400_and_a_sentence(body, sentence):
    [(status, reply)] = exchange(body)
    assert status == 400
    assert reply["error"]["message"].endswith(sentence)


def test_other_addresses_are_not_found():
    async def talk():
        async with serve() as url, aiohttp.ClientSession() as session, session.get(f"{url}/other") as response:
            return response.status

    assert asyncio.run(talk()) == 404


def test_two_servers_run_side_by_side_and_leave_nothing_behind():
    async def talk():
        async with serve() as one, serve() as other:
            assert one != other
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"{one}/models")

    asyncio.run(talk())
