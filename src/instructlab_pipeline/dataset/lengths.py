"""How long a record is for the student: by its own chat template and tokenizer, as training will see it."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from instructlab_pipeline.dataset.records import Record
from instructlab_pipeline.errors import SourceError, boundary

_AT_ONCE = 512  # records tokenized together: enough to keep all cores busy


class Ruler:
    """Measures records in the tokens of the model in `folder`."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        with boundary(SourceError, f"reading the tokenizer of {folder}", remedy="check the files of sdg_base_model"):
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def measure(self, records: Iterable[Record]) -> Iterator[tuple[Record, int]]:
        """Each record with its number of tokens."""
        remaining = iter(records)
        while batch := list(islice(remaining, _AT_ONCE)):
            yield from zip(batch, self._lengths(batch), strict=True)

    def _lengths(self, batch: list[Record]) -> list[int]:
        doing = "laying out a chat with the base model's chat template"
        with boundary(SourceError, doing, remedy="check chat_template.jinja of sdg_base_model"):
            chats = [record["messages"] for record in batch]
            texts = self._tokenizer.apply_chat_template(chats, tokenize=False)
            encoded = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [len(ids) for ids in encoded]
