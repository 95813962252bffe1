"""Where a registry is, and where it sends us."""

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from yarl import URL

SCHEMES = frozenset({"http", "https"})


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: where a login that is meant for the one may be shown to the other."""
    parsed = verbatim(url)
    return parsed.scheme, str(parsed.host).lower(), parsed.port


def placed(location: str, *, below: str, base: str) -> str:
    """The URL that `location` means in an answer to a request at `below`; `base` is the registry's own.

    One at its own host and port is taken to be like it: registries behind a proxy that ends TLS often think that
    they are asked without.

    Raises:
        ValueError: it is none.
    """
    place, own = urlsplit(urljoin(below, location)), urlsplit(base)
    if place.scheme not in SCHEMES:
        raise ValueError(f"nothing is read at {place.scheme}")
    return (place._replace(scheme=own.scheme) if place.netloc.lower() == own.netloc.lower() else place).geturl()


def is_url(text: str) -> bool:
    """Whether requests can go there."""
    try:
        url = urlsplit(text)
        return url.scheme in SCHEMES and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def verbatim(url: str) -> "URL":
    """As a registry wrote it, who may have signed it like that.

    Raises:
        InvalidURL: it is none.
    """
    import aiohttp
    from yarl import URL

    with contextlib.suppress(ValueError):
        parsed = URL(url, encoded=True)
        if parsed.host and parsed.port:  # which are looked at only when they are asked for
            return parsed
    raise aiohttp.InvalidURL(url)
