"""Which leaves of a working tree differ from a commit: two trees compared, however long the history between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy.git import near_names
from instructlab_pipeline.taxonomy.git_command import GitFailure, git
from instructlab_pipeline.taxonomy.git_errors import STRANGE_OWNER, explained
from instructlab_pipeline.taxonomy.git_url import parse
from instructlab_pipeline.taxonomy.leaves import is_leaf_file
from instructlab_pipeline.taxonomy.qna import FILE_NAME, KINDS

ADDED, DELETED = "A", "D"


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Paths of leaves, each list sorted; `base` is a full commit."""

    base: str
    added: list[str]
    changed: list[str]
    deleted: list[str]

    def by_mark(self) -> dict[str, list[str]]:
        return {"added": self.added, "changed": self.changed, "deleted": self.deleted}


def changes_since(folder: Path, base: str) -> Changes:
    """From the commit that `base` means to the files in `folder` as they lie there, committed or not.

    Raises:
        SourceError: the folder is in no working tree, or there is no such commit.
    """
    commit = _commit(folder, base)
    comparison = ["--no-renames", "--no-ext-diff", "--ignore-submodules", "--name-status", "-z", "--relative"]
    status = dict(_pairs(_fields(folder, ["diff", *comparison, commit, "--", "."])))
    for path in _fields(folder, ["ls-files", "--others", "--exclude-standard", "-z", "--", "."]):
        status[path] = "M" if path in status else ADDED
    whole = any((folder / kind).is_dir() for kind in KINDS) or any(map(is_leaf_file, status))
    marks: dict[str, str] = {}
    for path, mark in status.items():
        if is_leaf_file(path) if whole else PurePosixPath(path).name == FILE_NAME:
            marks[str(PurePosixPath(path).parent)] = mark
    return Changes(
        base=commit,
        added=sorted(leaf for leaf, mark in marks.items() if mark == ADDED),
        changed=sorted(leaf for leaf, mark in marks.items() if mark not in {ADDED, DELETED}),
        deleted=sorted(leaf for leaf, mark in marks.items() if mark == DELETED),
    )


def _commit(folder: Path, base: str) -> str:
    _require_working_tree(folder)
    try:
        found = _run(folder, ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}"])
    except GitFailure as error:
        near = near_names(base, _run(folder, ["for-each-ref", "--format=%(refname)"]).decode().split())
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise SourceError(
            f"the repository of {folder} has no branch, tag or commit {base!r}{hint}",
            remedy="check its name; a shallow clone has to fetch it first: git fetch --depth=1 origin REF",
        ) from error
    return found.decode().strip()


def _require_working_tree(folder: Path) -> None:
    try:
        inside = _run(folder, ["rev-parse", "--is-inside-work-tree"]).strip() == b"true"
    except GitFailure as failure:
        if STRANGE_OWNER.search(str(failure)):
            raise explained(str(failure), parse(str(folder.absolute()))) from failure
        inside = False
    if not inside:
        raise SourceError(f"{folder} is in no working tree of git", remedy="name a folder of a clone")


def _fields(folder: Path, command: Sequence[str]) -> Iterator[str]:
    output = _run(folder, command).decode(errors="backslashreplace")
    return (field for field in output.split("\0") if field)


def _pairs(fields: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Path and status, from status and path."""
    for mark in fields:
        yield next(fields), mark


def _run(folder: Path, command: Sequence[str]) -> bytes:
    return git(["--no-optional-locks", "-c", "core.fileMode=false", "-C", str(folder), *command])
