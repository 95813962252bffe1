"""A thin client for chat completions: what an endpoint says becomes a Reply, or one of four kinds of trouble.

Busy          429, 503, timeout        later, and fewer at once
Unsteady      5xx, broken connection   later
Refused       400, 413, 422            never: this call's own fault
ServiceError  401, 403, 404, TLS ...   never: every call would meet it
"""

import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import urljoin, urlsplit

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.http_client import REPLY_TIMEOUT_S, Answer, Ended, HttpClient, ReplyTooLongError, open_client
from instructlab_pipeline.http_route import ProxyRefusedError, address_of
from instructlab_pipeline.sdg.calls import Call, Reply

KEYS = {"teacher": ("OPENAI_API_KEY",), "judge": ("JUDGE_API_KEY", "OPENAI_API_KEY")}  # the first that is set


class Trouble(Exception):  # noqa: N818 - the scheduler's everyday business
    """A call without a reply; the message is for people."""


class Busy(Trouble):
    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unsteady(Trouble):
    pass


class Refused(Trouble):
    pass


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An OpenAI-compatible server. `role` is what it does for us: teacher or judge."""

    role: str
    url: str
    client: HttpClient

    def ask(self, call: Call, ended: Ended) -> None:
        """`ended` gets what `reply` makes a reply of."""
        self.client.send(self._completions, call.body, ended)

    def reply(self, outcome: Answer | Exception) -> Reply:
        """What became of a call.

        Raises:
            Busy, Unsteady, Refused: see the top of this file.
            ServiceError: no call to this endpoint can succeed.
        """
        content = self._content("POST", outcome)
        try:
            return _reply(json.loads(content.decode()))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise Unsteady(f"{shown(self.url)} answered something other than a chat completion") from error

    async def models(self) -> list[str]:
        """The models that the endpoint says it serves; none where it does not tell."""
        try:
            outcome: Answer | Exception = await self.client.request("GET", self.url + "/models")
        except Exception as error:  # noqa: BLE001 - `_content` knows which of them are the endpoint's
            outcome = error
        try:
            return [str(model["id"]) for model in json.loads(self._content("GET", outcome))["data"]]
        except (Refused, ValueError, KeyError, TypeError):
            return []

    @cached_property
    def _completions(self) -> bytes:
        return self.client.head("POST", self.url + "/chat/completions")

    def _content(self, method: str, outcome: Answer | Exception) -> bytes:
        if isinstance(outcome, Exception):
            raise self._failure(outcome) from outcome
        if outcome.status != 200:
            raise self._trouble(method, outcome)
        return outcome.content

    def _failure(self, error: Exception) -> Exception:
        """What it means that there is no answer."""
        match error:
            case TimeoutError():
                return Busy(f"{shown(self.url)} did not answer in time")
            case ssl.SSLError():
                return self._untrusted(error)
            case ProxyRefusedError():
                return self._kept_out(error.status, str(error))
            case ReplyTooLongError():
                return Refused(str(error))
            case OSError():
                return Unsteady(f"{shown(self.url)}: {error or type(error).__name__}")
        return error

    def _trouble(self, method: str, answer: Answer) -> Exception:
        status, said = answer.status, _said(answer.content)
        where = f"{shown(self.url)} answered {status}"
        if status in (408, 429, 503) and "insufficient_quota" not in said:
            return Busy(f"{where}: {said}", retry_after_s=_retry_after_s(answer))
        if status >= 500:
            return Unsteady(f"{where}: {said}")
        if status in (400, 413, 422) or (status == 404 and method == "GET"):
            return Refused(said or f"status {status}")
        if status == 407:
            return self._kept_out(status, said)
        if 300 <= status < 400 and answer.header("Location"):
            return self._moved(status, answer.header("Location"))
        return ServiceError(f"the {self.role} at {where}: {said}".removesuffix(": "), remedy=self._remedy(status))

    def _moved(self, status: int, location: str) -> ServiceError:
        """Not followed: each request would be sent twice, and the key to whoever is there."""
        place = shown(urljoin(self.url, location)).removesuffix("/").removesuffix("/models")
        return ServiceError(
            f"the {self.role} at {shown(self.url)} answered {status}: it is now at {place}",
            remedy=f"set sdg_{self.role}_endpoint to {place.removesuffix('/chat/completions')}",
        )

    def _remedy(self, status: int) -> str:
        key = " or ".join(KEYS[self.role])
        if status in (401, 403):
            return f"set {key} to a key that this endpoint takes"
        if status in (402, 429):
            return f"top up the account behind {key}, then run again: every finished call is kept"
        return f"check sdg_{self.role}_endpoint (it often ends in /v1) and sdg_{self.role}_model"

    def _kept_out(self, status: int, message: str) -> Exception:
        """What a proxy's own refusal to lead us anywhere means."""
        said = f"the proxy on the way to the {self.role} at {shown(self.url)} answered {status}: {message}"
        if status >= 500:
            return Unsteady(said)
        return ServiceError(
            said.removesuffix(": "),
            remedy="check HTTPS_PROXY (HTTP_PROXY for http://) and its password, or list the host in NO_PROXY",
        )

    def _untrusted(self, error: Exception) -> ServiceError:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return ServiceError(
                f"the {self.role} at {shown(self.url)} cannot be trusted: {error}",
                remedy="set SSL_CERT_FILE to a PEM file that holds the certificate authority of this endpoint",
            )
        return ServiceError(
            f"the {self.role} at {shown(self.url)} does not speak TLS with us: {error}",
            remedy=f"check sdg_{self.role}_endpoint: an endpoint without TLS has an address that begins with http://",
        )


@asynccontextmanager
async def open_endpoint(role: str, url: str) -> AsyncIterator[Endpoint]:
    """With the role's key from the environment.

    Raises:
        UsageError: the key or a proxy from the environment is none.
    """
    key = next((value for name in KEYS[role] if (value := os.environ.get(name, "").strip())), "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with open_client(url, headers) as client:
        yield Endpoint(role=role, url=url, client=client)


def base_url(address: str, *, parameter: str) -> str:
    """The URL that `/chat/completions` is appended to: `http://host` means `http://host/v1`."""
    parts = address_of(address.strip())
    if parts is None:
        raise UsageError(f"{parameter}={address} is not a URL", remedy="write it like http://host:8000/v1")
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return parts._replace(path=path, query="", fragment="").geturl()


def shown(url: str) -> str:
    """A URL without the user and password that it may carry."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _reply(record: Mapping[str, Any]) -> Reply:
    choice = record["choices"][0]
    usage = record.get("usage") or {}
    text = choice["message"].get("content") or ""
    return Reply(
        text=text.encode(errors="replace").decode(),  # half of a surrogate pair cannot be written to any file
        finish=str(choice.get("finish_reason") or "stop"),
        tokens_in=int(usage.get("prompt_tokens") or 0),
        tokens_out=int(usage.get("completion_tokens") or 0),
    )


def _said(content: bytes) -> str:
    """The endpoint's own words about an error, in one short line."""
    text = content.decode(errors="replace")
    try:
        error = json.loads(text)
        error = error.get("error", error) if isinstance(error, dict) else error
        text = str(error.get("message") or error) + (f" ({error['code']})" if error.get("code") else "")
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:300]


def _retry_after_s(answer: Answer) -> float:
    """Seconds to be quiet, told as such or as a date (RFC 9110, 10.2.3)."""
    told = answer.header("Retry-After") or "0"
    try:
        seconds = float(told) if told[:1].isdigit() else parsedate_to_datetime(told).timestamp() - time.time()
    except ValueError:
        return 0.0
    return max(0.0, min(seconds, REPLY_TIMEOUT_S))
