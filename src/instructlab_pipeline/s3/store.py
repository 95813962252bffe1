"""A bucket through obstore, whose errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.s3.errors import Failure, explained
from instructlab_pipeline.s3.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Store

CONNECT_TIMEOUT = timedelta(seconds=10)
TIMEOUT_S = 60.0  # of one request, with its body
RETRIES = {"max_retries": 5, "retry_timeout": timedelta(seconds=90)}


def open_bucket(bucket: str, settings: Settings, *, timeout_s: float = TIMEOUT_S) -> "S3Store":
    from obstore.store import S3Store

    options: ClientConfig = {
        "connect_timeout": CONNECT_TIMEOUT,
        "timeout": timedelta(seconds=timeout_s),
        "allow_http": settings.endpoint.startswith("http://"),
    }
    if settings.ca_bundle:
        options["root_certificate"] = _certificates(settings.ca_bundle)
    return S3Store(bucket, config=settings.config(bucket), client_options=options, retry_config=RETRIES)


def is_path(prefix: str) -> bool:
    """Whether objects below it can be files in folders: no part of it is empty or made of dots."""
    return not {"", ".", ".."} & {*prefix.split("/")}


def _certificates(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SourceError(
            f"AWS_CA_BUNDLE names {path}, which cannot be read: {error.strerror}", remedy="name a file of certificates"
        ) from error


@contextmanager
def s3_boundary(uri: str, settings: Settings, *, named_by: str) -> Iterator[None]:
    """Turn obstore's errors into ours. `named_by`: the parameter or option that gave the URI."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError) as error:  # obstore's NotFoundError is Python's
        failure = Failure.read(str(error), kind=type(error).__name__)
        raise explained(failure, uri=uri, settings=settings, named_by=named_by) from error
