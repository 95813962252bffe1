"""A taxonomy checked and forgotten: leaf by leaf, in bounded memory, on all cores where there are many."""

import os
import signal
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.processes import die_with_parent
from instructlab_pipeline.taxonomy.faults import Fault, errors
from instructlab_pipeline.taxonomy.git import Checkout
from instructlab_pipeline.taxonomy.leaves import OUTSIDE, colliding, folder_of, is_leaf_file, misplaced, not_followed
from instructlab_pipeline.taxonomy.qna import FILE_NAME, KINDS, MAX_BYTES, read
from instructlab_pipeline.taxonomy.tree import WHAT_IS_A_LEAF, leaf_files, no_file

BATCH = 100  # files
SHARED_FROM = 3000  # files; below, starting other processes takes longer than they save


@dataclass(frozen=True, kw_only=True)
class Report:
    """`num_leaves` can be used; `faults` are sorted."""

    num_leaves: int
    faults: Sequence[Fault]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """On one file; `shown` is its path in messages."""

    leaf: str
    shown: str
    usable: bool
    faults: tuple[Fault, ...]


def check_commit(checkout: Checkout) -> Report:
    """All leaves of a commit.

    Raises:
        SourceError: it has none.
    """
    contents, faults = leaf_files(checkout)
    verdicts = [_verdict(path, data, shown=path, above=()) for path, data in contents]
    if not verdicts and not errors(faults):
        elsewhere = [fault.path for fault in faults if fault.code == OUTSIDE]
        hint = f"; {elsewhere[0]} lies elsewhere" if elsewhere else ""
        raise SourceError(f"commit {checkout.commit} holds no leaf{hint}", remedy=WHAT_IS_A_LEAF)
    return _report(verdicts, faults)


def check_path(path: Path) -> Report:
    """A taxonomy, a folder in one, or a single `qna.yaml`, as it lies there.

    Raises:
        SourceError: no leaf is there, or a folder may not be read.
    """
    if path.is_file():
        return _check_file(path)
    if not path.is_dir():
        raise SourceError(
            f"{path} is neither a file nor a folder", remedy="name one of these, or the URL of a repository"
        )
    try:
        names, foreign = _walk(path)
    except OSError as error:
        raise SourceError(
            f"{error.filename} cannot be read: {error.strerror}", remedy="check who may read it"
        ) from error
    whole = any((path / folder).is_dir() for folder in KINDS)
    found = [name for name in names if (is_leaf_file(name) if whole else name.rpartition("/")[2] == FILE_NAME)]
    if not found:
        raise SourceError(f"{path} holds no leaf", remedy=f"{WHAT_IS_A_LEAF}; is the path right?")
    taken = [name for name in found if stat.S_ISREG((path / name).lstat().st_mode)]
    faults = [no_file(str(path / name)) for name in sorted(set(found) - set(taken))]
    if whole:
        doubts = (*misplaced(names), *not_followed(foreign))
        faults += [replace(fault, path=str(path / fault.path)) for fault in doubts]
    check = _checked_by_many if len(taken) >= SHARED_FROM else _checked_batch
    return _report(check(path, taken, () if whole else path.absolute().parts), faults)


def _check_file(path: Path) -> Report:
    if path.is_symlink():
        return _report([], [no_file(str(path))])
    if path.name != FILE_NAME:
        message = f"a leaf's file is named {FILE_NAME}"
        return _report([], [Fault(path=str(path), line=1, column=1, message=message)])
    return _report([_checked(path.parent, path.name, path.parent.absolute().parts)], [])


def _report(verdicts: Iterable[Verdict], faults: list[Fault]) -> Report:
    usable = []
    for verdict in verdicts:
        faults += verdict.faults
        if verdict.usable:
            usable.append((verdict.leaf, verdict.shown))
    faults += colliding(sorted(usable))
    return Report(num_leaves=len(usable), faults=sorted(map(_readable, faults)))


def _readable(fault: Fault) -> Fault:
    """With the bytes of its path that are no UTF-8 escaped, as a run shows them."""
    return replace(fault, path=os.fsencode(fault.path).decode(errors="backslashreplace"))


def _checked_by_many(folder: Path, names: Sequence[str], above: Sequence[str]) -> Iterator[Verdict]:
    """As `_checked_batch`, in as many processes as there are cores for us."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
    num_workers = min(len(os.sched_getaffinity(0)), len(batches))
    with ProcessPoolExecutor(num_workers, get_context("spawn"), initializer=_begin) as pool:
        try:
            for verdicts in pool.map(partial(_checked_batch, folder, above=above), batches):
                yield from verdicts
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leave Ctrl-C to the process that started this one, and never outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


def _checked_batch(folder: Path, names: Sequence[str], above: Sequence[str]) -> list[Verdict]:
    return [_checked(folder, name, above) for name in names]


def _checked(folder: Path, name: str, above: Sequence[str]) -> Verdict:
    """`above`: the folders over `folder`, where they may tell what kind of leaf it is."""
    file = folder / name
    shown = str(file)
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        fault = Fault(path=shown, line=1, column=1, message=f"the file cannot be read: {error.strerror}")
        return Verdict(leaf=folder_of(name), shown=shown, usable=False, faults=(fault,))
    return _verdict(name, data, shown=shown, above=above)


def _verdict(path: str, data: bytes, *, shown: str, above: Sequence[str]) -> Verdict:
    leaf = folder_of(path)
    qna = read(shown, data, folders=[*above, *leaf.split("/")])
    return Verdict(leaf=leaf, shown=shown, usable=bool(qna.data), faults=qna.faults)


def _walk(folder: Path) -> tuple[list[str], list[str]]:
    """Files and links to files, by path; and the folders that are no part of this tree. Hidden folders are left out.

    Those folders are links, and repositories of their own, as a submodule is.
    """
    names, foreign = [], []
    for root, folders, files in os.walk(folder, onerror=_raise):
        below = root.removeprefix(str(folder)).lstrip("/")
        if below and ".git" in (*folders, *files):
            foreign.append(below)
            folders.clear()
            continue
        head = f"{below}/" if below else ""
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        foreign += [head + name for name in folders if Path(root, name).is_symlink()]
        names += [head + name for name in sorted(files)]
    return names, foreign


def _raise(error: OSError) -> None:
    raise error
