"""Where S3 is and what opens it, from the usual variables of the environment and the files of the AWS tools."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.s3.profile import KEYS, Profile

ENDPOINTS = ("AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # the first that is set counts
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
DEFAULT_REGION = "us-east-1"  # also what servers other than AWS expect where none is set
GLOBAL_ENDPOINT = "s3.amazonaws.com"  # knows the buckets of one region only; each region has its own
STYLE = "AWS_S3_ADDRESSING_STYLE"
AUTO, VIRTUAL, PATH = "auto", "virtual", "path"  # of `addressing_style` in the AWS tools' files
SERVER = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?(/[\w./~%-]*)?")
ADDRESS = re.compile(r"[\d.]+|.*:.*")  # a host by number, IPv4 or IPv6
# Keys can also come from the platform, in ways that obstore knows.
PLATFORM_CREDENTIALS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
# Where a machine tells what keys its role has; it says so itself if it is one of Amazon's.
METADATA, NO_METADATA = "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_DISABLED"
MACHINE, AMAZON = Path("/sys/class/dmi/id/sys_vendor"), "Amazon EC2"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`endpoint` is empty for AWS itself, and `metadata` for the machine's own service; `ca_bundle` is the path of the
    certificates to trust beside the system's.
    """

    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    region: str = DEFAULT_REGION
    endpoint: str = ""
    addressing_style: str = AUTO
    platform_credentials: bool = False
    metadata: str = ""
    ca_bundle: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """People paste values with newlines, so each is stripped; an empty one counts as not set.

        Raises:
            UsageError: a value, or the AWS tools' profile, says nothing that can be used.
        """
        given = {name: stripped for name, value in environment.items() if (stripped := value.strip())}
        profile = Profile.of(given)
        values = profile.options | given
        platform_credentials = any(name in given for name in PLATFORM_CREDENTIALS)
        if KEYS[0] not in given and not platform_credentials:
            values |= dict.fromkeys(KEYS, "") | profile.keys()  # never half of each
        access_key, secret_key, session_token = (values.get(name, "") for name in KEYS)
        if access_key and not secret_key:
            raise UsageError(f"there is a key in {KEYS[0]}, and none in {KEYS[1]}", remedy=f"set {KEYS[1]}, too")
        endpoint = next((_endpoint(name, values[name]) for name in ENDPOINTS if name in values), "")
        return cls(
            access_key=access_key,
            secret_key=secret_key,
            session_token=session_token,
            region=next((values[name] for name in REGIONS if name in values), DEFAULT_REGION),
            endpoint=endpoint,
            addressing_style=_addressing_style(values.get(STYLE, AUTO), endpoint),
            platform_credentials=platform_credentials or (not access_key and _may_have_role(given, endpoint)),
            metadata=given.get(METADATA, ""),
            ca_bundle=values.get("AWS_CA_BUNDLE", ""),
        )

    @property
    def anonymous(self) -> bool:
        return not self.access_key and not self.platform_credentials

    @property
    def where(self) -> str:
        """For a person."""
        return self.endpoint or f"AWS in {self.region}"

    def config(self, bucket: str) -> dict[str, Any]:
        """For obstore's S3Store."""
        virtual = self._is_in_host(bucket)
        endpoint = self.endpoint
        if endpoint and virtual:  # obstore does so for AWS alone
            endpoint = endpoint.replace("://", f"://{bucket}.", 1)
        optional = {
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
            "session_token": self.session_token,
            "endpoint": endpoint,
            "metadata_endpoint": self.metadata,
        }
        return {
            "region": self.region,
            "skip_signature": self.anonymous,
            "virtual_hosted_style_request": virtual,
            **{name: value for name, value in optional.items() if value},
        }

    def _is_in_host(self, bucket: str) -> bool:
        """Whether the host's name begins with the bucket's: as AWS's tools do, at AWS, and elsewhere on demand. AWS's
        certificate covers no bucket with a dot in its name.
        """
        if self.endpoint:
            return self.addressing_style == VIRTUAL
        return self.addressing_style != PATH and "." not in bucket


def _may_have_role(given: Mapping[str, str], endpoint: str) -> bool:
    """Whether this machine can be asked for keys. At an endpoint of one's own they would be of no use."""
    if given.get(NO_METADATA, "").lower() == "true":
        return False
    if METADATA in given:
        return True
    try:
        return not endpoint and MACHINE.read_text().startswith(AMAZON)
    except OSError:
        return False


def _endpoint(name: str, value: str) -> str:
    """A URL without a slash at its end; https where no scheme is given.

    Raises:
        UsageError: it is none of a server. The value is not repeated: people write keys into it.
    """
    url = value.rstrip("/")
    if "://" not in url:
        url = f"https://{url}"
    if not SERVER.fullmatch(url):
        raise UsageError(
            f"{name} is no URL of a server", remedy="write https://HOST or https://HOST:PORT, without keys"
        )
    return "" if url.endswith(f"://{GLOBAL_ENDPOINT}") else url


def _addressing_style(value: str, endpoint: str) -> str:
    """Raises UsageError when it is none, or cannot be had at this endpoint."""
    style = value.lower()
    if style not in {AUTO, VIRTUAL, PATH}:
        raise UsageError(f"{STYLE} is {value!r}", remedy=f"write {VIRTUAL}, {PATH} or {AUTO}")
    if style == VIRTUAL and ADDRESS.fullmatch(urlsplit(endpoint).hostname or "name"):
        raise UsageError(
            f"{STYLE} is {VIRTUAL}, but the endpoint {endpoint} is a number, before which no bucket can stand",
            remedy=f"give the endpoint by its name, or set {STYLE} to {PATH}",
        )
    return style
