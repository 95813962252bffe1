"""A thin client for chat completions: what an endpoint says becomes a Reply, or one of four kinds of trouble.

Busy          429, 503, timeout        later, and fewer at once
Unsteady      5xx, broken connection   later
Refused       400, 413, 422            never: this call's own fault
ServiceError  401, 403, 404, TLS ...   never: every call would meet it
"""

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.sdg.calls import Call, Reply

if TYPE_CHECKING:
    from aiohttp import ClientHttpProxyError, ClientResponse, ClientSession
    from yarl import URL

CONNECT_TIMEOUT_S = 10.0
REPLY_TIMEOUT_S = 600.0
LONGEST_REPLY_BYTES = 8 << 20
KEYS = {"teacher": ("OPENAI_API_KEY",), "judge": ("JUDGE_API_KEY", "OPENAI_API_KEY")}  # the first that is set
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_KEEP_ALIVE_S = 60.0


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
    session: "ClientSession"

    @cached_property
    def proxy(self) -> str | None:
        """From HTTP_PROXY, HTTPS_PROXY and NO_PROXY. aiohttp would look there for each request, in a thread."""
        parts = urlsplit(self.url)
        if parts.hostname in LOOPBACK or proxy_bypass(str(parts.hostname)):
            return None
        return getproxies().get(parts.scheme)

    async def complete(self, call: Call) -> Reply:
        """Raises:
        Busy, Unsteady, Refused: see the top of this file.
        ServiceError: no call to this endpoint can succeed.
        """
        body = await self._exchange("POST", self._completions, call.body)
        try:
            return _reply(json.loads(body))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise Unsteady(f"{self.url} answered something other than a chat completion") from error

    async def models(self) -> list[str]:
        """The models that the endpoint says it serves; none where it does not tell."""
        try:
            record = json.loads(await self._exchange("GET", self.url + "/models", None))
            return [str(model["id"]) for model in record["data"]]
        except (Refused, ValueError, KeyError, TypeError):
            return []

    @cached_property
    def _completions(self) -> "URL":
        """Parsed once, not for each call."""
        from yarl import URL

        return URL(self.url + "/chat/completions")

    async def _exchange(self, method: str, url: "str | URL", body: bytes | None) -> bytes:
        import aiohttp

        try:
            async with self.session.request(method, url, data=body, proxy=self.proxy) as response:
                content = await self._content(response)
                if response.status != 200:
                    raise self._trouble(method, response.status, content, response.headers)
                return content
        except TimeoutError as error:
            raise Busy(f"{self.url} did not answer in time") from error
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise self._untrusted(error) from error
        except aiohttp.ClientHttpProxyError as error:
            raise self._kept_out(error) from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise Unsteady(f"{shown(self.url)}: {error or type(error).__name__}") from error

    async def _content(self, response: "ClientResponse") -> bytes:
        parts, size = [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > LONGEST_REPLY_BYTES:
                response.close()
                raise Refused(f"the reply is longer than {LONGEST_REPLY_BYTES >> 20} MB")
        return b"".join(parts)

    def _trouble(self, method: str, status: int, content: bytes, headers: Mapping[str, str]) -> Exception:
        said = _said(content)
        where = f"{shown(self.url)} answered {status}"
        if status in (408, 429, 503) and "insufficient_quota" not in said:
            return Busy(f"{where}: {said}", retry_after_s=_retry_after_s(headers))
        if status >= 500:
            return Unsteady(f"{where}: {said}")
        if status in (400, 413, 422) or (status == 404 and method == "GET"):
            return Refused(said or f"status {status}")
        return ServiceError(f"the {self.role} at {where}: {said}".removesuffix(": "), remedy=self._remedy(status))

    def _remedy(self, status: int) -> str:
        key = " or ".join(KEYS[self.role])
        if status in (401, 403):
            return f"set {key} to a key that this endpoint takes"
        if status in (402, 429):
            return f"top up the account behind {key}, then run again: every finished call is kept"
        return f"check sdg_{self.role}_endpoint (it often ends in /v1) and sdg_{self.role}_model"

    def _kept_out(self, error: "ClientHttpProxyError") -> Exception:
        """What a proxy's own refusal to lead us anywhere means."""
        said = f"the proxy on the way to the {self.role} at {shown(self.url)} answered {error.status}: {error.message}"
        if error.status >= 500:
            return Unsteady(said)
        return ServiceError(said, remedy="check HTTPS_PROXY and its password, or list the host in NO_PROXY")

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
async def open_session(url: str, role: str) -> AsyncIterator["ClientSession"]:
    """A pool of kept connections; the role's key and, where `url` needs them, authorities come from the environment."""
    import aiohttp

    key = next((value for name in KEYS[role] if (value := os.environ.get(name, "").strip())), "")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    authorities = ssl.create_default_context() if urlsplit(url).scheme == "https" else True
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, ssl=authorities)
    timeout = aiohttp.ClientTimeout(total=REPLY_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
    cookies = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers, cookie_jar=cookies
    ) as session:
        yield session


def base_url(address: str, *, parameter: str) -> str:
    """The URL that `/chat/completions` is appended to: `http://host` means `http://host/v1`."""
    parts = urlsplit(address.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
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
    return Reply(
        text=choice["message"].get("content") or "",
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


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds to be quiet, told as such or as a date (RFC 9110, 10.2.3)."""
    told = headers.get("Retry-After", "0").strip()
    try:
        seconds = float(told) if told[:1].isdigit() else parsedate_to_datetime(told).timestamp() - time.time()
    except ValueError:
        return 0.0
    return max(0.0, min(seconds, REPLY_TIMEOUT_S))
