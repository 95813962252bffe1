"""What stands between us and a registry, in the user's words: certificates, proxies, connections that break."""

import os
from pathlib import Path

from instructlab_pipeline.errors import ServiceError

AUTHORITIES = "SSL_CERT_FILE"  # variable


def untrusted(registry: str, error: Exception) -> ServiceError:
    if "WRONG_VERSION_NUMBER" in str(error) or "record layer failure" in str(error).lower():
        return ServiceError(
            f"{registry} does not speak TLS", remedy="for plain HTTP, set output_registry_insecure=true (--insecure)"
        )
    authorities = os.environ.get(AUTHORITIES)
    if authorities and not Path(authorities).is_file():
        remedy = f"{AUTHORITIES} is {authorities}, where no file is: set it to the authority's certificate"
    else:
        remedy = f"for a private certificate authority, set {AUTHORITIES} to its certificate"
    return ServiceError(f"the certificate of {registry} is not trusted: {error}", remedy=remedy)


def reason(error: BaseException) -> str:
    """Why a connection broke; without the URL, which aiohttp puts into some of its errors."""
    import aiohttp

    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy before it says {error.status}; see the proxy's variables, such as HTTPS_PROXY and NO_PROXY"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"the proxy before it is not there ({_system(error)}); see the proxy's variables, such as HTTPS_PROXY"
    if isinstance(error, aiohttp.TooManyRedirects):
        return "it sends us around in circles"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError) and error.errno:
        return _system(error)
    return f"the connection broke ({type(error).__name__})"


def _system(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)  # below 0: of a look-up
