"""Reading repositories with git: one commit at a time into a cache, without a working tree.

Files come straight from git's objects, so no symlink, hook, filter or submodule of a repository has a say.
"""

import difflib
import fcntl
import hashlib
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from instructlab_pipeline.errors import PipelineError, SourceError
from instructlab_pipeline.taxonomy.git_command import ANSWER_TIMEOUT_S, GitFailure, argv, asked, environment, git
from instructlab_pipeline.taxonomy.git_errors import damaged, explained, tells_of_damage
from instructlab_pipeline.taxonomy.git_url import GitUrl

FULL_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.IGNORECASE)
SHORT_COMMIT = re.compile(r"[0-9a-f]{7,63}", re.IGNORECASE)
SHA_256_DIGITS = 64
ALL_HISTORY = "2147483647"  # git's word for it
# What is said where any commit would be given out; the second, where its commits have longer or shorter numbers.
HAS_NONE = re.compile("not our ref|mismatched algorithms")
WRITTEN_NAME = re.compile(r"refs/(heads/|tags/)?")  # what may be left away
REMOTE = re.compile(r"remotes/[^/]+/")
NUM_NEAR = 3
MAX_BLOB_BYTES = 64 << 20  # larger files stay on servers that can leave them out
LEFT_OUT = 1 << 62
SYMLINK, SUBMODULE = "120000", "160000"


class UnknownRevisionError(SourceError):
    """The repository is there, the revision is not."""


@dataclass(frozen=True, kw_only=True)
class TreeFile:
    """One entry of a commit; `size` in bytes, 0 for a submodule, LEFT_OUT for a file that stayed on its server."""

    path: str
    mode: str
    blob: str
    size: int

    @property
    def is_regular(self) -> bool:
        """No link, and not outside of the tree, where git itself puts nothing."""
        return self.mode not in {SYMLINK, SUBMODULE} and ".." not in self.path.split("/")


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """One commit, whole, in a bare repository of the cache."""

    folder: Path
    commit: str

    def files(self) -> list[TreeFile]:
        """All entries by path, symlinks and submodules among them; bytes of a name that are no UTF-8 are escaped.

        Raises:
            SourceError: the cache is damaged.
        """
        try:
            listing = git(["ls-tree", "-r", "-z", "--long", self.commit], folder=self.folder)
        except GitFailure as failure:
            raise damaged(self.folder) from failure
        return [_tree_file(line) for line in listing.decode(errors="backslashreplace").split("\0") if line]

    def read(self, blobs: Iterable[str]) -> Iterator[bytes]:
        """The contents of `blobs` in their order, one in memory at a time.

        Raises:
            SourceError: the cache is damaged; what is there in part is never taken for whole.
        """
        command, pipe = argv(["cat-file", "--batch"], self.folder), subprocess.PIPE
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, env=environment()) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for blob in blobs:
                process.stdin.write(f"{blob}\n".encode())
                process.stdin.flush()
                size = int(process.stdout.readline().rpartition(b" ")[2] or 0)
                content = process.stdout.read(size + 1)
                if content[size:] != b"\n":
                    raise damaged(self.folder)
                yield content[:size]


def commit_at(url: GitUrl, revision: str | None) -> str:
    """The commit to which a branch, a tag or `refs/...` points now; None means the default branch.

    A commit is returned as it was given, a full one without asking the server.

    Raises:
        SourceError: there is no such repository or revision, or we may not read it.
        ServiceError: the server did not answer.
    """
    if revision and FULL_COMMIT.fullmatch(revision):
        return revision.lower()
    names = _reference_names(revision)
    found = _references(url, names)
    commits = [found[name] for name in names if name in found]
    if commits:
        return commits[0]
    if revision and SHORT_COMMIT.fullmatch(revision):
        return revision.lower()
    raise _unknown(url, revision)


def has_uncommitted(url: GitUrl, folders: Iterable[str]) -> bool:
    """Whether a working tree on this machine holds changes below `folders` that no commit has."""
    if not url.local:
        return False
    status = ["--no-optional-locks", "-C", url.address, "status", "--porcelain", "--", *folders]
    try:
        return bool(git(status))
    except GitFailure:  # a bare repository
        return False


def checkout(url: GitUrl, revision: str | None, cache: Path) -> Checkout:
    """Fetch the one commit that `revision` means, unless it is in the cache already.

    Raises:
        SourceError, ServiceError: as `commit_at`.
    """
    commit = commit_at(url, revision)
    kind = _hash_of(url, commit)
    folder = cache / f"{hashlib.sha256(url.address.encode()).hexdigest()[:32]}{kind and f'-{kind}'}.git"
    with _held(folder):
        if not (folder / "objects/info").exists():  # made last
            _begin(url, folder, kind)
        if not (FULL_COMMIT.fullmatch(commit) and (_has(folder, commit) or _fetch_alone(url, commit, folder))):
            _fetch_all(url, folder)
        return Checkout(folder=folder, commit=_full_name(url, commit, folder))


def _hash_of(url: GitUrl, commit: str) -> str:
    """What the repository numbers its commits with; empty for SHA-1, which almost all do."""
    whole = commit if FULL_COMMIT.fullmatch(commit) else next(iter(_references(url).values()), "")
    return "sha256" if len(whole) == SHA_256_DIGITS else ""


def _begin(url: GitUrl, folder: Path, kind: str) -> None:
    """An empty repository, also where one was begun before."""
    options = [f"--object-format={kind}"] if kind else []  # which older gits do not know
    try:
        git(["init", "--quiet", "--bare", *options, "--", str(folder)])
    except GitFailure as failure:
        raise explained(str(failure), url) from failure


def _has(folder: Path, commit: str) -> bool:
    """Fetches are whole or not at all, so one object speaks for the rest."""
    try:
        git(["cat-file", "-e", f"{commit}^{{tree}}"], folder=folder)
    except GitFailure:
        return False
    return True


def _fetch_alone(url: GitUrl, commit: str, folder: Path) -> bool:
    """Fetch a commit without its history; False where the server, an old one, gives out branches and tags only.

    Raises:
        UnknownRevisionError: the server would give it out, and has none.
    """
    try:
        _fetch(url, ["--depth=1"], [commit], folder)
    except SourceError as error:
        if isinstance(error.__cause__, GitFailure) and HAS_NONE.search(str(error.__cause__)):
            raise _unknown(url, commit) from error
        return False
    return True


def _fetch(url: GitUrl, options: list[str], wanted: list[str], folder: Path) -> None:
    """Fetch without the largest files, where the server can do that; git is not to fetch them on its own later."""
    limit = f"--filter=blob:limit={MAX_BLOB_BYTES + 1}"
    try:
        asked(url, ["fetch", "--quiet", "--no-tags", limit, *options, "--", url.address, *wanted], folder=folder)
    except PipelineError as error:
        if tells_of_damage(str(error.__cause__), folder):
            raise damaged(folder) from error
        raise
    finally:
        with suppress(GitFailure):  # nothing was noted
            git(["config", "--local", "--remove-section", f"remote.{url.address}"], folder=folder)


def _fetch_all(url: GitUrl, folder: Path) -> None:
    """Fetch all history."""
    references = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    _fetch(url, [f"--depth={ALL_HISTORY}"], references, folder)


def _full_name(url: GitUrl, commit: str, folder: Path) -> str:
    """Of the commit itself, where a tag's name or the beginning of its own was given."""
    try:
        return git(["rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"], folder=folder).decode().strip()
    except GitFailure as failure:
        if tells_of_damage(str(failure), folder):
            raise damaged(folder) from failure
        raise _unknown(url, commit) from failure


def _references(url: GitUrl, names: Sequence[str] = ()) -> dict[str, str]:
    """What these names stand for on the server, or all of its names."""
    said = asked(url, ["ls-remote", "--", url.address, *names], timeout_s=ANSWER_TIMEOUT_S)
    lines = said.decode(errors="replace").splitlines()
    return {name: commit for commit, _, name in (line.partition("\t") for line in lines)}


def _reference_names(revision: str | None) -> list[str]:
    """Where to look, in git's own order; `^{}` is the commit behind an annotated tag."""
    if revision is None:
        return ["HEAD"]
    if revision.startswith("refs/") or revision == "HEAD":
        return [f"{revision}^{{}}", revision]
    places = [f"refs/{revision}", f"refs/tags/{revision}", f"refs/heads/{revision}"]
    return [name for place in places for name in (f"{place}^{{}}", place)]


def _unknown(url: GitUrl, revision: str | None) -> UnknownRevisionError:
    if revision is None:
        doubt = "" if url.local else ", or is no git repository"  # a web page answers like an empty one
        return UnknownRevisionError(
            f"{url.shown} has no commit yet{doubt}", remedy="check the URL, and that it is pushed"
        )
    near = [] if SHORT_COMMIT.fullmatch(revision) else near_names(revision, _references(url))
    hint = f"; near it: {', '.join(near)}" if near else ""
    message = f"{url.shown} has no branch, tag or commit {revision!r}{hint}"
    return UnknownRevisionError(message, remedy="check its name, and that it is pushed")


def near_names(revision: str, references: Iterable[str]) -> list[str]:
    """Branches and tags with a name like `revision`, the likeliest first, `origin/` left aside; as one writes them."""
    written = {WRITTEN_NAME.sub("", name, count=1).removesuffix("^{}") for name in references if "/" in name}
    remote_first = sorted(written, key=lambda name: (not REMOTE.match(name), name))
    by_name = {REMOTE.sub("", name, count=1): name for name in remote_first}
    return [by_name[near] for near in difflib.get_close_matches(revision.removeprefix("origin/"), by_name, n=NUM_NEAR)]


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Let one process at a time change `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tree_file(line: str) -> TreeFile:
    """`<mode> <type> <object> <size>TAB<path>`; a submodule's size is a dash, that of what is not here is BAD."""
    head, _, path = line.partition("\t")
    mode, _, blob, size = head.split()
    known = {"-": 0, "BAD": LEFT_OUT}
    return TreeFile(path=path, mode=mode, blob=blob, size=known[size] if size in known else int(size))
