"""What git's complaints mean to the person who has to act on them. git speaks English here: LC_ALL=C."""

import re

from instructlab_pipeline.errors import PipelineError, ServiceError, SourceError
from instructlab_pipeline.taxonomy.git_url import GitUrl

# The first kind that matches counts. Servers word these in their own ways; the list grows with what people meet.
REFUSED = re.compile(
    r"Authentication failed|could not read (Username|Password)|Permission denied|Host key verification failed"
    r"|returned error: 40[13]|terminal prompts disabled|dubious ownership",
    re.IGNORECASE,
)
MISSING = re.compile(
    r"not found|does not exist|does not appear to be a git repository|repository not exported|No such file|not a git"
    r"|returned error: (404|410)|not our ref|unadvertised object|couldn't find remote ref|not a valid object",
    re.IGNORECASE,
)
UNTRUSTED = re.compile(r"certificate|SSL peer|CAfile", re.IGNORECASE)
PREFIXES = ("fatal:", "remote:", "error:", "ssh:")
PREFIX = re.compile(rf"^({'|'.join(PREFIXES)}) *")
CREDENTIALS = re.compile(r"(\w+://)[^/@\s]+@")


def explained(complaint: str, url: GitUrl) -> PipelineError:
    """The error to raise: what waiting can mend is a ServiceError."""
    said = _last_words(complaint)
    if UNTRUSTED.search(complaint):
        return SourceError(
            f"{url.shown} is not trusted: {said}",
            remedy="name the file of its authority's certificate in GIT_SSL_CAINFO, or add it to the system's",
        )
    if REFUSED.search(complaint):
        return SourceError(
            f"{url.shown} may not be read: {said}",
            remedy="check the credentials: GIT_USERNAME and GIT_PASSWORD, git's credential helper, or the ssh key",
        )
    if MISSING.search(complaint):
        return SourceError(f"{url.shown} cannot be found: {said}", remedy=_remedy_for_missing(url))
    return ServiceError(
        f"{url.shown} could not be fetched: {said}",
        remedy="check the network and the server, then run the same command again",
    )


def _remedy_for_missing(url: GitUrl) -> str:
    if url.local:
        return f"check the path, and that it is a repository: git -C {url.shown.removeprefix('file:')} log"
    return "check the URL, the commit, and that you may see the repository"


def _last_words(complaint: str) -> str:
    """The line that tells most, git's own or ssh's, without credentials."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    telling = [line for line in lines if any(kind.search(line) for kind in (UNTRUSTED, REFUSED, MISSING))]
    said = telling or [line for line in lines if line.startswith(PREFIXES)] or lines or ["no reason given"]
    return CREDENTIALS.sub(r"\1", PREFIX.sub("", said[0]))
