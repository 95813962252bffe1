"""A real S3 server: OpenStack Swift with its s3api, as four small processes in a temporary folder.

    with s3_server() as s3:
        s3.create_bucket("models")
        s3.put("models", "tiny/config.json", b"{}")
        run(environment=s3.environment)

It is filled by plain requests signed here, so that no S3 client stands on both sides of a test.
"""

import base64
import email.utils
import getpass
import hashlib
import hmac
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.loopback import HOST, free_port, process

ACCESS_KEY = "test:tester"  # tempauth's account:user
SECRET_KEY = "testing"
DEVICE = "disk"
TIMEOUT_S = 120
PATIENCE_S = 60  # of its processes with each other: they give up after half a second, and a listing lacks what is there
DOMAIN = "s3.test"  # below which a bucket is a host; nothing resolves it, see `named_hosts`
PAGE = 40  # names that one request lists, so that few files show whether a client turns pages
SWIFT_CONF = "[swift-hash]\nswift_hash_path_suffix = loopback\nswift_hash_path_prefix = loopback\n"
STORAGE_SERVERS = {
    "account": "swift.account.server",
    "container": "swift.container.server",
    "object": "swift.obj.server",
}
DEFAULTS = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
conn_timeout = {patience_s}
node_timeout = {patience_s}
client_timeout = {patience_s}
container_update_timeout = {patience_s}
"""
STORAGE_PIPELINE = """
[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY_PIPELINE = f"""
[pipeline:main]
pipeline = catch_errors listing_formats s3api tempauth slo dlo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:s3api]
use = egg:swift#s3api
s3_acl = false
max_bucket_listing = {PAGE}
storage_domain = {DOMAIN}

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {SECRET_KEY} .admin

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:slo]
use = egg:swift#slo

[filter:dlo]
use = egg:swift#dlo
"""


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """Where the server listens and what opens it."""

    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    @property
    def environment(self) -> dict[str, str]:
        """What a program finds in its environment to use the server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_S3_ENDPOINT": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def create_bucket(self, bucket: str) -> None:
        self._send("PUT", bucket)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self._send("PUT", f"{bucket}/{key}", body)

    def upload(self, bucket: str, prefix: str, folder: Path) -> None:
        """Every file under `folder`, with its path in it behind `prefix`."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(bucket, f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def delete(self, bucket: str, key: str) -> None:
        self._send("DELETE", f"{bucket}/{key}")

    def signature(self, method: str, path: str) -> dict[str, str]:
        """Headers that sign a request in S3's first way (version 2), one line that Swift still knows."""
        kind, date = "application/octet-stream", email.utils.formatdate(usegmt=True)
        signed = f"{method}\n\n{kind}\n{date}\n{path}".encode()
        signature = base64.b64encode(hmac.digest(self.secret_key.encode(), signed, hashlib.sha1)).decode()
        return {"Authorization": f"AWS {self.access_key}:{signature}", "Content-Type": kind, "Date": date}

    def _send(self, method: str, path: str, body: bytes = b"") -> None:
        path = urllib.parse.quote(path)
        headers = self.signature(method, f"/{path}")
        request = urllib.request.Request(f"{self.endpoint}/{path}", data=body, method=method, headers=headers)
        urllib.request.urlopen(request, timeout=TIMEOUT_S).close()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Up in about three seconds, empty, on a free port of 127.0.0.1; its files go with it."""
    with tempfile.TemporaryDirectory(prefix="s3-server-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "devices" / DEVICE).mkdir(parents=True)
        (folder / "swift.conf").write_text(SWIFT_CONF)
        ports = {kind: free_port() for kind in STORAGE_SERVERS}
        for kind, port in ports.items():
            _write_ring(folder, kind, port)
        processes = [
            _process(folder, kind, module, ports[kind], STORAGE_PIPELINE.format(kind=kind))
            for kind, module in STORAGE_SERVERS.items()
        ]
        port = free_port()
        processes.append(_process(folder, "proxy", "swift.proxy.server", port, PROXY_PIPELINE))
        for started in processes:
            stack.enter_context(started)
        yield S3Server(endpoint=f"http://{HOST}:{port}")


def _write_ring(folder: Path, kind: str, port: int) -> None:
    """The whole of one kind on one device, in one copy."""
    from swift.common.ring import RingBuilder

    builder = RingBuilder(1, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": HOST, "port": port, "device": DEVICE, "weight": 1})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


def _process(folder: Path, kind: str, module: str, port: int, pipeline: str) -> AbstractContextManager[Any]:
    configuration = folder / f"{kind}-server.conf"
    place = {"host": HOST, "port": port, "folder": folder}
    defaults = DEFAULTS.format(**place, user=getpass.getuser(), patience_s=PATIENCE_S)
    configuration.write_text(defaults + pipeline)
    return process([sys.executable, "-m", module, str(configuration)], port=port, log=folder / f"{kind}.log")
