"""boto3: its transfer manager as `aws s3 cp --recursive` uses it, or one object after the other.

python fetch_boto3.py URI FOLDER transfer|sequential
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from measure import measured

CHUNK_BYTES = 1 << 20
NUM_FILES = 10  # the command line's own default for requests at once


def main(uri: str, folder: str, manner: str) -> None:
    parts = urlsplit(uri)
    bucket, prefix = parts.netloc, parts.path.strip("/")
    place = Path(folder)
    place.mkdir(parents=True)
    config = Config(s3={"addressing_style": "path"}, max_pool_connections=32)
    client = boto3.client("s3", endpoint_url=os.environ["AWS_S3_ENDPOINT"], config=config)

    def transfer(key: str) -> None:
        client.download_file(bucket, key, str(place / Path(key).name))

    def one_by_one(key: str) -> None:
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
        with (place / Path(key).name).open("wb") as file:
            for chunk in body.iter_chunks(CHUNK_BYTES):
                file.write(chunk)

    def work() -> int:
        keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
        if manner == "transfer":
            with ThreadPoolExecutor(NUM_FILES) as pool:
                list(pool.map(transfer, keys))
        else:
            for key in keys:
                one_by_one(key)
        return len(keys)

    measured(work)


main(*sys.argv[1:])
