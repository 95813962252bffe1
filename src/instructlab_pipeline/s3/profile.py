"""What the files of the AWS tools say, in the names of the environment's variables, which count before them.

    ~/.aws/config                         ~/.aws/credentials
    [profile lab]                         [lab]
    region = eu-north-1                   aws_access_key_id = ...
    endpoint_url = https://s3.lab         aws_secret_access_key = ...
    s3 =
        addressing_style = virtual

https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html
"""

import configparser
import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from instructlab_pipeline.errors import SourceError, UsageError

DEFAULT = "default"
CONFIG, CREDENTIALS = "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"
PLACES = {CONFIG: ".aws/config", CREDENTIALS: ".aws/credentials"}  # in the home folder, unless the variable is set
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
OPTIONS = {
    "region": "AWS_DEFAULT_REGION",
    "ca_bundle": "AWS_CA_BUNDLE",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "s3.endpoint_url": "AWS_ENDPOINT_URL_S3",
    "s3.addressing_style": "AWS_S3_ADDRESSING_STYLE",
}
PROCESS, PROCESS_TIMEOUT_S = "credential_process", 60
ELSEWHERE = ("role_arn", "sso_session", "sso_start_url", "login_session")  # keys that only the AWS tools can get

Sections = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """`said`: its lines in both files, where those of the credentials file count; what is nested is `s3.NAME`."""

    name: str
    said: Mapping[str, str]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Profile":
        """The one that AWS_PROFILE names, else the default, which need not be there.

        Raises:
            UsageError: it is not there, or a file cannot be read.
        """
        name = environment.get("AWS_PROFILE", DEFAULT)
        config, credentials = (_sections(environment, variable) for variable in (CONFIG, CREDENTIALS))
        found = [config.get(f"profile {name}"), config.get(name) if name == DEFAULT else None, credentials.get(name)]
        if name != DEFAULT and not any(section is not None for section in found):
            raise UsageError(
                f"AWS_PROFILE is {name}, which neither the AWS tools' config file nor their credentials file has",
                remedy="`aws configure list-profiles` shows what they have",
            )
        said = {key: value for section in found if section for key, value in section.items()}
        services = config.get(f"services {said.get('services')}", {})
        return cls(name=name, said={**said, **services})

    @property
    def options(self) -> dict[str, str]:
        """All but keys."""
        return {variable: self.said[name] for name, variable in OPTIONS.items() if self.said.get(name)}

    def keys(self) -> dict[str, str]:
        """None for a profile that says nothing of keys.

        Raises:
            UsageError: they are to be had in a way that only the AWS tools know.
            SourceError: the program that gives them out failed.
        """
        elsewhere = [name for name in ELSEWHERE if name in self.said]
        if elsewhere:
            raise UsageError(
                f"the AWS profile {self.name} gets its keys by {elsewhere[0]}, which only the AWS tools know",
                remedy=f'eval "$(aws configure export-credentials --profile {self.name} --format env)"',
            )
        if PROCESS in self.said and KEYS[0].lower() not in self.said:
            return self._keys_of_process()
        return {name: value for name in KEYS if (value := self.said.get(name.lower()))}

    def _keys_of_process(self) -> dict[str, str]:
        try:
            made = subprocess.run(  # the user's own program, as the AWS tools call it
                shlex.split(self.said[PROCESS]), capture_output=True, check=True, timeout=PROCESS_TIMEOUT_S
            )
            told: dict[str, str] = json.loads(made.stdout)
            found = told["AccessKeyId"], told["SecretAccessKey"], told.get("SessionToken") or ""
        except (OSError, ValueError, TypeError, LookupError, subprocess.SubprocessError) as error:
            raise SourceError(
                f"the {PROCESS} of the AWS profile {self.name} gave no keys ({type(error).__name__})",
                remedy="run it by hand: it has to print JSON with AccessKeyId and SecretAccessKey",
            ) from error
        return dict(zip(KEYS, found, strict=True))


def _sections(environment: Mapping[str, str], variable: str) -> Sections:
    """By header. A file that is not there says nothing."""
    home = environment.get("HOME")
    path = environment.get(variable) or (f"{home}/{PLACES[variable]}" if home else "")
    parser = configparser.RawConfigParser(strict=False, default_section="")
    try:
        parser.read_string(Path(path).expanduser().read_text())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise UsageError(
            f"{path} cannot be read: {type(error).__name__}", remedy=f"mend it, or name another in {variable}"
        ) from error
    return {" ".join(name.replace('"', " ").split()): _flat(parser[name]) for name in parser.sections()}


def _flat(section: Mapping[str, str]) -> dict[str, str]:
    """What is nested below a name comes as one value of several lines."""
    said: dict[str, str] = {}
    for name, value in section.items():
        nested = value.splitlines()[1:] if value.startswith("\n") else []
        said[name] = "" if nested else value
        for line in nested:
            inner, _, content = line.partition("=")
            said[f"{name}.{inner.strip()}"] = content.strip()
    return said
