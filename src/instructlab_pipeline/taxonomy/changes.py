"""Which leaves of a working tree differ from a commit: two trees compared, however long the history between them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy.git import near_names
from instructlab_pipeline.taxonomy.git_command import GitFailure, git
from instructlab_pipeline.taxonomy.git_errors import STRANGE_OWNER, explained
from instructlab_pipeline.taxonomy.git_url import parse
from instructlab_pipeline.taxonomy.leaves import is_leaf_file
from instructlab_pipeline.taxonomy.qna import FILE_NAME, KINDS

ADDED, CHANGED, DELETED = "A", "M", "D"  # git's marks; there are more kinds of change


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
    status = _status(folder, commit)
    whole = any((folder / kind).is_dir() for kind in KINDS) or any(map(is_leaf_file, status))
    marks: dict[str, str] = {}
    for path, mark in status.items():
        if is_leaf_file(path) if whole else PurePosixPath(path).name == FILE_NAME:
            marks[_readable(str(PurePosixPath(path).parent))] = mark
    return Changes(
        base=commit,
        added=sorted(leaf for leaf, mark in marks.items() if mark == ADDED),
        changed=sorted(leaf for leaf, mark in marks.items() if mark not in {ADDED, DELETED}),
        deleted=sorted(leaf for leaf, mark in marks.items() if mark == DELETED),
    )


def _status(folder: Path, commit: str) -> dict[str, str]:
    """By path, how each file below `folder` differs; what the index does not know is looked up in the folder itself."""
    status, blobs = {}, {}
    for mark, blob, path in _compared(folder, commit):
        status[path], blobs[path] = mark, blob
    unknown = [*_fields(folder, ["ls-files", "--others", "--exclude-standard", "-z", "--", "."])]
    again = [path for path in unknown if path in blobs]
    same = _same(folder, {path: blobs[path] for path in again})
    status |= dict.fromkeys(unknown, ADDED) | dict.fromkeys(again, CHANGED)
    return {path: mark for path, mark in status.items() if path not in same}


def _compared(folder: Path, commit: str) -> Iterator[tuple[str, str, str]]:
    """Mark, blob in the commit and path of each file that the commit and the index, or the folder, have otherwise."""
    options = ["--no-renames", "--no-ext-diff", "--ignore-submodules", "--raw", "--no-abbrev", "-z", "--relative"]
    fields = _fields(folder, ["diff", *options, commit, "--", "."])
    for about in fields:
        _, _, blob, _, mark = about.split(" ")
        yield mark, blob, next(fields)


def _same(folder: Path, blobs: Mapping[str, str]) -> set[str]:
    """The files that lie there with the content of these blobs."""
    files = [path for path in blobs if not (folder / path).is_symlink() and "\n" not in path]
    if not files:
        return set()
    names = "".join(f"{path}\n" for path in files)
    found = _output(folder, ["hash-object", "--stdin-paths"], os.fsencode(names)).decode().split()
    return {path for path, blob in zip(files, found, strict=True) if blob == blobs[path]}


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
    return (os.fsdecode(field) for field in _output(folder, command).split(b"\0") if field)


def _output(folder: Path, command: Sequence[str], given: bytes = b"") -> bytes:
    try:
        return _run(folder, command, given)
    except GitFailure as failure:  # as where a clone lacks what its server is to give out
        said = str(failure).strip().rpartition("\n")[2]
        raise SourceError(f"{folder} cannot be compared: {said}", remedy="see what git status says there") from failure


def _readable(path: str) -> str:
    """With bytes that are no UTF-8 escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _run(folder: Path, command: Sequence[str], given: bytes = b"") -> bytes:
    return git(["--no-optional-locks", "-c", "core.fileMode=false", "-C", str(folder), *command], given=given)
