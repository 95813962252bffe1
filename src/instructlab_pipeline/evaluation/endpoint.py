"""A thin client for chat completions, for the judge and for a candidate that is served: many requests, few at a time.

Synthetic data has a scheduler, made for millions of calls over hours. Here a few thousand have to be made, and none of
them waits for another, so a bounded pool with patience is all that is needed.
"""

import asyncio
import json
import os
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.http_client import REPLY_TIMEOUT_S, Answer, HttpClient, ReplyTooLongError, open_client
from instructlab_pipeline.http_route import CONNECT_TIMEOUT_S, ProxyRefusedError

PASSING = frozenset({408, 425, 429})  # besides 5xx: another attempt may succeed
OWN_FAULT = frozenset({400, 413, 422})  # this request can never succeed, others may
BUSY = frozenset({429, 503})  # it answers others meanwhile, and this one in its turn

Heard = Callable[[str, str | None, str], None]


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a request that meets trouble is sent, and the delays in between, each twice the one before.

    One that gets no reply at all is sent less often: it has been waited for long enough.
    """

    attempts: int = 10
    silent_attempts: int = 3
    reply_timeout_s: float = REPLY_TIMEOUT_S
    first_delay_s: float = 0.2
    longest_delay_s: float = 20.0

    def delay_s(self, attempt: int) -> float:
        """Scattered, so that requests that failed together do not return together."""
        return min(self.longest_delay_s, self.first_delay_s * 2.0**attempt) * random.uniform(0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Address:
    """An OpenAI-compatible server. `role` is what it does here, judge or candidate; `model` None: its only one."""

    role: str
    endpoint: str
    model: str | None
    patience: Patience = Patience()

    @property
    def parameter(self) -> str:
        return f"eval_{self.role}_endpoint"

    @property
    def url(self) -> str:
        """What `/chat/completions` is appended to: `http://host` means `http://host/v1`."""
        parts = urlsplit(self.endpoint.strip())
        path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
        return parts._replace(path=path, query="", fragment="").geturl()

    @property
    def key(self) -> str:
        """From JUDGE_API_KEY or CANDIDATE_API_KEY; a judge may also share the teacher's OPENAI_API_KEY."""
        own = os.environ.get(f"{self.role.upper()}_API_KEY", "")
        shared = os.environ.get("OPENAI_API_KEY", "") if self.role == "judge" else ""
        return (own or shared).strip()


class TroubleError(Exception):
    """An attempt that failed, and how long the server wants to be left alone."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BusyError(TroubleError):
    """The server has too much to do at the moment."""


class SilenceError(TroubleError):
    """No reply within `Patience.reply_timeout_s`."""


class RefusedError(Exception):
    """A request that the server will never answer."""


def model_of(address: Address) -> str:
    """The model that answers; the server is asked only where the parameters leave it open.

    Raises:
        UsageError: it serves several, so one must be named. ServiceError: it does not answer.
    """
    return address.model or asyncio.run(_only_model(address))


async def complete(address: Address, requests: Mapping[str, Mapping[str, Any]], *, at_once: int, heard: Heard) -> None:
    """Ask for every chat completion; `heard` gets each one's key and text, or None and why where it was refused.

    Raises:
        ServiceError: the server wants no request of ours, or is gone. What was heard before stays heard.
    """
    waiting = iter(requests.items())
    try:
        async with _opened(address) as client, asyncio.TaskGroup() as group:
            pool = _Pool(address=address, client=client, heard=heard)
            for _ in range(min(at_once, len(requests))):
                group.create_task(pool.work(waiting))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


@dataclass(kw_only=True)
class _Pool:
    address: Address
    client: HttpClient
    heard: Heard
    answered: int = 0

    async def work(self, waiting: Iterator[tuple[str, Mapping[str, Any]]]) -> None:
        for key, request in waiting:
            text, refusal = None, ""
            try:
                text = await self._patiently(json.dumps(request).encode())
            except RefusedError as error:
                refusal = str(error)
            self.answered += text is not None
            self.heard(key, text, refusal)

    async def _patiently(self, body: bytes) -> str:
        before, patience, attempt, silences = self.answered, self.address.patience, 0, 0
        while attempt < patience.attempts and silences < patience.silent_attempts:
            try:
                return _text(await _exchange(self.client, self.address, "/chat/completions", body))
            except TroubleError as trouble:
                last = trouble
                await asyncio.sleep(max(patience.delay_s(attempt), trouble.retry_after_s))
            attempt += 1
            silences += isinstance(last, SilenceError)
            if isinstance(last, BusyError) and self.answered > before:
                before, attempt = self.answered, 0
        if self.answered > before:
            raise RefusedError(str(last))  # others were answered meanwhile, so it is this request
        raise _gone(self.address, last)


@asynccontextmanager
async def _opened(address: Address) -> AsyncIterator[HttpClient]:
    headers = {"Authorization": f"Bearer {address.key}"} if address.key else {}
    async with open_client(address.url, headers, reply_timeout_s=address.patience.reply_timeout_s) as client:
        yield client


async def _only_model(address: Address) -> str:
    async with _opened(address) as client:
        try:
            record = json.loads(await _exchange(client, address, "/models"))
            served = [str(model["id"]) for model in record["data"]]
        except (TroubleError, RefusedError) as error:
            raise _gone(address, error) from error
        except (ValueError, KeyError, TypeError):
            served = []
    if len(served) != 1:
        listed = ", ".join(served) or "it does not say which"
        raise UsageError(
            f"{_shown(address.url)} serves {len(served)} models ({listed}): which one is the {address.role}?",
            remedy=f"set eval_{address.role}_model",
        )
    return served[0]


async def _exchange(client: HttpClient, address: Address, path: str, body: bytes = b"") -> bytes:
    where, started = _shown(address.url), time.monotonic()
    try:
        answer = await client.request("POST" if body else "GET", address.url + path, body)
    except ssl.SSLError as error:
        raise ServiceError(
            f"the {address.role} at {where} cannot be trusted: {error}",
            remedy="set SSL_CERT_FILE to a PEM file that holds the certificate authority of this endpoint",
        ) from error
    except ProxyRefusedError as error:
        raise ServiceError(
            f"the proxy on the way to the {address.role} at {where} answered {error.status}: {error}",
            remedy="check HTTPS_PROXY and its password, or list the host in NO_PROXY",
        ) from error
    except ReplyTooLongError as error:
        raise RefusedError(str(error)) from error
    except TimeoutError as error:
        if time.monotonic() - started < address.patience.reply_timeout_s:
            raise TroubleError(f"{where}: no connection within {CONNECT_TIMEOUT_S:g} s") from error
        raise SilenceError(f"{where}: no reply within {address.patience.reply_timeout_s:g} s") from error
    except OSError as error:
        raise TroubleError(f"{where}: {error or type(error).__name__}") from error
    return _content(answer, address, where)


def _content(answer: Answer, address: Address, where: str) -> bytes:
    if answer.status == 200:
        return answer.content
    status = answer.status
    said = f"go to {answer.header('Location')}" if 300 <= status < 400 else _said(answer.content)
    if status in OWN_FAULT:
        raise RefusedError(said)
    if status >= 500 or (status in PASSING and "insufficient_quota" not in said):
        kind = BusyError if status in BUSY else TroubleError
        raise kind(f"{where} answered {status}: {said}", retry_after_s=_retry_after_s(answer))
    raise ServiceError(f"the {address.role} at {where} answered {status}: {said}", remedy=_remedy(address, status))


def _said(content: bytes) -> str:
    """The beginning of a body, in one line."""
    return " ".join(content.decode(errors="replace").split())[:300]


def _text(content: bytes) -> str:
    """The message of a chat completion: a text, parts of one, or null for none."""
    try:
        message = json.loads(content)["choices"][0]["message"]["content"]
        text = "".join(part["text"] for part in message) if isinstance(message, list) else message or ""
        return text.encode(errors="replace").decode()  # half of a surrogate pair cannot be written to any file
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise TroubleError(f"it answered something other than a chat completion: {_said(content)}") from error


def _retry_after_s(answer: Answer) -> float:
    try:
        return max(0.0, min(float(answer.header("Retry-After") or 0), REPLY_TIMEOUT_S))
    except ValueError:
        return 0.0


def _remedy(address: Address, status: int) -> str:
    if status in (401, 403):
        return f"set {address.role.upper()}_API_KEY to a key that this endpoint takes"
    if status in PASSING:
        return "raise the quota of this account, or use the key of another one"
    return f"check {address.parameter} (it often ends in /v1) and eval_{address.role}_model"


def _gone(address: Address, trouble: Exception) -> ServiceError:
    return ServiceError(
        f"the {address.role} at {_shown(address.url)} does not answer: {trouble}",
        remedy=f"bring it back or correct {address.parameter}, then run again: every finished reply is kept",
    )


def _shown(url: str) -> str:
    """A URL without the user and password that it may carry."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
