"""What the registry itself takes for these bytes: every file in one request, all at once, by the kernel alone.

publish_bound.py FOLDER HOST REPOSITORY

FOLDER holds a sealed model, whose manifest says each file's digest. Nothing is hashed, packed, asked for or tagged,
so no client can be faster.
"""

import http.client
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def main() -> None:
    folder, host, repository = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    with ThreadPoolExecutor(len(files)) as pool:
        list(pool.map(lambda file: _send(folder, file, f"{host}/v2/{repository}"), files))


def _send(folder: Path, file: dict[str, Any], root: str) -> None:
    host, _, path = root.partition("/")
    connection = http.client.HTTPConnection(host)
    connection.request("POST", f"/{path}/blobs/uploads/", headers={"Content-Length": "0"})
    begun = connection.getresponse()
    begun.read()
    place = urlsplit(begun.headers["Location"])
    connection.putrequest("PUT", f"{place.path}?{place.query}&digest=sha256:{file['sha256']}")
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", str(file["size"]))
    connection.endheaders()
    with (folder / file["path"]).open("rb") as content:
        connection.sock.sendfile(content)
    answer = connection.getresponse()
    if answer.status != http.client.CREATED:
        raise SystemExit(f"status {answer.status} for {file['path']}")


if __name__ == "__main__":
    main()
