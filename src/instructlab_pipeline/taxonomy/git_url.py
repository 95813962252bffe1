"""Which repositories may be read, and how each is named to git and to people.

`https://`, `http://`, `ssh://`, `git://`, `user@host:path`, `file:PATH` and plain paths are taken. Anything that git
would run as a command (`ext::`, a leading dash) is refused.
"""

import base64
import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from instructlab_pipeline.errors import SourceError

REMOTE_SCHEMES = ("https", "http", "ssh", "git")
HTTP_SCHEMES = ("https", "http")
USERNAME, PASSWORD = "GIT_USERNAME", "GIT_PASSWORD"  # environment variables
ANY_NAME = "git"  # what servers want beside a token, which says itself whose it is
HOST_AND_PATH = re.compile(r"(?:[\w.-]+@)?(?:[\w.-]+|\[[\da-fA-F:.]+\]):[^:]+")  # git's short form of ssh
PLACE_AND_PATH = re.compile(r"([\w+.-]+://[^/]+|[^/:\[]*\[[^\]]*\]:|[^/:]+:|)(.*)")
HELPER = re.compile(r"[\w+.-]*::")
CREDENTIALS = re.compile(r"//.*@")  # slashes in a password among them
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
REMEDY = f"use {', '.join(f'{scheme}://' for scheme in REMOTE_SCHEMES)} or file:PATH"


@dataclass(frozen=True, kw_only=True)
class GitUrl:
    """`address` is for git, `shown` for people and files; neither holds a password.

    `authorization` is the value of an HTTP header, or empty. `local`: the repository lies on this machine.
    """

    address: str
    shown: str
    authorization: str = ""
    local: bool = False


def parse(url: str) -> GitUrl:
    """What `url` means; a path counts from the current directory.

    Raises:
        SourceError: it is no URL that we let git use.
    """
    if not url or url.startswith("-") or HELPER.match(url) or CONTROL.search(url):
        raise SourceError(f"{url!r} is not a git URL that we use", remedy=REMEDY)
    parts = _parts(url)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise SourceError(f"{url} names another machine, {parts.netloc}", remedy="use file:///PATH")
        return GitUrl(address=_absolute(unquote(parts.path)), shown=url, local=True)
    if "://" in url:
        return _remote(parts)
    if HOST_AND_PATH.fullmatch(url) and not os.path.exists(url):  # noqa: PTH110 - a name may be too long for Path
        return GitUrl(address=url, shown=url)
    return GitUrl(address=_absolute(url), shown=url, local=True)


def parse_with_login(url: str, environment: Mapping[str, str]) -> GitUrl:
    """As `parse`; over https and http the name and the password, or token, in the environment open its host.

    Credentials in the URL itself come first. Without either, git's own helpers are asked.
    """
    parsed = parse(url)
    password = environment.get(PASSWORD, "").strip()
    if parsed.local or parsed.authorization or not password or urlsplit(parsed.address).scheme not in HTTP_SCHEMES:
        return parsed
    return replace(parsed, authorization=_basic(environment.get(USERNAME, "").strip() or ANY_NAME, password))


def parse_beside(url: str, base: GitUrl) -> GitUrl:
    """As `parse`, for a URL that stands in a file of the repository `base`.

    `./` and `../` count from `base`, as in git's submodules. Only a local repository can name local ones. What opens
    `base` opens everything in the same place.
    """
    if not url.startswith(("./", "../")):
        named = parse(url)
        if named.local and not base.local:
            raise SourceError(f"{url} lies on this machine, which a taxonomy from elsewhere cannot name", remedy=REMEDY)
        same_place = _split(named.address)[0] == _split(base.address)[0]
        return replace(named, authorization=base.authorization) if same_place and not named.authorization else named
    place, path = _split(base.address)
    path = posixpath.normpath(posixpath.join(path, url))
    if path.startswith(".."):
        raise SourceError(f"{url} leads out of {base.shown}", remedy="take away one ../")
    address = place + path
    return replace(base, address=address, shown=url if base.local else address)


def _absolute(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError as error:  # ~somebody
        raise SourceError(f"{path}: there is no such home folder", remedy="write the whole path") from error


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # which alone looks at it
    except ValueError as error:
        shown = CREDENTIALS.sub("//", url)
        raise SourceError(f"{shown} is no valid URL", remedy="check the host and the port, or brackets") from error
    return parts


def _remote(parts: SplitResult) -> GitUrl:
    user, _, host = parts.netloc.rpartition("@")
    if parts.scheme not in REMOTE_SCHEMES or not host or host.startswith("-") or user.startswith("-"):
        raise SourceError(f"{parts.scheme}://{host} is not a place that git is let go to", remedy=REMEDY)
    if parts.query or parts.fragment:
        message = f"{parts.scheme}://{host}{parts.path} goes on with a ? or a #, which names no repository"
        raise SourceError(message, remedy=f"name the revision by itself, and a token in {PASSWORD}")
    name = user.partition(":")[0]
    keeps_name = name and parts.scheme == "ssh"
    path = parts.path.rstrip("/")  # so that one repository has one name
    address = urlunsplit(parts._replace(netloc=f"{name}@{host}" if keeps_name else host, path=path))
    authorization = _basic(*_name_and_password(user)) if user and parts.scheme in HTTP_SCHEMES else ""
    return GitUrl(address=address, shown=address, authorization=authorization)


def _name_and_password(user: str) -> tuple[str, str]:
    name, _, password = user.partition(":")
    return unquote(name), unquote(password)


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def _split(address: str) -> tuple[str, str]:
    """`https://host`, `/a/b`; `host:`, `a/b`; nothing and a path."""
    match = PLACE_AND_PATH.fullmatch(address)
    assert match is not None
    return match[1], match[2]
