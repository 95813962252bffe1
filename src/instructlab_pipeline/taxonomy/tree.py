"""The files of a commit: which of them are leaves, and which cannot be."""

from collections.abc import Iterator

from instructlab_pipeline.taxonomy.faults import Fault
from instructlab_pipeline.taxonomy.git import SUBMODULE, SYMLINK, Checkout
from instructlab_pipeline.taxonomy.leaves import is_leaf_file, misplaced, not_followed
from instructlab_pipeline.taxonomy.qna import FILE_NAME, KINDS, MAX_BYTES

WHAT_IS_A_LEAF = f"a leaf is a folder with a {FILE_NAME}, below {', '.join(KINDS)}"


def leaf_files(checkout: Checkout) -> tuple[Iterator[tuple[str, bytes]], list[Fault]]:
    """The path and the bytes of each leaf's file, one in memory at a time; and the faults that need no reading."""
    files = checkout.files()
    found = [file for file in files if is_leaf_file(file.path)]
    faults = [no_file(file.path) for file in found if not file.is_regular]
    faults += [_too_large(file.path) for file in found if file.is_regular and file.size > MAX_BYTES]
    taken = [file for file in found if file.is_regular and file.size <= MAX_BYTES]
    contents = zip((file.path for file in taken), checkout.read(file.blob for file in taken), strict=True)
    faults += not_followed(file.path for file in files if file.mode in {SYMLINK, SUBMODULE})
    return contents, [*faults, *misplaced(file.path for file in files)]


def no_file(path: str) -> Fault:
    return Fault(path=path, line=1, column=1, message="the file is a link or something else; commit a file itself")


def _too_large(path: str) -> Fault:
    return Fault(path=path, line=1, column=1, message=f"the file has more than {MAX_BYTES} bytes")
