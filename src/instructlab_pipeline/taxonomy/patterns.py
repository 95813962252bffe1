"""Which files of a repository a document pattern means, and what it may have been meant to say."""

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

NUM_NEAR_MISSES = 3
LIKENESS = 0.65  # difflib's ratio: one or two letters wrong in a name


def matching(pattern: str, paths: Iterable[str]) -> list[str]:
    """The paths that `pattern` means, in their order: `*` stays within a folder, `**` crosses any number of them."""
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    return [path for path in paths if _matches(parts, path.split("/"))]


def near_misses(pattern: str, paths: Iterable[str]) -> list[str]:
    """Paths that look like the pattern, the likeliest first; case and folders do not count against them."""
    names = {path.lower(): path for path in paths}
    wanted = pattern.lower()
    near = difflib.get_close_matches(wanted, names, n=NUM_NEAR_MISSES, cutoff=LIKENESS)
    elsewhere = [path for path in names if fnmatchcase(path.rpartition("/")[2], wanted.rpartition("/")[2])]
    return [names[path] for path in dict.fromkeys([*near, *sorted(elsewhere)])][:NUM_NEAR_MISSES]


def _matches(pattern: Sequence[str], parts: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**" and _matches(pattern[1:] or ["*"], parts):
        return True
    name = "*" if pattern[0] == "**" else pattern[0]
    rest = pattern if pattern[0] == "**" else pattern[1:]
    return bool(parts) and _matches_name(name, parts[0]) and _matches(rest, parts[1:])


def _matches_name(pattern: str, name: str) -> bool:
    """Hidden names only where the pattern begins with a dot, as in a shell."""
    return fnmatchcase(name, pattern) and (not name.startswith(".") or pattern.startswith("."))
