"""Rules for the places that parameters name: models, git repositories, images, endpoints.

Each rule returns what is wrong, worded to follow the value in a sentence, or None. What could run a program (`ext::`),
pass for an option (a leading `-`) or carry a password is refused here, before anything is called with it.
"""

import re
from urllib.parse import SplitResult, urlsplit

BUILTIN_TEACHER = "builtin:extractive"
CONTROL_CHARACTER = "has a line break or another control character in it"
GIT_SCHEMES = ("https", "http", "ssh", "git", "file")

HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_SCP_LIKE = re.compile(rf"(?P<user>[^@/:]*@)?(?P<host>{HOST}):(?P<path>[^/:-].*|/.+)")
USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
HUB_MODEL = r"//[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+(?:@[A-Za-z0-9_./-]+)?/?"
BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]"

# The grammar of github.com/distribution/reference.
_REGISTRY = re.compile(rf"(?=localhost$|.*[.:]){HOST}(?::[0-9]{{1,5}})?")  # org/model would be on Docker Hub
REPOSITORY = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
LONGEST_REPOSITORY = 255  # characters
TOO_LONG_A_REPOSITORY = f"has a repository of more than {LONGEST_REPOSITORY} characters"
ANY_DIGEST = r"@sha[0-9]+:"
NO_DIGEST = "has a digest that is not sha256: and 64 hexadecimal digits"
IMAGE_DIGEST = r"@sha256:[0-9a-f]{64}$"
TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"

# `git check-ref-format`, as far as a revision given by a person needs it.
NOT_IN_REVISIONS = r"[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|@\{|//|/\.|\.lock(?:/|$)|[/.]$|^[/.]"


def model_uri_fault(text: str) -> str | None:
    """`s3://bucket/prefix`, `hf://organization/name@revision`, `oci://registry/repository:tag`, or `file:PATH`."""
    if not text.isprintable():
        return CONTROL_CHARACTER
    scheme, _, rest = text.partition(":")
    rules = {"s3": _s3_fault, "hf": _hub_fault, "file": _file_fault}
    if scheme in rules:
        return rules[scheme](rest)
    if text.startswith("oci://"):
        return base_image_fault(text)
    if text.startswith(("/", "./", "../", "~")):
        return f"is a path: write file:{text}"
    return "is neither an S3 URI, nor one of the Hugging Face Hub, of a registry or of a file"


def git_url_fault(text: str) -> str | None:
    """What `git clone` takes, without the transports that run programs."""
    if text.startswith("-"):
        return "starts with '-', as an option of git does"
    if re.match(r"[A-Za-z0-9+.-]*::", text):
        return f"names the git transport {text.partition('::')[0]!r}, which can run programs"
    if not text.isprintable():
        return CONTROL_CHARACTER
    if "://" in text:
        return _git_scheme_fault(text)
    if text in (".", "..") or text.startswith(("/", "./", "../")):
        return None
    return _scp_like_fault(text)


def git_revision_fault(text: str) -> str | None:
    """A branch, a tag, a commit, or a ref such as `refs/pull/7/head`."""
    if text.startswith("-"):
        return "starts with '-', as an option of git does"
    return "is not a name that git gives" if re.search(NOT_IN_REVISIONS, text) or text == "@" else None


def image_fault(text: str) -> str | None:
    """`registry/repository:tag`, with `oci://` or `docker://` in front or without; or `oci:DIRECTORY:TAG`."""
    if not text.isprintable():
        return CONTROL_CHARACTER
    if is_layout(text):
        return _layout_fault(text.removeprefix("oci:"))
    reference = text.removeprefix("oci://").removeprefix("docker://")
    if "://" in reference:
        return f"starts with {reference.partition('://')[0]}://, which no image reference does"
    if "@" in reference:
        return "has an @ in it: a digest comes out of publishing, and credentials belong in the registry's auth file"
    registry, slash, name = reference.partition("/")
    if not slash or _REGISTRY.fullmatch(registry) is None:
        return "does not start with a registry such as quay.io or localhost:5000"
    return _repository_fault(*_name_and_tag(name))


def base_image_fault(text: str) -> str | None:
    """An image that is only read, which a digest may name."""
    if re.search(ANY_DIGEST, text) and not re.search(IMAGE_DIGEST, text):
        return NO_DIGEST
    return image_fault(re.sub(IMAGE_DIGEST, "", text))


def is_layout(image: str) -> bool:
    """Whether an output image is an OCI layout on disk rather than in a registry."""
    return image.startswith("oci:") and not image.startswith("oci://")


def has_tag(image: str) -> bool:
    return ":" in image.removeprefix("oci:").rpartition("/")[2]


def endpoint_fault(text: str) -> str | None:
    """The base URL of an OpenAI-compatible API, or the teacher that is built in."""
    if text.startswith("builtin:"):
        return None if text == BUILTIN_TEACHER else f"is not built in: {BUILTIN_TEACHER} is"
    return webhook_fault(text)


def webhook_fault(text: str) -> str | None:
    """An address to which requests are sent."""
    url = _split(text)
    if url is None or url.scheme not in ("http", "https"):
        return "is not an http or https URL"
    return _remote_fault(url)


def without_secrets(text: str) -> str:
    """The text with what may be a password, a token or a signature blotted out, to be shown in a complaint."""
    text = re.sub(r"(?<=:)\S+@(?!sha[0-9]+:)", "***@", text)
    return re.sub(r"(://[^\s?#]*[?#])\S+", r"\1***", text)


def without_path(url: str) -> str:
    """Scheme, host and port: the path of a webhook is often all that it takes to post there."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/***"


def _s3_fault(rest: str) -> str | None:
    if not rest.startswith("//"):
        return "has no // after s3:"
    bucket, _, prefix = rest[2:].partition("/")
    if not bucket:
        return "has no bucket"
    if re.fullmatch(BUCKET, bucket) is None:
        return "has a bucket's name that S3 does not allow"
    if re.search(r"[?#]", prefix):
        return "has a '?' or a '#' in its prefix"
    return "has an empty, '.' or '..' part in its prefix" if _has_odd_part(prefix) else None


def _has_odd_part(prefix: str) -> bool:
    parts = prefix.removesuffix("/").split("/")
    return prefix != "" and any(part in ("", ".", "..") for part in parts)


def _hub_fault(rest: str) -> str | None:
    return None if re.fullmatch(HUB_MODEL, rest) else "is not of the form hf://ORGANIZATION/NAME@REVISION"


def _file_fault(rest: str) -> str | None:
    path = re.sub("^//(localhost)?", "", rest)
    if not path:
        return "has no path"
    if re.search(r"[?#]", path):
        return "has a '?' or a '#' in it"
    return "names a machine: file:// is followed by an absolute path" if rest != path and path[0] != "/" else None


def _git_scheme_fault(text: str) -> str | None:
    url = _split(text)
    if url is None or url.scheme not in GIT_SCHEMES:
        return f"starts with {text.partition('://')[0]}://; git repositories are read over {', '.join(GIT_SCHEMES)}"
    if url.scheme == "file":
        return None if not url.netloc and len(url.path) > 1 else "has no absolute path after file://"
    if not url.path.strip("/"):
        return "has no path to a repository"
    return _ssh_fault(url) if url.scheme == "ssh" else _remote_fault(url)


def _ssh_fault(url: SplitResult) -> str | None:
    user, at, _ = url.netloc.rpartition("@")
    if ":" in user:
        return "has a password in it: git finds the key by itself"
    if at and re.fullmatch(USER, user) is None:
        return "has a user's name that ssh does not take"
    return _host_fault(url)


def _remote_fault(url: SplitResult) -> str | None:
    if "@" in url.netloc:
        return "has credentials in it: URLs end up in logs, so keep them where the README says"
    if url.query or url.fragment:
        return "has a '?' or a '#' in it"
    return _host_fault(url)


def _host_fault(url: SplitResult) -> str | None:
    if re.search(r"\s", url.geturl()):
        return "has a space in it"
    host = url.netloc.rpartition("@")[2]
    match = re.fullmatch(rf"{HOST}(?::(?P<port>[0-9]{{1,5}}))?", host)
    if match is None:
        return "has no valid host" if host else "has no host"
    return (
        "has a port that is not between 1 and 65535" if match["port"] and not 0 < int(match["port"]) < 2**16 else None
    )


def _scp_like_fault(text: str) -> str | None:
    match = _SCP_LIKE.fullmatch(text)
    if match is None:
        return _why_not_a_git_url(text)
    if match["host"] in GIT_SCHEMES:
        return f"has no // after {match['host']}:"
    if match["user"] and re.fullmatch(USER, match["user"][:-1]) is None:
        return "has a user's name that ssh does not take"
    return "has a space in it" if re.search(r"\s", text) else None


def _why_not_a_git_url(text: str) -> str:
    if text.startswith("~"):
        return "starts with '~', which only a shell expands"
    could_be_a_folder = re.fullmatch(r"[\w./-]+", text) is not None
    return f"is not a git URL; for a folder on this machine write ./{text}" if could_be_a_folder else "is not a git URL"


def _layout_fault(rest: str) -> str | None:
    directory, _, tag = rest.partition(":")
    if not directory:
        return "has no directory after oci:"
    if directory.startswith("~"):
        return "starts its directory with '~', which only a shell expands"
    return _tag_fault(tag) if ":" in rest else None


def _name_and_tag(name: str) -> tuple[str, str | None]:
    repository, colon, tag = name.partition(":")
    return repository, tag if colon else None


def _repository_fault(repository: str, tag: str | None) -> str | None:
    if re.fullmatch(REPOSITORY, repository) is None:
        in_lower_case = re.fullmatch(REPOSITORY, repository.lower()) is not None
        return "has capital letters in its repository" if in_lower_case else "has no valid repository"
    if len(repository) > LONGEST_REPOSITORY:
        return TOO_LONG_A_REPOSITORY
    return None if tag is None else _tag_fault(tag)


def _tag_fault(tag: str) -> str | None:
    return None if re.fullmatch(TAG, tag) else f"has the tag {tag!r}, which registries do not take"


def _split(text: str) -> SplitResult | None:
    try:
        url = urlsplit(text)
    except ValueError:
        return None
    return url if text.isprintable() else None
