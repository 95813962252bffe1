"""`s3://bucket/prefix`: a base model on AWS or on any server that speaks S3, through obstore."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.model.source import Entry
from instructlab_pipeline.s3.settings import Settings
from instructlab_pipeline.s3.store import open_bucket, s3_boundary

if TYPE_CHECKING:
    from obstore.store import S3Store

CHUNK_BYTES = 1 << 20  # at most this is lost where a connection breaks
PATIENCE_S = 45.0
PIECE_TIMEOUT_S = 3600.0  # of a whole piece: no line is so slow


class BucketSource:
    def __init__(self, uri: str, settings: Settings | None = None, *, patience_s: float = PATIENCE_S) -> None:
        self.uri, self.patience_s = uri, patience_s
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

    async def read(self, entry: Entry, start: int, end: int) -> AsyncIterator[memoryview]:
        import obstore

        key = f"{self.prefix}/{entry.name}".lstrip("/")
        options: dict[str, Any] = {"range": (start, end)}
        if entry.version:
            options["if_match"] = f'"{entry.version}"'
        with self._boundary():
            reply = await self._patiently(obstore.get_async(self._store, key, options=options))
            stream = reply.stream(min_chunk_size=CHUNK_BYTES).__aiter__()
            while (data := await self._patiently(anext(stream, None))) is not None:
                yield memoryview(data)

    async def _patiently(self, awaited: Awaitable[Any]) -> Any:
        """Give up on a server that keeps a connection open and says nothing; how fast it speaks does not matter."""
        try:
            return await asyncio.wait_for(awaited, self.patience_s)
        except TimeoutError as error:
            raise ServiceError(
                f"{self.uri}: {self.settings.where} sent nothing for {self.patience_s:g} s",
                remedy="check the network and the server, then run the same command again: it goes on where it stopped",
            ) from error

    @cached_property
    def _store(self) -> "S3Store":
        return open_bucket(self.bucket, self.settings, timeout_s=PIECE_TIMEOUT_S)

    def _entries(self, found: Iterable[Any]) -> list[Entry]:
        """Names below the prefix; the empty objects that stand for folders are passed over."""
        named = {item["path"].removeprefix(self.prefix).lstrip("/"): item for item in found}
        folders = {name[:end] for name in named for end, letter in enumerate(name) if letter == "/"} | {""}
        return [
            Entry(name=name, size=item["size"], version=(item["e_tag"] or "").strip('"'))
            for name, item in named.items()
            if name not in folders
        ]

    def _boundary(self) -> AbstractContextManager[None]:
        return s3_boundary(self.uri, self.settings, named_by="sdg_base_model")
