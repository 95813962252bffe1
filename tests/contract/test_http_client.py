"""Our HTTP against real sockets: how answers are framed, what becomes of connections, and what is let through."""

import asyncio
import base64
import socket
from contextlib import asynccontextmanager

import pytest

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.http_client import ReplyTooLongError, open_client
from instructlab_pipeline.sdg.endpoint import Unsteady, base_url, open_endpoint
from servers.raw_http import HANG_UP, SILENCE, answer, serving

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'4;why=not\r\n{"a"\r\n5\r\n: [1]\r\n1\r\n}\r\n0\r\nX-Sum: 1\r\n\r\n'
)
UNTIL_CLOSE = b'HTTP/1.1 200 OK\r\n\r\n{"a": [1]}'


@asynccontextmanager
async def client_of(url, *, headers=None, reply_timeout_s=600.0):
    async with open_client(url, headers or {}, reply_timeout_s=reply_timeout_s) as client:
        yield client


async def ask(client, url, *bodies):
    """What becomes of these requests, one after the other."""
    return [await client.request("POST", url + "/chat/completions", body) for body in bodies]


def told(*answers, bodies=(b"1", b"2"), **options):
    """Contents of the answers, and the server."""

    async def live():
        async with serving(*answers) as server, client_of(server.url, **options) as client:
            return [heard.content for heard in await ask(client, server.url, *bodies)], server

    return asyncio.run(live())


def test_a_connection_is_kept_for_the_next_request():
    contents, server = told(answer(b"one"), answer(b"two"))
    assert contents == [b"one", b"two"]
    assert server.connections == [1, 1]
    assert [body for _, _, body in server.requests] == [b"1", b"2"]


def test_requests_at_once_have_a_connection_each_and_no_more():
    async def live():
        async with serving(*[answer()] * 20) as server, client_of(server.url) as client:
            for _ in range(4):
                await asyncio.gather(*(ask(client, server.url, b"x") for _ in range(5)))
            return server

    assert sorted(asyncio.run(live()).connections) == sorted([1, 2, 3, 4, 5] * 4)


@pytest.mark.parametrize(
    "raw",
    [
        answer(b'{"a": [1]}'),
        CHUNKED,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(b'{"a": [1]}'),
    ],
    ids=["length", "chunked", "interim"],
)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_however_an_answer_is_framed_and_cut_it_is_the_same_and_the_connection_stays(raw, in_pieces):
    said = [raw[place : place + 1] for place in range(len(raw))] if in_pieces else raw
    contents, server = told(said, said)
    assert contents == [b'{"a": [1]}'] * 2
    assert server.connections == [1, 1]


@pytest.mark.parametrize(
    "last",
    [
        (UNTIL_CLOSE, HANG_UP),
        (UNTIL_CLOSE.replace(b"1.1", b"1.0"), HANG_UP),
        answer(b'{"a": [1]}', "Connection: close"),
        answer(b'{"a": [1]}', version="1.0"),
    ],
    ids=["until close", "until close in 1.0", "close", "1.0"],
)
def test_after_an_answer_that_ends_its_connection_comes_another_connection(last):
    contents, server = told(last, answer(b"two"))
    assert contents == [b'{"a": [1]}', b"two"]
    assert server.connections == [1, 2]


def test_a_server_of_http_1_0_may_keep_a_connection():
    _, server = told(answer(b"", "Connection: keep-alive", version="1.0"), answer())
    assert server.connections == [1, 1]


def test_a_kept_connection_that_the_server_closes_meanwhile_is_not_used():
    async def live():
        async with serving((answer(), HANG_UP), answer()) as server, client_of(server.url) as client:
            await ask(client, server.url, b"1")
            await server.gone.wait()
            await asyncio.sleep(0.01)
            await ask(client, server.url, b"2")
            return server

    assert [body for _, _, body in asyncio.run(live()).requests] == [b"1", b"2"]


def test_a_request_that_dies_on_a_kept_connection_before_an_answer_is_sent_again_on_a_new_one():
    contents, server = told(answer(b"one"), HANG_UP, answer(b"two"))
    assert contents == [b"one", b"two"]
    assert server.connections == [1, 1, 2]


def test_a_request_is_sent_again_once():
    with pytest.raises(ConnectionError, match="ended before the reply"):
        told(answer(), HANG_UP, HANG_UP, answer())


@pytest.mark.parametrize(
    "broken",
    [
        HANG_UP,
        (b"HTTP/1.1 200 OK\r\nContent-", HANG_UP),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", HANG_UP),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", HANG_UP),
        (b"HTTP/1.1 100 Continue\r\n\r\n", HANG_UP),
    ],
    ids=["nothing", "head", "length", "chunked", "interim"],
)
def test_half_an_answer_is_none(broken):
    with pytest.raises(ConnectionError, match="ended before the reply"):
        told(broken)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=["ssh", "two lengths", "two framings", "upgrade"],
)
def test_what_is_no_http_is_said_to_be_none(nonsense):
    with pytest.raises(ConnectionError, match="no HTTP"):
        told(nonsense)


def test_an_answer_that_nobody_asked_for_is_given_to_nobody():
    contents, server = told(answer(b"one") + answer(b"smuggled"), answer(b"two"))
    assert contents == [b"one", b"two"]
    assert server.connections == [1, 2]


def test_words_on_an_idle_connection_end_it():
    async def live():
        late = answer(b"", status="408 Request Timeout")
        async with serving((answer(), b"", late), answer(b"two")) as server, client_of(server.url) as client:
            await ask(client, server.url, b"1")
            await server.gone.wait()
            return [heard.content for heard in await ask(client, server.url, b"2")], server.connections

    assert asyncio.run(live()) == ([b"two"], [1, 2])


@pytest.mark.parametrize(
    "endless",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n", *[b"x" * (1 << 20)] * 100),
        (b"HTTP/1.1 200 OK\r\n", *[b"X-Header: x\r\n" * (1 << 16)] * 130),
    ],
    ids=["body", "head"],
)
def test_a_reply_of_100_megabytes_is_left_early(endless):
    async def live():
        async with serving(endless) as server, client_of(server.url) as client:
            with pytest.raises(ReplyTooLongError, match="8 MB"):
                await ask(client, server.url, b"1")
            await server.gone.wait()
            return server.sent_bytes

    assert asyncio.run(live()) < 64 << 20


def test_whoever_does_not_answer_in_time_is_left():
    async def live():
        async with serving(SILENCE) as server, client_of(server.url, reply_timeout_s=0.05) as client:
            with pytest.raises(TimeoutError):
                await ask(client, server.url, b"1")
            await server.gone.wait()

    asyncio.run(live())


def test_who_stops_waiting_ends_the_request():
    async def live():
        async with serving(SILENCE, answer(b"two")) as server, client_of(server.url) as client:
            waiting = asyncio.create_task(ask(client, server.url, b"1"))
            await server.asked.wait()
            waiting.cancel()
            await server.gone.wait()
            assert (await ask(client, server.url, b"2"))[0].content == b"two"

    asyncio.run(live())


def test_a_request_is_one_head_and_one_body():
    _, server = told(answer(), bodies=(b'{"a": 1}',), headers={"Authorization": "Bearer sk"})
    _, head, body = server.requests[0]
    lines = head.split("\r\n")
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
    assert {f"Host: 127.0.0.1:{server.port}", "Content-Length: 8", "Authorization: Bearer sk"} < set(lines)
    assert "Accept-Encoding: identity" in lines
    assert body == b'{"a": 1}'


def test_the_password_of_an_address_is_sent_and_its_path_is_quoted():
    async def live():
        async with serving(answer()) as server:
            url = server.url.replace("127", "me:p%40ss@127")
            async with client_of(url) as client:
                await client.request("POST", url + "/caf\u00e9 x")
            return server.requests[0][1]

    head = asyncio.run(live())
    assert head.startswith("POST /v1/caf%C3%A9%20x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert f"Authorization: Basic {base64.b64encode(b'me:p@ss').decode()}\r\n" in head


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_of_ipv6_is_one():
    async def live():
        async with serving(answer(b"six"), host="::1") as server:
            url = f"http://[::1]:{server.port}/v1"
            async with client_of(url) as client:
                assert (await ask(client, url, b""))[0].content == b"six"
            assert f"Host: [::1]:{server.port}\r\n" in server.requests[0][1]

    asyncio.run(live())


def outcome(*answers, monkeypatch=None, url=None):
    """What the endpoint's client makes of these answers to one call."""

    async def live():
        async with serving(*answers) as server:
            if monkeypatch:
                monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{server.port}")
            async with open_endpoint("teacher", url or server.url) as endpoint:
                return await endpoint.models(), server

    return asyncio.run(live())


def test_a_key_of_two_lines_is_refused_and_not_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\r\nX-Admin: yes")
    with pytest.raises(UsageError, match="visible ASCII") as caught:
        outcome(answer())
    assert "sk-secret" not in f"{caught.value.message} {caught.value.remedy}"


@pytest.mark.parametrize("address", ["http://host:port/v1", "http://host:99999/v1", "http://ho\x0bst/v1", "http:///v1"])
def test_an_address_that_no_request_can_be_sent_to_is_refused(address):
    with pytest.raises(UsageError, match="is not a URL"):
        base_url(address, parameter="sdg_teacher_endpoint")


def test_an_endpoint_that_has_moved_is_named_and_not_followed():
    moved = answer(b"", "Location: https://me:secret@new.example/v1/models", status="308 Permanent Redirect")
    with pytest.raises(ServiceError, match=r"answered 308: it is now at https://new\.example/v1") as caught:
        outcome(moved)
    assert caught.value.remedy == "set sdg_teacher_endpoint to https://new.example/v1"


def test_a_proxy_for_http_gets_the_whole_address_and_its_password(monkeypatch):
    models, server = outcome(
        answer(b'{"data": [{"id": "m"}]}'), monkeypatch=monkeypatch, url="http://teacher.example/v1"
    )
    assert models == ["m"]
    head = server.requests[0][1]
    assert head.startswith("GET http://teacher.example/v1/models HTTP/1.1\r\nHost: teacher.example\r\n")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:secret').decode()}\r\n" in head


def test_a_proxy_that_wants_another_password_is_told_from_the_teacher(monkeypatch):
    with pytest.raises(ServiceError, match="the proxy on the way to the teacher") as caught:
        outcome(answer(b"", status="407 Who?"), monkeypatch=monkeypatch, url="http://teacher.example/v1")
    assert "HTTP_PROXY" in caught.value.remedy
    assert "secret" not in caught.value.message


def test_a_proxy_that_is_none_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:secret@127.0.0.1:1080")
    with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
        outcome(url="https://teacher.example/v1")
    assert "secret" not in f"{caught.value.message} {caught.value.remedy}"


def test_a_proxy_that_hangs_up_or_is_not_there_is_a_fault_of_the_way(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(Unsteady):
        outcome(url="https://teacher.example/v1")


def test_half_of_a_surrogate_pair_in_a_reply_costs_that_character_alone():
    choice = b'{"choices": [{"message": {"content": "a\\ud800b"}}]}'

    async def live():
        async with serving(answer(choice)) as server, open_endpoint("teacher", server.url) as endpoint:
            return endpoint.reply(await endpoint.client.request("POST", server.url))

    assert asyncio.run(live()).text == "a?b"
