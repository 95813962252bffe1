import sys

import pytest

from instructlab_pipeline.errors import SourceError, UsageError
from instructlab_pipeline.s3.settings import Settings

CONFIG = f"""\
[default]
region = eu-north-1

[profile "lab"]
endpoint_url = https://s3.lab
ca_bundle = /etc/lab.pem
s3 =
    max_concurrent_requests = 20
    addressing_style = virtual

[profile served]
services = here
[services here]
s3 =
  endpoint_url = https://served.lab

[profile role]
role_arn = arn:aws:iam::1:role/reader
source_profile = default

[profile printed]
credential_process = {sys.executable} -c "print('{{\\"AccessKeyId\\": \\"a%\\", \\"SecretAccessKey\\": \\"b\\"}}')"

[profile empty]
credential_process = {sys.executable} -c "print('{{}}')"

[profile broken]
credential_process = {sys.executable} -c "print('secret')"
"""
CREDENTIALS = """\
[default]
aws_access_key_id = mine
aws_secret_access_key = s%cret
aws_session_token = token
[bare]
aws_access_key_id = bare
aws_secret_access_key = bare
"""


@pytest.fixture
def settings(tmp_path):
    """What is made of the user's two files and these variables."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(CONFIG)
    (tmp_path / ".aws/credentials").write_text(CREDENTIALS)
    return lambda **variables: Settings.from_environment({"HOME": str(tmp_path), **variables})


def test_the_default_profile_counts_where_the_environment_says_nothing(settings):
    found = settings()
    assert (found.access_key, found.secret_key, found.session_token) == ("mine", "s%cret", "token")
    assert found.region == "eu-north-1"


def test_keys_of_the_environment_and_of_a_profile_are_never_mixed(settings):
    assert settings(AWS_ACCESS_KEY_ID="other", AWS_SECRET_ACCESS_KEY="s").session_token == ""
    assert settings(AWS_PROFILE="bare", AWS_SESSION_TOKEN="old").session_token == ""


def test_the_platform_s_keys_come_before_the_default_profile_s(settings):
    found = settings(AWS_WEB_IDENTITY_TOKEN_FILE="/var/run/token")
    assert (found.access_key, found.anonymous) == ("", False)


def test_a_profile_says_where_s3_is_and_how_buckets_are_addressed(settings):
    found = settings(AWS_PROFILE="lab")
    assert (found.endpoint, found.addressing_style, found.ca_bundle) == ("https://s3.lab", "virtual", "/etc/lab.pem")
    assert found.config("models")["endpoint"] == "https://models.s3.lab"
    assert settings(AWS_PROFILE="served").endpoint == "https://served.lab"


def test_the_environment_counts_before_the_profile(settings):
    found = settings(AWS_PROFILE="lab", AWS_ENDPOINT_URL="https://here", AWS_S3_ADDRESSING_STYLE="path")
    assert (found.endpoint, found.addressing_style) == ("https://here", "path")


def test_a_profile_s_program_is_asked_for_keys(settings):
    found = settings(AWS_PROFILE="printed")
    assert (found.access_key, found.secret_key) == ("a%", "b")


def test_a_program_that_gives_no_keys_is_told_without_what_it_printed(settings):
    for name in ("broken", "empty"):
        with pytest.raises(SourceError, match=f"the credential_process of the AWS profile {name} gave no keys") as told:
            settings(AWS_PROFILE=name)
        assert "secret" not in told.value.message


def test_keys_that_only_the_aws_tools_can_get_are_told_with_the_command_that_gets_them(settings):
    with pytest.raises(UsageError, match="the AWS profile role gets its keys by role_arn") as refusal:
        settings(AWS_PROFILE="role")
    assert "export-credentials --profile role" in refusal.value.remedy
    exported = {"AWS_ACCESS_KEY_ID": "exported", "AWS_SECRET_ACCESS_KEY": "s"}
    assert settings(AWS_PROFILE="role", **exported).access_key == "exported"


def test_a_profile_that_is_nowhere_is_told(settings):
    with pytest.raises(UsageError, match="AWS_PROFILE is labb, which neither"):
        settings(AWS_PROFILE="labb")


def test_a_file_that_is_none_of_the_aws_tools_is_told(settings, tmp_path):
    (tmp_path / "notes").write_text("access_key = 1")
    with pytest.raises(UsageError, match="notes cannot be read: MissingSectionHeaderError") as refusal:
        settings(AWS_CONFIG_FILE=str(tmp_path / "notes"))
    assert "AWS_CONFIG_FILE" in refusal.value.remedy


def test_an_addressing_style_that_is_none_is_told():
    with pytest.raises(UsageError, match="AWS_S3_ADDRESSING_STYLE is 'host'"):
        Settings.from_environment({"AWS_S3_ADDRESSING_STYLE": "host"})
