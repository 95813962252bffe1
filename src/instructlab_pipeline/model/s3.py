"""`s3://bucket/prefix`: a base model on AWS or on any server that speaks S3, listed by obstore and read in ranges."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.model.source import NO_DIGEST, Entry
from instructlab_pipeline.s3.ranges import Ranges
from instructlab_pipeline.s3.settings import Settings
from instructlab_pipeline.s3.store import open_bucket, s3_boundary

PATIENCE_S = 45.0  # with a server that says nothing; how fast it speaks does not matter
STRONG = re.compile(r"[^\s\"/]+")  # an ETag that can be asked for: neither weak nor a time
NAMED_BY = "sdg_base_model"
KMS, CUSTOMER_KEY = "x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm"


class BucketSource:
    def __init__(self, uri: str, settings: Settings | None = None, *, patience_s: float = PATIENCE_S) -> None:
        self.uri, self.patience_s = uri, patience_s
        self.settings = settings or Settings.from_environment(os.environ)
        parts = urlsplit(uri)
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        self._encrypted: set[str] = set()
        if not self.bucket:
            raise SourceError(f"{uri} names no bucket", remedy="write s3://bucket/prefix")

    def listing(self) -> list[Entry]:
        import obstore

        with self._boundary():
            store = open_bucket(self.bucket, self.settings)
            found = list(obstore.list(store, self.prefix or None).collect())
            if not found:
                raise self._nothing(is_object=_is_object(store, self.prefix))
        return self._entries(found)

    def read(self, entry: Entry, start: int, end: int) -> Iterator[memoryview]:
        def told(headers: Mapping[str, str]) -> None:
            if CUSTOMER_KEY in headers or headers.get(KMS, "").startswith("aws:kms"):
                self._encrypted.add(entry.name)

        key = f"{self.prefix}/{entry.name}".lstrip("/")
        e_tag = entry.version if STRONG.fullmatch(entry.version) else ""
        return self._ranges.read(key, start, end, e_tag=e_tag, told=told)

    def is_digest(self, entry: Entry) -> bool:
        """Objects that are encrypted with keys of somebody's own have ETags that say nothing of their bytes."""
        return entry.name not in self._encrypted

    def close(self) -> None:
        self._ranges.close()

    @cached_property
    def _ranges(self) -> Ranges:
        return Ranges(self.bucket, self.settings, timeout_s=self.patience_s, uri=self.uri, named_by=NAMED_BY)

    def _nothing(self, *, is_object: bool) -> SourceError:
        but = ", which is an object itself" if is_object else ""
        return SourceError(
            f"{self.uri}: bucket {self.bucket} at {self.settings.where} has nothing below {self.prefix!r}{but}",
            remedy="point sdg_base_model at the prefix that holds config.json",
        )

    def _entries(self, found: Iterable[Any]) -> list[Entry]:
        """Names below the prefix; the empty objects that stand for folders are passed over."""
        named = {item["path"].removeprefix(self.prefix).lstrip("/"): item for item in found}
        folders = {name[:end] for name in named for end, letter in enumerate(name) if letter == "/"} | {""}
        return [
            Entry(name=name, size=item["size"], version=_version(item))
            for name, item in named.items()
            if name not in folders
        ]

    def _boundary(self) -> AbstractContextManager[None]:
        return s3_boundary(self.uri, self.settings, named_by=NAMED_BY)


def _is_object(store: Any, key: str) -> bool:
    import obstore

    try:
        return bool(key and obstore.head(store, key))
    except FileNotFoundError:
        return False


def _version(item: Mapping[str, Any]) -> str:
    """The ETag, or where a server makes none, the time of change."""
    return (item["e_tag"] or "").strip('"') or f"{NO_DIGEST}{item['last_modified'].isoformat()}"
