"""One HTTP exchange with a registry: authorised, retried, and its refusals in the user's words.

Neither credentials nor tokens nor the state in an upload's URL ever reach an error.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from instructlab_pipeline.errors import PipelineError, ServiceError, UsageError
from instructlab_pipeline.publish.address import origin, placed, verbatim
from instructlab_pipeline.publish.challenge import Challenge, parse_challenges
from instructlab_pipeline.publish.credentials import Credentials
from instructlab_pipeline.publish.refusal import Reply, Visit, refused_elsewhere
from instructlab_pipeline.publish.trouble import reason, untrusted

if TYPE_CHECKING:
    import aiohttp

ATTEMPTS = 6
SHOWINGS = 3  # of what we are let in by: nothing, a token that others of us used up or that has just expired, a new one
FIRST_PAUSE_S = 0.3  # doubled after each failure: 9 s in all
LONGEST_PAUSE_S = 60.0
SILENCE_S = 300.0  # without taking or giving a byte: a registry may copy a blob in its storage before it answers
CONNECT_S = 15.0
BUSY = frozenset({408, 429, 500, 502, 503, 504})
NO_ENTRY = frozenset({401, 403})
MOVED = frozenset({307, 308})  # the redirects that keep method and body
MOST_MOVES = 5
TELL_THE_ADMINISTRATOR = "tell the registry's administrator"
_TOKEN = re.compile(r"[\x21-\x7e]+")

Result = TypeVar("Result")
Body = Callable[[], AsyncIterator[bytes]]


class Broken(Exception):  # noqa: N818 - an interruption that a retry may mend
    """A connection that broke, or a registry that is too busy; `pause_s` is how long it asked us to wait."""

    def __init__(self, reason: str, *, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


@dataclass(frozen=True, kw_only=True)
class Request:
    """`body` is called anew for each attempt."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None


@dataclass(kw_only=True)
class Transport:
    """Talks to one repository of one registry. `base` is its URL, such as `https://quay.io`."""

    http: "aiohttp.ClientSession"
    base: str
    registry: str
    repository: str
    credentials: Credentials | None
    writing: bool = True
    borrowed: Sequence[str] = ()
    _authorization: str | None = None
    _authorizing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, request: Request, *, expected: frozenset[int]) -> Reply:
        """Retried until the registry gives an answer; one that is not `expected` is an error.

        Raises:
            ServiceError: refused, or still broken after all attempts.
        """
        return await self.persist(lambda: self.once(request, expected=expected))

    async def persist(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Repeat `attempt` while it is Broken, with growing pauses; the last failure is told."""
        for number in range(1, ATTEMPTS + 1):
            try:
                return await attempt()
            except Broken as broken:
                if number == ATTEMPTS:
                    raise self.gave_up(broken) from None
                await pause(number, broken)
        raise AssertionError

    async def once(self, request: Request, *, expected: frozenset[int]) -> Reply:
        """One attempt, and further ones where the registry wanted to know who we are first.

        Raises:
            Broken: try again.
            ServiceError: trying again would not help.
        """
        for _ in range(SHOWINGS):
            used = self._authorization
            reply = await self._followed(request)
            if reply.status != 401 or not self._is_ours(reply.url) or not await self._authorize(reply, used):
                break
        if reply.status in expected:
            return reply
        if reply.status in NO_ENTRY and not self._is_ours(reply.url):
            raise refused_elsewhere(self.registry, reply)
        if (reply.status in BUSY and not reply.tells_of_no_room) or reply.tells_of_damage:
            raise Broken(f"status {reply.status}{reply.complaint}", pause_s=reply.retry_after_s)
        raise self._refused(request, reply)

    def gave_up(self, broken: Broken) -> ServiceError:
        return ServiceError(
            f"{self.registry} cannot be used: {broken} (tried {ATTEMPTS} times)",
            remedy="see whether the address is right and the registry is up, then run the same command again",
        )

    async def _followed(self, request: Request) -> Reply:
        """The answer from where the registry sends us. What asks for a token, and may carry one, does not come here."""
        reply = await self._exchange(request)
        for _ in range(MOST_MOVES):
            if reply.status not in MOVED or not reply.headers.get("Location"):
                break
            request = replace(request, url=self.placed(reply.headers["Location"], below=reply.url))
            reply = await self._exchange(request)
        return reply

    def placed(self, location: str, *, below: str) -> str:
        """The URL that the registry gave in an answer to a request at `below`."""
        try:
            return placed(location, below=below, base=self.base)
        except ValueError:
            raise ServiceError(
                f"{self.registry} sends us on to an address that is none", remedy=TELL_THE_ADMINISTRATOR
            ) from None

    async def _exchange(self, request: Request, authorization: str | None = None) -> Reply:
        import aiohttp

        self._require_tls(request.url)
        follow = request.method in {"GET", "HEAD"}
        try:
            headers = self._headers(request, authorization)
            async with asyncio.timeout(SILENCE_S) as limit:
                data = _watched(request.body(), limit) if request.body else None
                async with self.http.request(
                    request.method, verbatim(request.url), headers=headers, data=data, allow_redirects=follow
                ) as response:
                    self._require_tls(str(response.url))
                    return Reply(
                        status=response.status,
                        headers=_joined(response.headers),
                        content=await response.read(),
                        url=str(response.url),
                    )
        except aiohttp.InvalidURL:
            host = urlsplit(request.url).netloc
            raise UsageError(f"{host} is no address of a registry", remedy="write HOST or HOST:PORT") from None
        except aiohttp.ClientSSLError as error:
            raise untrusted(self.registry, error) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error.__cause__, PipelineError):  # of the body, which could not be read
                raise error.__cause__ from None
            raise Broken(self._reason(error, request.url)) from None

    def _headers(self, request: Request, authorization: str | None = None) -> dict[str, str]:
        if authorization or (self._authorization and self._is_ours(request.url)):
            return {**request.headers, "Authorization": authorization or str(self._authorization)}
        return dict(request.headers)

    async def _authorize(self, reply: Reply, used: str | None) -> bool:
        """Take up the registry's challenge; False where we cannot, or did so to no avail."""
        async with self._authorizing:
            if self._authorization != used:
                return True  # another request has just done it
            challenge = parse_challenges([reply.headers.get("WWW-Authenticate", "")])
            if challenge is None:
                return False
            if challenge.scheme == "bearer":
                self._authorization = f"Bearer {await self._token(challenge)}"
                return True
            self._authorization = self.credentials.basic if self.credentials else None
            return self._authorization not in {None, used}

    async def _token(self, challenge: Challenge) -> str:
        """Ask the registry's token service, showing our credentials to it if we have any."""
        if not challenge.realm.startswith(("https://", "http://")):
            raise ServiceError(
                f"{self.registry} wants a token, and does not say from where", remedy=TELL_THE_ADMINISTRATOR
            )
        if self.credentials and self.base.startswith("https:") and not challenge.realm.startswith("https:"):
            raise ServiceError(
                f"{self.registry} asks for the credentials at an address without TLS",
                remedy="tell the registry's administrator: its token service must be served over https",
            )
        own = f"repository:{self.repository}:{'pull,push' if self.writing else 'pull'}"
        others = [f"repository:{name}:pull" for name in self.borrowed]
        request = self._token_request(challenge, [own, *others])
        reply = await self._ask_for_token(request)
        if reply.status in NO_ENTRY and others:  # some refuse all, for one repository that is gone or not for us
            request = self._token_request(challenge, [own])
            reply = await self._ask_for_token(request)
        if reply.status in BUSY:
            raise Broken(f"its token service said {reply.status}", pause_s=reply.retry_after_s)
        if reply.status != 200:
            raise self._refused(request, reply)
        token = reply.document.get("token") or reply.document.get("access_token")
        if isinstance(token, str) and _TOKEN.fullmatch(token):
            return token
        raise ServiceError(
            f"the token service of {self.registry}, {urlsplit(request.url).netloc}, answered without a token",
            remedy="see whether a proxy answers in its place, else tell the registry's administrator",
        )

    async def _ask_for_token(self, request: Request) -> Reply:
        login = self.credentials.basic if self.credentials and request.method == "GET" else None
        return await self._exchange(request, login)

    def _token_request(self, challenge: Challenge, scopes: Sequence[str]) -> Request:
        if self.credentials is None or self.credentials.identity_token is None:
            return Request(method="GET", url=challenge.token_url(scopes))
        form = challenge.token_form(scopes, identity_token=self.credentials.identity_token)
        return Request(
            method="POST",
            url=challenge.realm,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(form))},
            body=whole(form),
        )

    def _is_ours(self, url: str) -> bool:
        """Credentials go to the registry itself and nowhere that it sends us, and nobody there may ask for them."""
        return origin(url) == origin(self.base)

    def _require_tls(self, url: str) -> None:
        if self.base.startswith("https:") and url.startswith("http:"):
            raise ServiceError(
                f"{self.registry} sends us on to {urlsplit(url).netloc} without TLS",
                remedy="tell the registry's administrator: where blobs lie must be served over https, too",
            )

    def _reason(self, error: BaseException, url: str) -> str:
        return reason(error) if self._is_ours(url) else f"{reason(error)}, at {urlsplit(url).netloc}"

    def _refused(self, request: Request, reply: Reply) -> PipelineError:
        visit = Visit(
            registry=self.registry, repository=self.repository, credentials=self.credentials, writing=self.writing
        )
        return visit.refused(reply, method=request.method, url=request.url)


async def _watched(chunks: AsyncIterator[bytes], limit: asyncio.Timeout) -> AsyncIterator[bytes]:
    """The same chunks; each one that is taken puts the limit off."""
    async for chunk in chunks:
        limit.reschedule(asyncio.get_running_loop().time() + SILENCE_S)
        yield chunk


def whole(content: bytes) -> Body:
    """A body that is at hand."""

    async def body() -> AsyncIterator[bytes]:
        yield content

    return body


async def pause(number: int, broken: Broken) -> None:
    """After the `number`th failure: what the registry asked for, else twice as long as before, with some jitter."""
    wanted = broken.pause_s if broken.pause_s is not None else FIRST_PAUSE_S * 2 ** (number - 1)
    await asyncio.sleep(min(wanted, LONGEST_PAUSE_S) * random.uniform(0.8, 1.2))


def _joined(headers: Any) -> dict[str, str]:
    """Headers by canonical name; repeated ones joined, as RFC 9110 5.3 allows."""
    joined: dict[str, str] = {}
    for name, value in headers.items():
        key = name.title().replace("Www", "WWW")
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined
