"""Can this folder be fine-tuned? Every reason why not, before anything is spent on it."""

import json
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from instructlab_pipeline.model.tensors import LFS, LFS_TOLD, num_elements, read_header

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
ADAPTER = "adapter_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
NEEDED = (CONFIG, TOKENIZER, TOKENIZER_CONFIG)

Check = Callable[[], Iterator[str]]


def missing_files(names: Collection[str]) -> list[str]:
    """Complaints to which the names alone give rise, before a byte is fetched."""
    if ADAPTER in names and not {WEIGHTS, INDEX} & {*names}:
        return [f"{ADAPTER} says that this is an adapter: merge it into its model, or take the model alone"]
    complaints = [f"{name} is missing" for name in NEEDED if name not in names]
    if WEIGHTS in names or INDEX in names:
        return complaints
    if any(name.endswith(".safetensors") for name in names):
        return [*complaints, f"{INDEX} is missing, which says what each shard holds"]
    return [*complaints, f"{WEIGHTS} is missing; weights in other formats, pickled ones above all, are not loaded"]


def complaints(folder: Path, model_types: Collection[str], families: Collection[str] | None = None) -> list[str]:
    """What is wrong in `folder` but for its weights, one sentence each, beginning with the file's name.

    `model_types`: the causal language models that transformers knows; `families`: which can be trained, if not all.
    """
    families = model_types if families is None else families
    checks: list[Check] = [
        partial(_check_config, folder, model_types, families),
        partial(_check_tokenizer, folder),
        partial(_check_template, folder),
    ]
    return [complaint for check in checks for complaint in _tried(check)]


def complaints_of_weights(folder: Path) -> list[str]:
    """What is wrong with them, likewise."""
    return list(_tried(partial(_check_weights, folder)))


def num_parameters(folder: Path) -> int:
    """Elements of all tensors, from the headers."""
    headers = (read_header(folder / shard) for shard in _shards(folder))
    return sum(num_elements(tensor) for header in headers for tensor in header.values())


def read_config(folder: Path) -> dict[str, Any]:
    return _read_object(folder, CONFIG)


def _tried(check: Check) -> Iterator[str]:
    """The check's complaints; a file that it cannot read is one more."""
    try:
        yield from check()
    except ValueError as error:
        yield str(error)


def _check_config(folder: Path, model_types: Collection[str], families: Collection[str]) -> Iterator[str]:
    config = read_config(folder)
    kind = config.get("model_type")
    if "auto_map" in config:
        yield f"{CONFIG} has auto_map, which asks to run code that comes with the model; it is never run"
    if not _is_list_of_names(config.get("architectures")):
        yield f"{CONFIG} names no architectures"
    if config.get("quantization_config"):
        yield f"{CONFIG} has quantization_config: what is quantized cannot be trained; take what it came from"
    if not isinstance(kind, str) or kind not in model_types:
        yield f"{CONFIG} has model_type {kind!r}, which transformers does not know as a causal language model"
    elif kind not in families:
        yield f"{CONFIG} has model_type {kind!r}; training has been proven on {', '.join(sorted(families))}"


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


def _check_tokenizer(folder: Path) -> Iterator[str]:
    if "auto_map" in _read_object(folder, TOKENIZER_CONFIG):
        yield f"{TOKENIZER_CONFIG} has auto_map, which asks to run code that comes with the model; it is never run"
    if "model" not in _read_object(folder, TOKENIZER):
        yield f"{TOKENIZER} has no vocabulary"


def _check_template(folder: Path) -> Iterator[str]:
    if not (folder / CHAT_TEMPLATE).exists() and not _read_object(folder, TOKENIZER_CONFIG).get("chat_template"):
        yield f"{CHAT_TEMPLATE} is missing, and {TOKENIZER_CONFIG} holds no chat_template either"


def _check_weights(folder: Path) -> Iterator[str]:
    for shard, promised in _shards(folder).items():
        if shard == Path(shard).name and (folder / shard).is_file():
            yield from _tried(partial(_check_shard, folder / shard, promised))
        else:
            yield f"{shard} is missing, which {INDEX} lists"


def _check_shard(path: Path, promised: Collection[str]) -> Iterator[str]:
    absent = sorted(set(promised) - read_header(path).keys())
    if absent:
        yield f"{path.name} lacks {len(absent)} tensors that {INDEX} lists, the first {absent[0]}"


def _shards(folder: Path) -> dict[str, set[str]]:
    """Each file of weights with the tensors that the index promises in it; one whole file comes first, as transformers
    has it.
    """
    if (folder / WEIGHTS).is_file():
        return {WEIGHTS: set()}
    weight_map = _read_object(folder, INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{INDEX} has no weight_map")
    shards: dict[str, set[str]] = {}
    for tensor, shard in sorted(weight_map.items()):
        shards.setdefault(str(shard), set()).add(tensor)
    return dict(sorted(shards.items()))


def _read_object(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is none.
    """
    try:
        value = json.loads(_text((folder / name).read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")  # noqa: TRY004 - one kind of error for all files
    return value


def _text(content: bytes) -> str:
    """In UTF-8, the only encoding that transformers takes."""
    if content.startswith(LFS):
        raise ValueError(LFS_TOLD)
    return content.decode()
