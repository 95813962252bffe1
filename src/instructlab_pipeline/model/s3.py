"""`s3://bucket/prefix`: a base model on AWS or on any server that speaks S3, through obstore."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.model.s3_errors import Failure, explained
from instructlab_pipeline.model.s3_settings import Settings
from instructlab_pipeline.model.source import Entry

if TYPE_CHECKING:
    from obstore.store import S3Store

CLIENT = {"connect_timeout": timedelta(seconds=10), "timeout": timedelta(seconds=60)}  # of one request: one piece
RETRIES = {"max_retries": 5, "retry_timeout": timedelta(seconds=90)}


class BucketSource:
    def __init__(self, uri: str, settings: Settings | None = None) -> None:
        self.uri = uri
        self.settings = settings or Settings.from_environment(os.environ)
        parts = urlsplit(uri)
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        if not self.bucket:
            raise SourceError(f"{uri} names no bucket", remedy="write s3://bucket/prefix")

    def listing(self) -> list[Entry]:
        import obstore

        with self._boundary():
            found = list(obstore.list(self._store, self.prefix or None).collect())
        if not found:
            raise SourceError(
                f"{self.uri}: bucket {self.bucket} at {self.settings.where} has nothing below {self.prefix!r}",
                remedy="point sdg_base_model at the prefix that holds config.json",
            )
        return self._entries(found)

    async def read(self, entry: Entry, start: int, end: int) -> memoryview:
        import obstore

        key = f"{self.prefix}/{entry.name}".lstrip("/")
        options: dict[str, Any] = {"range": (start, end)}
        if entry.version:
            options["if_match"] = f'"{entry.version}"'
        with self._boundary():
            reply = await obstore.get_async(self._store, key, options=options)
            return memoryview(await reply.bytes_async())

    @cached_property
    def _store(self) -> "S3Store":
        from obstore.store import S3Store

        options = CLIENT | {"allow_http": self.settings.endpoint.startswith("http://")}
        return S3Store(self.bucket, config=self.settings.config(), client_options=options, retry_config=RETRIES)

    def _entries(self, found: Iterable[Any]) -> list[Entry]:
        """Names below the prefix; the empty objects that stand for folders are passed over."""
        named = {item["path"].removeprefix(self.prefix).lstrip("/"): item for item in found}
        folders = {name[:end] for name in named for end, letter in enumerate(name) if letter == "/"} | {""}
        return [
            Entry(name=name, size=item["size"], version=(item["e_tag"] or "").strip('"'))
            for name, item in named.items()
            if name not in folders
        ]

    @contextmanager
    def _boundary(self) -> Iterator[None]:
        """Turn obstore's errors into ours."""
        from obstore.exceptions import BaseError

        try:
            yield
        except BaseError as error:
            failure = Failure.read(str(error), kind=type(error).__name__)
            raise explained(failure, uri=self.uri, settings=self.settings) from error
