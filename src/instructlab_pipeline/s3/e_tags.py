"""What S3 makes of a file's bytes: the MD5 sum, or that of the parts' sums where it was sent in several.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

BLOCK_BYTES = 1 << 20
MEBIBYTE = 1 << 20
E_TAG = re.compile(r"[0-9a-f]{32}(?:-(?P<parts>[1-9]\d{0,4}))?")
# What clients cut files into unless told otherwise: AWS's, MinIO's, rclone, s5cmd, s3fs; larger for large files.
USUAL_MIB = (8, 16, 5, 64, 50, 10, 15, 32, 100, 128, 256, 512, 1024, 2048, 5120)
MAX_GUESSES = 8


def num_parts(e_tag: str) -> int | None:
    """In how many parts the object was sent; 0: as a whole; None: the tag is of no form that is made from bytes."""
    match = E_TAG.fullmatch(e_tag)
    return int(match["parts"] or 0) if match else None


def part_sizes(size: int, parts: int) -> list[int]:
    """How large the parts of an object may have been, the likeliest first: no server tells, but few sizes fit."""
    if parts == 1:
        return [size]
    low, high = -(-size // parts), (size - 1) // (parts - 1)  # all but the last are of one size
    usual = [mib * MEBIBYTE for mib in USUAL_MIB if low <= mib * MEBIBYTE <= high]
    whole = range(-(-low // MEBIBYTE) * MEBIBYTE, high + 1, MEBIBYTE)
    return list(dict.fromkeys([*usual, *whole[:MAX_GUESSES], *([low] if low == high else [])]))[:MAX_GUESSES]


def combined(digests: Iterable[bytes]) -> str:
    """The tag of an object that was sent in parts with these MD5 sums."""
    sums = list(digests)
    return f"{md5(b''.join(sums)).hexdigest()}-{len(sums)}"


def e_tag(path: Path, *, part_bytes: int, always_in_parts: bool = False) -> str:
    """The tag of a file that is sent in parts of `part_bytes`; one that fits into a part is mostly sent as a whole."""
    sums = list(_sums(path, part_bytes)) or [md5().digest()]
    return combined(sums) if len(sums) > 1 or always_in_parts else sums[0].hex()


def _sums(path: Path, part_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while left := min(part_bytes, path.stat().st_size - file.tell()):
            hasher = md5()
            while left and (block := file.read(min(left, BLOCK_BYTES))):
                hasher.update(block)
                left -= len(block)
            yield hasher.digest()


def md5(data: bytes = b"") -> "hashlib._Hash":
    return hashlib.md5(data, usedforsecurity=False)
