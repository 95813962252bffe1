"""Where S3 is and what opens it, from the usual variables of the environment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from instructlab_pipeline.errors import UsageError

ENDPOINTS = ("AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # the first that is set counts
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
DEFAULT_REGION = "us-east-1"  # also what servers other than AWS expect where none is set
GLOBAL_ENDPOINT = "s3.amazonaws.com"  # knows the buckets of one region only; each region has its own
SERVER = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?(/[\w./~%-]*)?")
# Keys can also come from the platform, in ways that obstore knows.
PLATFORM_CREDENTIALS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`endpoint` is empty for AWS itself; `ca_bundle` is the path of the certificates to trust beside the system's."""

    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    region: str = DEFAULT_REGION
    endpoint: str = ""
    platform_credentials: bool = False
    ca_bundle: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """People paste values with newlines, so each is stripped; an empty one counts as not set."""
        values = {name: stripped for name, value in environment.items() if (stripped := value.strip())}
        return cls(
            access_key=values.get("AWS_ACCESS_KEY_ID", ""),
            secret_key=values.get("AWS_SECRET_ACCESS_KEY", ""),
            session_token=values.get("AWS_SESSION_TOKEN", ""),
            region=next((values[name] for name in REGIONS if name in values), DEFAULT_REGION),
            endpoint=next((_endpoint(name, values[name]) for name in ENDPOINTS if name in values), ""),
            platform_credentials=any(name in values for name in PLATFORM_CREDENTIALS),
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
        """For obstore's S3Store: path style where the endpoint is the user's own, or a dot in the bucket's name would
        make a host's name that AWS's certificate does not cover.
        """
        optional = {
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
            "session_token": self.session_token,
            "endpoint": self.endpoint,
        }
        return {
            "region": self.region,
            "skip_signature": self.anonymous,
            "virtual_hosted_style_request": not self.endpoint and "." not in bucket,
            **{name: value for name, value in optional.items() if value},
        }


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
