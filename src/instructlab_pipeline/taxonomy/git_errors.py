"""What git's complaints mean to the person who has to act on them. git speaks English here: LC_ALL=C."""

import re
from pathlib import Path

from instructlab_pipeline.errors import PipelineError, ServiceError, SourceError
from instructlab_pipeline.taxonomy.git_url import GitUrl

# The first kind that matches counts. Servers word these in their own ways; the list grows with what people meet.
UNTRUSTED = re.compile(r"certificate|SSL peer|CAfile|SSL CA cert", re.IGNORECASE)
CONFIGURATION = re.compile(
    r"bad (numeric |boolean )?config|bogus count|unknown error occurred while reading the config"
)
FULL = re.compile(r"No space left on device|Disk quota exceeded")
STRANGE_HOST = re.compile(r"Host key verification failed", re.IGNORECASE)
STRANGE_OWNER = re.compile(r"dubious ownership", re.IGNORECASE)
WITHOUT_LOGIN = re.compile(r"could not read (Username|Password)|terminal prompts disabled", re.IGNORECASE)
REFUSED = re.compile(
    rf"Authentication failed|Permission denied|returned error: 40[13]|{WITHOUT_LOGIN.pattern}", re.IGNORECASE
)
MISSING = re.compile(
    r"not found|does not exist|does not appear to be a git repository|repository not exported|No such file|not a git"
    r"|returned error: (404|410)|bad/illegal format|no path specified|mismatched algorithms"
    r"|not our ref|unadvertised object|couldn't find remote ref|not a valid object",
    re.IGNORECASE,
)
REFUSALS = (
    (CONFIGURATION, "cannot be asked", "mend git's configuration, or name a good file in GIT_CONFIG_GLOBAL"),
    (
        UNTRUSTED,
        "is not trusted",
        "name the file of its authority's certificate in GIT_SSL_CAINFO, or add it to the system's",
    ),
    (
        STRANGE_HOST,
        "is not trusted",
        "compare the host's key (ssh-keyscan HOST) with the one that it publishes, and add it to ~/.ssh/known_hosts",
    ),
    (
        STRANGE_OWNER,
        "belongs to another user",
        "git config --global --add safe.directory PATH, with the repository's path, if you trust what lies there",
    ),
    (
        REFUSED,
        "may not be read",
        "check the credentials: GIT_USERNAME and GIT_PASSWORD, git's credential helper, or the ssh key",
    ),
)
DAMAGED = re.compile(
    r"corrupt|inflate:|bad shallow line|non-monotonic index|index file|packfile|loose object|bad object", re.IGNORECASE
)
PREFIXES = ("fatal:", "remote:", "error:", "ssh:")
PREFIX = re.compile(rf"^({'|'.join(PREFIXES)}) *")
CREDENTIALS = re.compile(r"(\w+://)[^/@\s]+@")


def explained(complaint: str, url: GitUrl) -> PipelineError:
    """The error to raise: what waiting can mend is a ServiceError."""
    said = _last_words(complaint, url)
    for kind, what, remedy in REFUSALS:
        if kind.search(complaint):
            return SourceError(f"{url.shown} {what}: {said}", remedy=remedy)
    if MISSING.search(complaint):
        return SourceError(f"{url.shown} cannot be found: {said}", remedy=_remedy_for_missing(url))
    first = "free some space" if FULL.search(complaint) else "check the network and the server"
    return ServiceError(f"{url.shown} could not be fetched: {said}", remedy=f"{first}, then run the same command again")


def tells_of_damage(complaint: str, folder: Path) -> bool:
    """Whether what git could not read is the repository in `folder`, and not the one that it talks to."""
    if "remote:" in complaint or FULL.search(complaint):
        return False
    return f"not a git repository: '{folder}'" in complaint or DAMAGED.search(complaint) is not None


def damaged(folder: Path) -> SourceError:
    """What lies in the cache is not what was fetched."""
    return SourceError(
        f"the cached repository {folder} is damaged", remedy=f"remove it (rm -r {folder}), and run again"
    )


def _remedy_for_missing(url: GitUrl) -> str:
    if url.local:
        return "check the path: it has to be the folder of the repository itself, which holds .git"
    return "check the URL, the commit, and that you may see the repository"


def _last_words(complaint: str, url: GitUrl) -> str:
    """The line that tells most, git's own or ssh's, without credentials."""
    if WITHOUT_LOGIN.search(complaint):
        given = "refuses the name and password, or token, that it was given"
        return f"the server {given if url.authorization else 'asks for a name and a password, or a token'}"
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    kinds = [*(kind for kind, _, _ in REFUSALS), MISSING]
    own = [line for line in lines if line.startswith(PREFIXES)]  # not what GIT_TRACE shows
    telling = [line for line in (*own, *lines) if any(kind.search(line) for kind in kinds)]
    said = telling or own or lines or ["no reason given"]
    return CREDENTIALS.sub(r"\1", PREFIX.sub("", said[0]))
