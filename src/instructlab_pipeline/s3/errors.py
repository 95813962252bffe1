"""What an S3 server's refusal means to the person who has to act on it."""

import re
from dataclasses import dataclass

from instructlab_pipeline.errors import PipelineError, ServiceError, SourceError
from instructlab_pipeline.s3.settings import Settings

KEYS = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary keys, AWS_SESSION_TOKEN"
REGION_CODES = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
EXPIRED_CODES = {"ExpiredToken", "InvalidToken", "RequestTimeTooSkewed", "TokenRefreshRequired"}
UNFIT = re.compile(r'invalid path: .*?Path "?([^"\n|]+)')  # what obstore says of keys with .. or // in them
REFUSED = {400, 401, 403, 412}  # what servers answer to bad keys or to none


class ChangedError(ServiceError):
    """What was listed is there no more: the same question will get the same answer."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What obstore's error text holds: an HTTP status (0 without a reply), S3's code, a sentence without secrets."""

    kind: str
    status: int
    code: str
    reason: str
    untrusted: bool = False  # the server's certificate

    @classmethod
    def read(cls, text: str, *, kind: str) -> "Failure":
        """`kind` is the name of obstore's exception. A signature error's body repeats keys, so bodies are left out."""
        status = re.search(r"status code: (\d{3})", text)
        code = re.search(r"<Code>(\w+)</Code>", text)
        cause = re.search(r'(?:message|error): "([^"]+)"', text)
        first = text.splitlines()[0].partition(" - ")[2] or text.splitlines()[0]
        return cls(
            kind=kind,
            status=int(status[1]) if status else 0,
            code=code[1] if code else "",
            reason=cause[1] if cause and not status else first.partition(": <")[0],
            untrusted="InvalidCertificate" in text,
        )


def explained(failure: Failure, *, uri: str, settings: Settings, named_by: str) -> PipelineError:
    """The error to raise. Only what a later attempt can mend is a ServiceError. `named_by`: what gave the URI."""
    answer = f"{settings.where} answered {failure.status} {failure.code}".rstrip()
    if failure.untrusted:
        return SourceError(
            f"{uri}: the certificate of {settings.where} is not trusted",
            remedy="name the file of its authority's certificate in AWS_CA_BUNDLE",
        )
    if unfit := UNFIT.search(failure.reason):
        return SourceError(
            f"{uri}: the bucket holds an object named {unfit[1]!r}, which cannot be a file",
            remedy="rename the object, or remove it",
        )
    if failure.kind == "PreconditionError":
        return ChangedError(f"{uri} changed while it was being read", remedy="run the same command again")
    if failure.code in REGION_CODES | EXPIRED_CODES:
        return _out_of_place(failure, uri, answer, settings)
    if failure.status == 404 or failure.status in REFUSED:
        missing = failure.status == 404
        return _missing(failure, uri, answer, named_by) if missing else _refused(uri, answer, settings)
    return ServiceError(
        f"{uri}: {settings.where} failed after retries: {failure.reason}",
        remedy="check that AWS_S3_ENDPOINT is right and reachable, then run the same command again",
    )


def _out_of_place(failure: Failure, uri: str, answer: str, settings: Settings) -> SourceError:
    """Or out of time."""
    if failure.code in REGION_CODES:
        return SourceError(
            f"{uri}: {answer}", remedy=f"set AWS_DEFAULT_REGION to the bucket's region, not {settings.region}"
        )
    return SourceError(f"{uri}: {answer}", remedy=f"get fresh keys ({KEYS}) and check this machine's clock")


def _missing(failure: Failure, uri: str, answer: str, named_by: str) -> SourceError:
    if failure.code == "NoSuchBucket":
        return SourceError(f"{uri}: there is no such bucket ({answer})", remedy=f"check {named_by} and AWS_S3_ENDPOINT")
    return SourceError(f"{uri}: an object went away ({answer})", remedy=f"check {named_by}, then run again")


def _refused(uri: str, answer: str, settings: Settings) -> SourceError:
    if settings.anonymous:
        return SourceError(f"{uri} cannot be read without keys ({answer})", remedy=f"set {KEYS}")
    return SourceError(
        f"{uri} cannot be read with these keys ({answer})",
        remedy=f"check {KEYS}, and that they may list and read the bucket",
    )
