"""`s3://bucket/prefix`: a base model on AWS or on any server that speaks S3, listed by obstore and read in ranges."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.model.source import NO_DIGEST, Entry
from instructlab_pipeline.s3.ranges import Ranges
from instructlab_pipeline.s3.settings import Settings
from instructlab_pipeline.s3.store import is_path, open_bucket, s3_boundary

PATIENCE_S = 45.0  # with a server that says nothing; how fast it speaks does not matter
STRONG = re.compile(r"[^\s\"/]+")  # an ETag that can be asked for: neither weak nor a time
NAMED_BY = "sdg_base_model"
KMS, CUSTOMER_KEY = "x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm"


class BucketSource:
    def __init__(self, uri: str, settings: Settings | None = None, *, patience_s: float = PATIENCE_S) -> None:
        self.uri, self.patience_s = uri, patience_s
        self.settings = settings or Settings.from_environment(os.environ)
        self.bucket, _, prefix = uri.removeprefix("s3://").partition("/")  # ? and # are letters of keys
        self.prefix = prefix.strip("/")
        self._encrypted: set[str] = set()
        if not self.bucket:
            raise SourceError(f"{uri} names no bucket", remedy="write s3://bucket/prefix")
        if self.prefix and not is_path(self.prefix):
            raise SourceError(
                f"{uri} has // or dots where a folder's name has to be", remedy="write s3://bucket/prefix"
            )

    def listing(self) -> list[Entry]:
        import obstore

        with self._boundary():
            store = open_bucket(self.bucket, self.settings)
            found = list(obstore.list(store, self.prefix or None).collect())
            if not found:
                raise self._nothing(_instead(store, self.prefix))
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
        return Ranges(self.bucket, self.settings, timeout_s=self.patience_s, named_by=NAMED_BY)

    def _nothing(self, instead: str) -> SourceError:
        return SourceError(
            f"{self.uri}: bucket {self.bucket} at {self.settings.where} has nothing below {self.prefix!r}{instead}",
            remedy="point sdg_base_model at the prefix that holds config.json, and AWS_S3_ENDPOINT at its server",
        )

    def _entries(self, found: Iterable[Any]) -> list[Entry]:
        """Names below the prefix; the empty objects that stand for folders, also for empty ones, are passed over."""
        named = {item["path"].removeprefix(self.prefix).lstrip("/"): item for item in found}
        folders = {name[:end] for name in named for end, letter in enumerate(name) if letter == "/"} | {""}
        folders |= {name for name, item in named.items() if not item["size"] and not PurePosixPath(name).suffix}
        return [
            Entry(name=name, size=item["size"], version=_version(item))
            for name, item in named.items()
            if name not in folders
        ]

    def _boundary(self) -> AbstractContextManager[None]:
        return s3_boundary(self.uri, self.settings, named_by=NAMED_BY)


def _instead(store: Any, key: str) -> str:
    """What is at `key` though nothing is below it, in words. Every object of S3 has an ETag."""
    import obstore

    try:
        found = obstore.head(store, key or "config.json")
    except FileNotFoundError:
        return ""
    return ", which is an object itself" if found["e_tag"] else "; a web page answers there, not S3"


def _version(item: Mapping[str, Any]) -> str:
    """The ETag, or where a server makes none, the time of change."""
    return (item["e_tag"] or "").strip('"') or f"{NO_DIGEST}{item['last_modified'].isoformat()}"
