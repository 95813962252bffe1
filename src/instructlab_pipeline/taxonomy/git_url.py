"""Which repositories may be read, and how each is named to git and to people.

`https://`, `http://`, `ssh://`, `git://`, `user@host:path`, `file:PATH` and plain paths are taken. Anything that git
would run as a command (`ext::`, a leading dash) is refused.
"""

import base64
import posixpath
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from instructlab_pipeline.errors import SourceError

REMOTE_SCHEMES = ("https", "http", "ssh", "git")
HOST_AND_PATH = re.compile(r"(?:[\w.-]+@)?[\w.-]+:[^:]+")  # git's short form of ssh
PLACE_AND_PATH = re.compile(r"([\w+.-]+://[^/]+|[^/:]+:|)(.*)")
HELPER = re.compile(r"[\w+.-]*::")
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
    parts = urlsplit(url)
    if parts.scheme == "file":
        return GitUrl(address=_absolute(unquote(parts.path)), shown=url, local=True)
    if "://" in url:
        return _remote(parts)
    if HOST_AND_PATH.fullmatch(url) and not Path(url).exists():
        return GitUrl(address=url, shown=url)
    return GitUrl(address=_absolute(url), shown=url, local=True)


def parse_beside(url: str, base: GitUrl) -> GitUrl:
    """As `parse`, for a URL that stands in a file of the repository `base`.

    `./` and `../` count from `base`, as in git's submodules. Only a local repository can name local ones.
    """
    if not url.startswith(("./", "../")):
        named = parse(url)
        if named.local and not base.local:
            raise SourceError(f"{url} lies on this machine, which a taxonomy from elsewhere cannot name", remedy=REMEDY)
        return named
    place, path = _split(base.address)
    path = posixpath.normpath(posixpath.join(path, url))
    if path.startswith(".."):
        raise SourceError(f"{url} leads out of {base.shown}", remedy="take away one ../")
    address = place + path
    return replace(base, address=address, shown=url if base.local else address)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _remote(parts: SplitResult) -> GitUrl:
    user, _, host = parts.netloc.rpartition("@")
    if parts.scheme not in REMOTE_SCHEMES or not host or host.startswith("-") or user.startswith("-"):
        raise SourceError(f"{parts.scheme}://{host} is not a place that git is let go to", remedy=REMEDY)
    name = user.partition(":")[0]
    keeps_name = name and parts.scheme == "ssh"
    address = urlunsplit(parts._replace(netloc=f"{name}@{host}" if keeps_name else host))
    authorization = _basic(user) if user and parts.scheme in {"https", "http"} else ""
    return GitUrl(address=address, shown=address, authorization=authorization)


def _basic(user: str) -> str:
    name, _, password = user.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()


def _split(address: str) -> tuple[str, str]:
    """`https://host`, `/a/b`; `host:`, `a/b`; nothing and a path."""
    match = PLACE_AND_PATH.fullmatch(address)
    assert match is not None
    return match[1], match[2]
