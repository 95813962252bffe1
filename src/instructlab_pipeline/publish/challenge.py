"""What a registry's 401 asks for: the WWW-Authenticate header, RFC 9110 11.6.1. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

CLIENT_ID = "instructlab-pipeline"
_SCHEME = re.compile(r"(?:^|,)\s*(Basic|Bearer)(?=\s|,|$)", re.IGNORECASE)
_PARAMETER = re.compile(r'([a-zA-Z_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """`scheme` is `basic` or `bearer`; a bearer's token is asked for at `realm`."""

    scheme: str
    realm: str = ""
    service: str = ""

    def token_url(self, scopes: Sequence[str]) -> str:
        query = [*([("service", self.service)] if self.service else []), *(("scope", scope) for scope in scopes)]
        return f"{self.realm}{'&' if '?' in self.realm else '?'}{urlencode(query)}"

    def token_form(self, scopes: Sequence[str], *, identity_token: str) -> bytes:
        """The body of a POST to `realm`, where an identity token stands for a login (OAuth 2, RFC 6749 6)."""
        fields = {"grant_type": "refresh_token", "service": self.service, "scope": " ".join(scopes)}
        return urlencode({**fields, "client_id": CLIENT_ID, "refresh_token": identity_token}).encode()


def parse_challenges(headers: Sequence[str]) -> Challenge | None:
    """The first challenge that we can meet, a bearer's before a basic one; None where there is none."""
    found = [challenge for header in headers for challenge in _in_header(header)]
    return next((challenge for challenge in found if challenge.scheme == "bearer"), found[0] if found else None)


def _in_header(header: str) -> list[Challenge]:
    parts = _SCHEME.split(header)[1:]
    return [_challenge(scheme.lower(), text) for scheme, text in zip(parts[::2], parts[1::2], strict=True)]


def _challenge(scheme: str, text: str) -> Challenge:
    values = {match[1].lower(): match[2] if match[2] is not None else match[3] for match in _PARAMETER.finditer(text)}
    return Challenge(scheme=scheme, realm=values.get("realm", ""), service=values.get("service", ""))
