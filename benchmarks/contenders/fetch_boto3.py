"""boto3: its transfer manager as `aws s3 cp --recursive` uses it, or one object after the other.

With `checked` each file is also compared with its ETag and synced to the disk, as ours is.

python fetch_boto3.py URI FOLDER transfer|sequential [checked]
"""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from measure import measured

CHUNK_BYTES = 1 << 20
NUM_FILES = 10  # the command line's own default for requests at once

Listed = dict[str, Any]


class Peer:
    def __init__(self, uri: str, folder: Path, *, checked: bool) -> None:
        parts = urlsplit(uri)
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        self.folder, self.checked = folder, checked
        config = Config(s3={"addressing_style": "path"}, max_pool_connections=32)
        self.client = boto3.client("s3", endpoint_url=os.environ["AWS_S3_ENDPOINT"], config=config)

    def listing(self) -> list[Listed]:
        found: list[Listed] = self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix)["Contents"]
        return found

    def transfer(self, listed: Listed) -> None:
        self.client.download_file(self.bucket, listed["Key"], str(self._place(listed)))
        self._check(listed)

    def one_by_one(self, listed: Listed) -> None:
        body = self.client.get_object(Bucket=self.bucket, Key=listed["Key"])["Body"]
        with self._place(listed).open("wb") as file:
            for chunk in body.iter_chunks(CHUNK_BYTES):
                file.write(chunk)
        self._check(listed)

    def _place(self, listed: Listed) -> Path:
        return self.folder / Path(listed["Key"]).name

    def _check(self, listed: Listed) -> None:
        if self.checked:
            with self._place(listed).open("rb+") as file:
                os.fdatasync(file.fileno())
                assert hashlib.file_digest(file, "md5").hexdigest() == listed["ETag"].strip('"')


def main(uri: str, folder: str, manner: str, checked: str = "") -> None:
    def work() -> int:
        peer = Peer(uri, Path(folder), checked=bool(checked))
        listing = peer.listing()
        if manner == "transfer":
            with ThreadPoolExecutor(NUM_FILES) as pool:
                list(pool.map(peer.transfer, listing))
        else:
            for listed in listing:
                peer.one_by_one(listed)
        return len(listing)

    Path(folder).mkdir(parents=True)
    measured(work)


main(*sys.argv[1:])
