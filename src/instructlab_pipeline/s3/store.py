"""A bucket through obstore, whose errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from instructlab_pipeline.s3.errors import Failure, explained
from instructlab_pipeline.s3.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Store

CLIENT = {"connect_timeout": timedelta(seconds=10), "timeout": timedelta(seconds=60)}  # of one request: one piece
RETRIES = {"max_retries": 5, "retry_timeout": timedelta(seconds=90)}


def open_bucket(bucket: str, settings: Settings) -> "S3Store":
    from obstore.store import S3Store

    options = CLIENT | {"allow_http": settings.endpoint.startswith("http://")}
    return S3Store(bucket, config=settings.config(), client_options=options, retry_config=RETRIES)


@contextmanager
def s3_boundary(uri: str, settings: Settings, *, named_by: str) -> Iterator[None]:
    """Turn obstore's errors into ours. `named_by`: the parameter or option that gave the URI."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError) as error:  # obstore's NotFoundError is Python's
        failure = Failure.read(str(error), kind=type(error).__name__)
        raise explained(failure, uri=uri, settings=settings, named_by=named_by) from error
