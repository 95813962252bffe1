"""Where leaves are read from: a commit, or a folder as it lies there."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy.faults import Fault
from instructlab_pipeline.taxonomy.git import Checkout
from instructlab_pipeline.taxonomy.leaves import Leaf, is_leaf_file, misplaced, read_leaves
from instructlab_pipeline.taxonomy.qna import FILE_NAME, KINDS, MAX_BYTES

WHAT_IS_A_LEAF = f"a leaf is a folder with a {FILE_NAME}, below {', '.join(KINDS)}"


def leaves_of_commit(checkout: Checkout) -> tuple[list[Leaf], list[Fault]]:
    """All leaves by path, and the faults of all files."""
    files = checkout.files()
    found = [file for file in files if is_leaf_file(file.path)]
    refused = {file.path: "the file is a link; commit the file itself" for file in found if not file.is_regular}
    refused |= {file.path: f"the file has more than {MAX_BYTES} bytes" for file in found if file.size > MAX_BYTES}
    taken = [file for file in found if file.path not in refused]
    contents = zip((file.path for file in taken), checkout.read(file.blob for file in taken), strict=True)
    leaves, faults = read_leaves(contents)
    faults += [Fault(path=path, line=1, column=1, message=message) for path, message in refused.items()]
    return leaves, [*faults, *misplaced(file.path for file in files)]


def leaves_of_path(path: Path) -> tuple[list[Leaf], list[Fault]]:
    """As `leaves_of_commit`, for a taxonomy, a folder in one, or a single `qna.yaml`, as it lies there.

    Raises:
        SourceError: no leaf is there.
    """
    if path.is_file():
        return _read(path.parent, [path.name])
    names = list(_walk(path))
    if any((path / folder).is_dir() for folder in KINDS):
        taken, doubts = [name for name in names if is_leaf_file(name)], list(misplaced(names))
    else:
        taken, doubts = [name for name in names if PurePosixPath(name).name == FILE_NAME], []
    if not taken:
        raise SourceError(f"{path} holds no leaf", remedy=f"{WHAT_IS_A_LEAF}; is the path right?")
    leaves, faults = _read(path, taken)
    return leaves, [*faults, *doubts]


def _read(folder: Path, names: list[str]) -> tuple[list[Leaf], list[Fault]]:
    contents = ((name, (folder / name).read_bytes()) for name in names)
    return read_leaves(contents, above=folder.absolute().parts, shown_below=f"{folder}/")


def _walk(folder: Path) -> Iterator[str]:
    """Regular files by path, hidden folders and links left out."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not path.is_symlink():
                yield path.relative_to(folder).as_posix()
