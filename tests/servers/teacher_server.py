"""A real OpenAI-compatible server on loopback: what it says is a function of what it is asked, whatever the order.

    with TeacherServer(faults={"500": 0.05}) as teacher:
        ... teacher.url ...
        assert teacher.repeated() == 0

`scripts` maps a schema's name to a function from the request to the reply's content (a JSON value, or a str as it is).
`faults` are shares of the requests, drawn anew for each repetition of a request: 500, 503, 429, disconnect, cut (half
of the body), garbage, truncated (JSON that breaks off), empty, refused (400), straggler (ten times as slow).
"""

import asyncio
import json
import re
import ssl
import time
from collections import Counter
from hashlib import sha256

from aiohttp import web

from servers import event_loop

MODEL = "scripted-teacher"
RETRY_AFTER_S = 0.2
STRAGGLER = 10
HOLDS_S = 0.01  # before it looks whether it still shall


class TeacherServer:
    def __init__(self, *, scripts=None, faults=None, latency_s=(0.0, 0.0), api_key=None, models=(MODEL,), room=None):
        """`latency_s`: shortest and longest. `room`: how many requests at once before the others get 429.

        To be set before it starts: `retry_after` of a 429; `tls`, the paths of a certificate for localhost and its key.
        """
        self.scripts = {**DEFAULT_SCRIPTS, **(scripts or {})}
        self.faults = faults or {}
        self.latency_s = latency_s
        self.api_key = api_key
        self.models = models
        self.room = room
        self.retry_after = str(RETRY_AFTER_S)
        self.tls = None
        self.connections = set()
        self.requests = []
        self.answered = Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        self.asked_at = []  # when each request came, by the clock on the wall
        self.down = False
        self.first_fault = None  # of the next request alone
        self.holds_after = None  # requests in all, after which none is answered
        self._seen = Counter()
        self._running = event_loop.in_thread(self._serve)

    def __enter__(self):
        self._running.__enter__()
        return self

    def __exit__(self, *failure):
        self._running.__exit__(*failure)

    @property
    def url(self):
        return f"https://localhost:{self.port}/v1" if self.tls else f"http://127.0.0.1:{self.port}/v1"

    def repeated(self):
        """How many answers were given again to a request that had been answered before."""
        return sum(count - 1 for count in self.answered.values())

    def asked_for(self, name):
        return [request for request in self.requests if schema_name(request) == name]

    async def _serve(self, ready, stop):
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_post("/v1/chat/completions", self._complete)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._ssl_context())
        await site.start()
        self.port = runner.addresses[0][1]
        ready()
        await stop.wait()
        await runner.cleanup()

    def _ssl_context(self):
        if self.tls is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.tls)
        return context

    async def _list_models(self, request):
        if self._unwelcome(request):
            return _error(401, "Incorrect API key provided")
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})

    async def _complete(self, request):
        if self._unwelcome(request):
            return _error(401, "Incorrect API key provided")
        body = await request.read()
        asked = json.loads(body)
        self.requests.append(asked)
        self.asked_at.append(time.time())
        self.connections.add(request.transport.get_extra_info("peername"))
        if asked["model"] not in self.models:
            return _error(404, f"The model `{asked['model']}` does not exist")
        digest = sha256(body).hexdigest()
        self._seen[digest] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.room is not None and self.in_flight > self.room:
                return _error(429, "too many requests", {"Retry-After": self.retry_after})
            return await self._answer(request, asked, digest)
        finally:
            self.in_flight -= 1

    async def _answer(self, request, asked, digest):
        number = len(self.requests)
        fault = "500" if self.down else self._fault(_draw(digest, self._seen[digest]))
        shortest, longest = self.latency_s
        slowness = STRAGGLER if fault == "straggler" else 1
        await asyncio.sleep(slowness * (shortest + (longest - shortest) * _draw(time.monotonic_ns())))
        while self.holds_after is not None and number > self.holds_after:  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(HOLDS_S)
        if fault in ("500", "503"):
            return _error(int(fault), "something broke")
        if fault == "429":
            return _error(429, "slow down", {"Retry-After": self.retry_after})
        if fault == "refused":
            return _error(400, "This model's maximum context length is 4096 tokens")
        if fault == "disconnect":
            request.transport.abort()
            return web.Response()
        content = self._content(asked, fault)
        envelope = json.dumps(_completion(asked, content)).encode()
        if fault == "cut":
            return await _half(request, envelope)
        self.answered[digest] += 1
        return web.Response(body=envelope, content_type="application/json")

    def _content(self, asked, fault):
        if fault == "garbage":
            return "\u2588#%$ lorem ]]} " * 5
        if fault == "empty":
            return ""
        content = self.scripts[schema_name(asked)](asked)
        text = content if isinstance(content, str) else json.dumps(content)
        return text[: len(text) // 2] if fault == "truncated" else text

    def _fault(self, draw):
        first, self.first_fault = self.first_fault, None
        if first is not None:
            return first
        for name, share in self.faults.items():
            if draw < share:
                return name
            draw -= share
        return None

    def _unwelcome(self, request):
        return self.api_key is not None and request.headers.get("Authorization") != f"Bearer {self.api_key}"


def schema_name(asked):
    """`plain` where no schema was asked for."""
    return asked["response_format"]["json_schema"]["name"] if "response_format" in asked else "plain"


def tags(asked):
    """What stands between tags in the last user message, by tag; the last one of a name wins."""
    text = asked["messages"][-1]["content"]
    return dict(re.findall(r"<(\w+)>((?:(?!<\1>).)*?)</\1>", text, re.DOTALL))


def pairs(asked):
    count = int(tags(asked)["count"])
    return {
        "pairs": [{"question": f"What is {word} known for?", "answer": f"For {word}."} for word in _words(asked, count)]
    }


def instructions(asked):
    return {"instructions": [f"Describe {word} in one line." for word in _words(asked, int(tags(asked)["count"]))]}


def contexts(asked):
    return {
        "contexts": [
            f"{word} opened on day {number}." for number, word in enumerate(_words(asked, int(tags(asked)["count"])))
        ]
    }


def answer(asked):
    return {"answer": f"Here it is: {_words(asked, 1)[0]}."}


def multiple_choice_items(asked):
    """A wrong key in every third item."""
    return {
        "items": [
            {
                "question": f"What is {word} known for?",
                "answer": f"Not {word}" if index % 3 == 2 else f"For {word}",
                **{f"wrong_{number}": f"For {other}" for number, other in enumerate(_words(asked, 3), start=1)},
            }
            for index, word in enumerate(f"M{word}" for word in _words(asked, int(tags(asked)["count"])))
        ]
    }


def choice(asked):
    """The one that names what is asked about, unless it denies it."""
    choices = re.findall(r"<choice>(.*?)</choice>", asked["messages"][-1]["content"])
    word = tags(asked)["question"].split()[2]
    return {"chosen": next((said for said in choices if said == f"For {word}"), "none")}


def verdict(asked, share_of_passes=0.8):
    names = [name for name in asked["response_format"]["json_schema"]["schema"]["properties"] if name != "reason"]
    passes = _draw(json.dumps(asked["messages"])) < share_of_passes
    return {"reason": "as scripted", **dict.fromkeys(names, 5 if passes else 2)}


DEFAULT_SCRIPTS = {
    "question_answer_pairs": pairs,
    "multiple_choice_items": multiple_choice_items,
    "choice": choice,
    "instructions": instructions,
    "contexts": contexts,
    "answer": answer,
    "verdict": verdict,
}


def _words(asked, count):
    """Names that no other request gets."""
    root = json.dumps([asked["messages"], asked["seed"]])
    return ["N" + sha256(f"{root} {number}".encode()).hexdigest()[:10] for number in range(count)]


def _draw(*parts):
    """A number from 0 to 1 that depends on the parts alone."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:6], "big") / (1 << 48)


def _completion(asked, content):
    tokens_in = sum(len(message["content"]) for message in asked["messages"]) // 4
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": asked["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": tokens_in, "completion_tokens": len(content) // 4},
    }


def _error(status, message, headers=None):
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


async def _half(request, envelope):
    response = web.StreamResponse(headers={"Content-Length": str(len(envelope))})
    await response.prepare(request)
    await response.write(envelope[: len(envelope) // 2])
    request.transport.abort()
    return response
