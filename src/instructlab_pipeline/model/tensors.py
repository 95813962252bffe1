"""The header of a safetensors file, read without the file's data: 8 bytes of length, JSON, then the tensors end to end.

Format: https://github.com/huggingface/safetensors#format
"""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LENGTH_BYTES = 8
LFS, LFS_TOLD = b"version https://git-lfs", "it is a pointer of Git LFS, for which `git lfs pull` brings the file"
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
BITS = {
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}


def read_header(path: Path) -> dict[str, Any]:
    """Each tensor's {dtype, shape, data_offsets}, by name.

    Raises:
        ValueError: the file is cut short, padded, or no safetensors file.
    """
    try:
        text = _header_text(path)
        header: dict[str, Any] = json.loads(text.decode(), parse_constant=_refuse)
        _check_metadata(header.pop("__metadata__", None))
        _check_layout(header, data_bytes=path.stat().st_size - LENGTH_BYTES - len(text))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{path.name} is not a whole safetensors file: {error}") from error
    return header


def num_elements(tensor: Mapping[str, Any]) -> int:
    return math.prod(tensor["shape"])


def _header_text(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        if len(start) < LENGTH_BYTES:
            raise ValueError("it has no header")
        if start == LFS[:LENGTH_BYTES]:
            raise ValueError(LFS_TOLD)
        (length,) = struct.unpack("<Q", start)
        text = file.read(min(length, MAX_HEADER_BYTES))
    if len(text) < length:
        raise ValueError(f"its header would take {length} bytes")
    return text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _check_metadata(metadata: Any) -> None:
    if metadata is not None and not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata holds more than text")


def _check_layout(header: Mapping[str, Any], *, data_bytes: int) -> None:
    """The tensors lie end to end and fill the file exactly."""
    position = 0
    spans = [(*_span(name, tensor), name) for name, tensor in header.items()]
    for start, end, name in sorted(spans):
        if start != position:
            raise ValueError(f"there is a gap or an overlap before tensor {name}")
        position = end
    if position != data_bytes:
        raise ValueError(f"it holds {data_bytes} bytes of tensors where its header promises {position}")


def _span(name: str, tensor: Any) -> tuple[int, int]:
    try:
        start, end = _counts(tensor["data_offsets"])
        num_bytes = math.prod(_counts(tensor["shape"])) * BITS[tensor["dtype"]] / 8
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"tensor {name} is described in no way that we know ({error})") from error
    if end - start != num_bytes:
        raise ValueError(f"tensor {name} has {end - start} bytes where its shape takes {num_bytes:g}")
    return start, end


def _counts(numbers: Any) -> list[int]:
    if not isinstance(numbers, list) or not all(type(number) is int and 0 <= number < 2**64 for number in numbers):
        raise ValueError(f"{numbers!r} are no counts")
    return numbers
