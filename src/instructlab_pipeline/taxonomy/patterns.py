"""Which files of a repository a document pattern means, and what it may have been meant to say."""

import difflib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from itertools import takewhile

WILDCARD = re.compile(r"[*?\[]")
NUM_NEAR_MISSES = 3
LIKENESS = 0.65  # difflib's ratio: one or two letters wrong in a name


def matching(pattern: str, paths: Iterable[str]) -> list[str]:
    """The paths that `pattern` means, in their order: `*` stays within a folder, `**` crosses any number of them.

    A path means itself, whatever brackets are in it.
    """
    parts = _parts(pattern)
    plain = list(takewhile(lambda part: not WILDCARD.search(part), parts))  # most patterns are this and no more
    head, whole = "/".join(plain), "/".join(parts)
    if head == whole:
        return [path for path in paths if path == whole]
    below = [path for path in paths if not plain or path.startswith(f"{head}/")]
    return [path for path in below if path == whole or _matches(parts, path.split("/"))]


def near_misses(pattern: str, paths: Iterable[str]) -> list[str]:
    """Patterns that it may have been meant to be, the likeliest first; case and folders do not count against them."""
    if folder := _all_of_folder(pattern, paths):
        return [folder]
    names = {path.lower(): path for path in paths}
    wanted = pattern.lower()
    near = difflib.get_close_matches(wanted, names, n=NUM_NEAR_MISSES, cutoff=LIKENESS)
    elsewhere = [path for path in names if fnmatchcase(path.rpartition("/")[2], wanted.rpartition("/")[2])]
    return [names[path] for path in dict.fromkeys([*near, *sorted(elsewhere)])][:NUM_NEAR_MISSES]


def _all_of_folder(pattern: str, paths: Iterable[str]) -> str:
    """A pattern for all below the folder that `pattern` names; empty where it names none."""
    folder = "/".join(_parts(pattern))
    return f"{folder}/**" if folder and any(path.startswith(f"{folder}/") for path in paths) else ""


def _parts(pattern: str) -> list[str]:
    return [part for part in pattern.split("/") if part not in {"", "."}]


def _matches(pattern: Sequence[str], parts: Sequence[str]) -> bool:
    """In time that grows with the product of both lengths, however many `**` there are."""
    steps = [*pattern, "*"] if pattern[-1:] == ["**"] else pattern  # folders alone are no file

    @cache
    def matches_from(step: int, part: int) -> bool:
        if step == len(steps):
            return part == len(parts)
        crosses = steps[step] == "**"
        if crosses and matches_from(step + 1, part):
            return True
        if part == len(parts) or not _matches_name("*" if crosses else steps[step], parts[part]):
            return False
        return matches_from(step if crosses else step + 1, part + 1)

    return matches_from(0, 0)


def _matches_name(pattern: str, name: str) -> bool:
    """Hidden names only where the pattern begins with a dot, as in a shell."""
    return fnmatchcase(name, pattern) and (not name.startswith(".") or pattern.startswith("."))
