"""A registry's refusals in the user's words: who may not, what is full, what to do. Pure.

Neither passwords nor tokens nor the state in an upload's URL get into them.
"""

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from instructlab_pipeline.errors import PipelineError, ServiceError
from instructlab_pipeline.publish.credentials import Credentials, auth_files

ENOSPC = 28  # docker-registry passes its file system's number on
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NO_SUCH_METHOD = 401, 403, 404, 405
TOO_LARGE, TOO_MANY, INSUFFICIENT_STORAGE = 413, 429, 507
MOST_WORDS = 500  # characters, of what a registry says
_QUOTA = re.compile(
    r"quota|storage limit|exceed the configured upper limit|no space left|insufficient storage", re.IGNORECASE
)
_TAKEN = re.compile(r"immutable|cannot be overwritten", re.IGNORECASE)  # tags: Amazon's, Harbor's, Azure's words
_WANTS_TLS = re.compile(rb"HTTP request (to an HTTPS server|was sent to HTTPS port)")  # servers in Go, nginx


@dataclass(frozen=True, kw_only=True)
class Reply:
    """`url` is where it came from in the end, after all redirects."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object that it carries; an empty one where it carries none."""
        try:
            value = json.loads(self.content)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def complaint(self) -> str:
        """The registry's own words, `{"errors": [{"code", "message"}]}`, after a colon."""
        first = self._error
        words = " ".join(str(first[key]) for key in ("code", "message") if first.get(key))
        return f": {_shown(words)}" if words else ""

    @property
    def tells_of_no_room(self) -> bool:
        """A quota that is used up, or a disk that is full; waiting helps only with quotas of requests."""
        if self.status < 400 or self.status == TOO_MANY:
            return False
        error = self._error
        enclosed = error["detail"].get("Enclosed") if isinstance(error.get("detail"), dict) else None
        full = isinstance(enclosed, dict) and enclosed.get("Err") == ENOSPC
        return full or self.status == INSUFFICIENT_STORAGE or bool(_QUOTA.search(json.dumps(error)))

    @property
    def tells_of_damage(self) -> bool:
        """What it got is not what was sent: damaged on its way, or mixed up with what others send it just now."""
        return self._error.get("code") == "DIGEST_INVALID"

    @property
    def retry_after_s(self) -> float | None:
        """Seconds (RFC 9110 10.2.3), told as such or as a date; None where nothing is said that can be understood."""
        told = self.headers.get("Retry-After", "")
        with contextlib.suppress(ValueError):
            return max(0.0, float(told))
        with contextlib.suppress(ValueError, TypeError):
            return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
        return None

    @property
    def _error(self) -> dict[str, Any]:
        errors = self.document.get("errors")
        return errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}


@dataclass(frozen=True, kw_only=True)
class Visit:
    """Who wanted what from whom; `writing` rather than only to read."""

    registry: str
    repository: str
    credentials: Credentials | None
    writing: bool

    def refused(self, reply: Reply, *, method: str, url: str) -> PipelineError:
        said = f"(status {reply.status}{reply.complaint})"
        if reply.tells_of_no_room:
            return ServiceError(
                f"{self.registry} has no room for {self.repository} {said}",
                remedy="delete images that nobody needs, or have the quota raised, then run the same command again",
            )
        if reply.status == TOO_LARGE:
            return ServiceError(
                f"{self.registry}, or a proxy before it, does not take uploads so large {said}",
                remedy="have its limit raised, such as client_max_body_size of nginx, then run the same command again",
            )
        if reply.status in {UNAUTHORIZED, FORBIDDEN}:
            return self._no_entry(said, known=reply.status == FORBIDDEN)
        return self._wrong_place(reply, said, urlsplit(url).path) or ServiceError(
            f"{self.registry} refused to {self._do} {self.repository} {said}, at {method} {urlsplit(url).path}",
            remedy="see what the registry's log says",
        )

    def _wrong_place(self, reply: Reply, said: str, path: str) -> PipelineError | None:
        if _WANTS_TLS.search(reply.content):
            return wants_tls(self.registry)
        if reply.status == NOT_FOUND and path == "/v2/":
            return ServiceError(
                f"{self.registry} is no OCI registry {said}",
                remedy="see whether the image's reference begins with the registry's own host and port",
            )
        if reply.status == NOT_FOUND and path.endswith("/blobs/uploads/"):
            return ServiceError(
                f"{self.registry} has no place for {self.repository}, and makes none by itself {said}",
                remedy="create the repository, or the project that it is in, there, then run the same command again",
            )
        if reply.status == NO_SUCH_METHOD and path.endswith("/blobs/uploads/"):
            return ServiceError(
                f"{self.registry} takes no images {said}",
                remedy="see whether it is set to be read only, or only passes on what another registry has",
            )
        if _TAKEN.search(reply.complaint) and "/manifests/" in path:
            return ServiceError(
                f"{self.registry} lets nobody write tag {path.rpartition('/')[2]} of {self.repository} again {said}",
                remedy="raise output_model_version, or name another tag in output_oci_model_uri",
            )
        return None

    def _no_entry(self, said: str, *, known: bool) -> PipelineError:
        searched = ", ".join(str(path) for path in auth_files())
        if self.credentials is None:
            return ServiceError(
                f"{self.registry} wants to know who may {self._do} {self.repository} {said}. "
                f"No login for it is in {searched}",
                remedy=f"log in: `podman login {self.registry}` or `skopeo login {self.registry}`",
            )
        who = f"{self.credentials.username!r} from {self.credentials.origin}"
        what = (
            f"may not {self._do} {self.repository}"
            if known
            else f"is not let in, or may not {self._do} {self.repository}"
        )
        return ServiceError(
            f"{self.registry} {said}: {who} {what} (searched: {searched})",
            remedy=f"log in again with `podman login {self.registry}`, as someone who may {self._do} {self.repository}",
        )

    @property
    def _do(self) -> str:
        return "write" if self.writing else "read"


def _shown(words: str) -> str:
    """Without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in words[:MOST_WORDS])


def wants_tls(registry: str) -> ServiceError:
    return ServiceError(
        f"{registry} speaks TLS, and was asked without", remedy="leave output_registry_insecure (--insecure) unset"
    )


def refused_elsewhere(registry: str, reply: Reply) -> ServiceError:
    """Of a host that the registry sends us on to, and that knows neither us nor our login."""
    return ServiceError(
        f"{registry} sends us on to {urlsplit(reply.url).netloc}, which refuses (status {reply.status})",
        remedy="run the same command again; if it stays so, tell the registry's administrator",
    )
