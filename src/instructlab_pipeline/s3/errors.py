"""What an S3 server's refusal means to the person who has to act on it.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from instructlab_pipeline.errors import PipelineError, ServiceError, SourceError
from instructlab_pipeline.s3.settings import NO_METADATA, PLATFORM_CREDENTIALS, STYLE, VIRTUAL, Settings

KEYS = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary keys, AWS_SESSION_TOKEN"
REGION_CODES = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidRegion",
}
EXPIRED_CODES = {"ExpiredToken", "InvalidToken", "RequestTimeTooSkewed", "TokenRefreshRequired"}
BUCKET_CODES = {"NoSuchBucket", "InvalidBucketName"}
UNFIT = re.compile(r'invalid path: .*?Path "?([^"\n|]+)')  # what obstore says of keys with .. or // in them
NO_LOCATION = "redirect without LOCATION"  # what obstore says of a bucket in another region
PLAIN_HTTP = re.compile(r"HTTP request .{0,20}HTTPS (server|port)")  # what Go's servers and nginx say to it
NO_TLS, UNTRUSTED = "InvalidContentType", "InvalidCertificate"  # what obstore says of an unfit answer to TLS
HIDDEN = "REDACTED"  # by obstore, where a URL holds a token
ASKED = re.compile(r"Error performing [A-Z]+ ([^\s?]+)|Failed to read token file")
REFUSED = {400, 401, 403, 412}  # what servers answer to bad keys or to none
BUSY = {429, 503}


class ChangedError(ServiceError):
    """What was listed is there no more: the same question will get the same answer."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A reply: its HTTP status (0 without one), S3's code, and what else of it is without secrets.

    `kind` is the name of obstore's exception; `region` the bucket's, `moved_to` another server's URL, `scheme` the
    one that the server speaks and was not spoken to in, if told; `untrusted` says so of its certificate. `asked` is the
    URL, if obstore told it: the one that gives out credentials fails, too.
    """

    kind: str = ""
    status: int = 0
    code: str = ""
    reason: str = ""
    region: str = ""
    message: str = ""
    moved_to: str = ""
    scheme: str = ""
    asked: str = ""
    untrusted: bool = False

    @classmethod
    def read(cls, text: str, *, kind: str) -> "Failure":
        """Out of obstore's error."""
        status = re.search(r"status code: (\d{3})", text)
        cause = re.search(r'(?:message|error): "([^"]+)"', text)
        first = text.splitlines()[0].partition(" - ")[2] or text.splitlines()[0]
        if NO_LOCATION in text:
            return cls(kind=kind, status=301, code="PermanentRedirect")
        reason = cause[1] if cause and not status else first.partition(": <")[0]
        asked = ASKED.search(text)
        told = cls.told(int(status[1]) if status else 0, text)
        return replace(told, kind=kind, reason=reason, asked=(asked[1] or HIDDEN) if asked else "")

    @classmethod
    def told(cls, status: int, page: str, *, moved_to: str = "") -> "Failure":
        """Out of a reply. Of its page only some elements are taken: a signature error's repeats keys."""
        return cls(
            status=status,
            code=_element("Code", r"[\w.]+", page),
            region=_element("Region", r"[\w-]+", page),
            message=_element("Message", r"[^<]{1,300}", page),
            moved_to=moved_to,
            scheme="https" if PLAIN_HTTP.search(page) else "http" if NO_TLS in page else "",
            untrusted=UNTRUSTED in page,
        )


def _element(name: str, content: str, page: str) -> str:
    found = re.search(f"<{name}>({content})</{name}>", page)
    return found[1] if found else ""


def explained(failure: Failure, *, uri: str, settings: Settings, named_by: str) -> PipelineError:
    """The error to raise. Only what a later attempt can mend is a ServiceError. `named_by`: what gave the URI."""
    if failure.kind == "PreconditionError" or failure.status == 416:
        return ChangedError(f"{uri} changed while it was being read", remedy="run the same command again")
    if unfit := UNFIT.search(failure.reason):
        return SourceError(
            f"{uri}: the bucket holds an object named {unfit[1]!r}, which cannot be a file",
            remedy="rename the object, or remove it",
        )
    if settings.platform_credentials and _is_about_credentials(failure, settings):
        return ServiceError(
            f"{uri}: the platform gives out no credentials: {failure.reason}",
            remedy=f"check the role and the variables that name it ({', '.join(PLATFORM_CREDENTIALS)}), or set {KEYS}; "
            f"for a public bucket, set {NO_METADATA}=true",
        )
    refusal = _misled(failure, settings) or _lost(failure, settings, named_by) or _locked(failure, settings, named_by)
    if refusal:
        return SourceError(f"{uri}{refusal[0]}", remedy=refusal[1])
    remedy = "check that AWS_S3_ENDPOINT is right and reachable"
    if failure.status in BUSY:
        remedy = "wait until the server is less busy"
    elif settings.addressing_style == VIRTUAL:
        remedy += f", and that it takes the bucket in the host's name, as {STYLE} wants it"
    return ServiceError(
        f"{uri}: {settings.where} failed after retries: {failure.reason}",
        remedy=f"{remedy}, then run the same command again",
    )


def _is_about_credentials(failure: Failure, settings: Settings) -> bool:
    server = urlsplit(settings.endpoint).netloc or "amazonaws.com"
    return failure.asked == HIDDEN or bool(failure.asked and server not in failure.asked)


Refusal = tuple[str, str]  # what is said of the URI, and the remedy


def _misled(failure: Failure, settings: Settings) -> Refusal | None:
    """The server is another one than it should be, or spoken to in another way."""
    if failure.untrusted:
        said = f": the certificate of {settings.where} is not trusted"
        return said, "name the file of its authority's certificate in AWS_CA_BUNDLE"
    if failure.scheme:
        return f": {settings.where} speaks {failure.scheme}", f"write {failure.scheme}:// in AWS_S3_ENDPOINT"
    if failure.code in REGION_CODES:
        region = failure.region or "the bucket's region"
        remedy = f"set AWS_DEFAULT_REGION (or AWS_REGION, which counts before it) to {region}, not {settings.region}"
        return f": {_answer(failure, settings)}", remedy
    if failure.moved_to:
        said = f": {settings.where} sends its visitors on to {failure.moved_to}"
        return said, "set AWS_S3_ENDPOINT to the server that keeps the bucket"
    return None


def _lost(failure: Failure, settings: Settings, named_by: str) -> Refusal | None:
    """What was asked for is not there."""
    answer = _answer(failure, settings)
    if failure.code in BUCKET_CODES:
        return f": there is no such bucket ({answer})", f"check {named_by} and AWS_S3_ENDPOINT"
    if failure.status == 404 and failure.code:
        return f": an object went away ({answer})", f"check {named_by}, then run again"
    if failure.status == 404:
        return f": there is no S3 here ({answer})", f"check AWS_S3_ENDPOINT and {named_by}"
    return None


def _locked(failure: Failure, settings: Settings, named_by: str) -> Refusal | None:
    """It is there, and not to be had."""
    answer = _answer(failure, settings)
    if failure.code in EXPIRED_CODES:
        return f": {answer}", f"get fresh keys ({KEYS}) and check this machine's clock"
    if failure.code == "InvalidObjectState":
        return f" is archived ({answer})", "restore it in the bucket, or copy it to a storage class that can be read"
    if failure.code.startswith("KMS."):
        return f" cannot be decrypted ({answer})", "check that the key it is encrypted with is there, and may be used"
    if failure.status == 400 and failure.message:
        return f": {answer}: {failure.message}", f"check {named_by}, AWS_S3_ENDPOINT, AWS_DEFAULT_REGION and the keys"
    if failure.status not in REFUSED:
        return None
    keys, remedy = "with these keys", f"check {KEYS}, and that they may list and read the bucket"
    if settings.platform_credentials:
        keys, remedy = "with the platform's credentials", "check that their role may list and read the bucket"
    elif settings.anonymous:
        keys, remedy = "without keys", f"set {KEYS}, or name a profile in AWS_PROFILE"
    return f" cannot be read {keys} ({answer})", remedy


def _answer(failure: Failure, settings: Settings) -> str:
    return f"{settings.where} answered {failure.status} {failure.code}".rstrip()
