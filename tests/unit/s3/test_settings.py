import pytest

from instructlab_pipeline.errors import ServiceError, SourceError, UsageError
from instructlab_pipeline.s3.errors import ChangedError, Failure, explained
from instructlab_pipeline.s3.settings import Settings


def test_values_are_stripped_of_what_people_paste_with_them():
    keys = {"AWS_ACCESS_KEY_ID": " key\n", "AWS_SECRET_ACCESS_KEY": "\tsecret\n"}
    settings = Settings.from_environment({**keys, "AWS_S3_ENDPOINT": "http://here:9000/\n"})
    assert (settings.access_key, settings.secret_key) == ("key", "secret")
    assert settings.endpoint == "http://here:9000"


def test_an_empty_endpoint_does_not_hide_the_next():
    environment = {"AWS_S3_ENDPOINT": " ", "AWS_ENDPOINT_URL": "minio.storage.svc:9000"}
    assert Settings.from_environment(environment).endpoint == "https://minio.storage.svc:9000"


def test_the_global_endpoint_means_the_region_s_own():
    environment = {"AWS_S3_ENDPOINT": "https://s3.amazonaws.com", "AWS_DEFAULT_REGION": "eu-central-1"}
    config = Settings.from_environment(environment).config("models")
    assert config == {"region": "eu-central-1", "skip_signature": True, "virtual_hosted_style_request": True}


def test_a_custom_endpoint_is_addressed_path_style():
    environment = {"AWS_ENDPOINT_URL_S3": "http://here", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    config = Settings.from_environment(environment).config("models")
    assert not config["virtual_hosted_style_request"]
    assert not config["skip_signature"]


def test_a_bucket_with_a_dot_in_its_name_is_addressed_path_style():
    assert Settings().config("models")["virtual_hosted_style_request"]
    assert not Settings().config("our.models")["virtual_hosted_style_request"]


def test_keys_from_the_platform_are_not_anonymous():
    assert not Settings.from_environment({"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}).anonymous


def test_a_machine_s_role_is_asked_only_where_nothing_else_names_keys_and_it_may_be():
    machine = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://169.254.169.254"}
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    assert not Settings.from_environment(machine).anonymous
    assert not Settings.from_environment(machine | keys).platform_credentials
    assert Settings.from_environment({**machine, "AWS_EC2_METADATA_DISABLED": "true"}).anonymous


def test_half_a_pair_of_keys_is_told():
    with pytest.raises(UsageError, match="none in AWS_SECRET_ACCESS_KEY"):
        Settings.from_environment({"AWS_ACCESS_KEY_ID": "key"})


@pytest.mark.parametrize(
    ("status", "code", "kind", "remedy"),
    [
        (403, "SignatureDoesNotMatch", SourceError, "AWS_SECRET_ACCESS_KEY"),
        (404, "NoSuchBucket", SourceError, "sdg_base_model"),
        (301, "PermanentRedirect", SourceError, "AWS_DEFAULT_REGION"),
        (400, "ExpiredToken", SourceError, "fresh keys"),
        (400, "InvalidToken", SourceError, "AWS_SESSION_TOKEN"),
        (404, "", SourceError, "AWS_S3_ENDPOINT"),
        (403, "InvalidObjectState", SourceError, "restore it"),
        (400, "KMS.DisabledException", SourceError, "the key it is encrypted with"),
        (503, "SlowDown", ServiceError, "less busy"),
        (416, "InvalidRange", ChangedError, "run the same command again"),
        (0, "", ServiceError, "AWS_S3_ENDPOINT"),
    ],
)
def test_a_refusal_says_what_to_do(status, code, kind, remedy):
    failure = Failure(kind="GenericError", status=status, code=code, reason="")
    error = explained(failure, uri="s3://b/p", settings=Settings(access_key="k"), named_by="sdg_base_model")
    assert type(error) is kind
    assert remedy in error.remedy
    assert "s3://b/p" in error.message


def test_a_body_that_repeats_keys_stays_out_of_the_reason():
    text = (
        "Generic S3 error: Error performing GET http://h/b - Server returned non-2xx status code: 403 Forbidden: "
        "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>mine</AWSAccessKeyId></Error>"
    )
    failure = Failure.read(text, kind="GenericError")
    assert (failure.status, failure.code) == (403, "SignatureDoesNotMatch")
    assert "mine" not in failure.reason


def test_the_bucket_s_region_is_taken_from_the_reply():
    page = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>"
    error = explained(Failure.told(400, page), uri="s3://b/p", settings=Settings(), named_by="sdg_base_model")
    assert "to eu-north-1, not us-east-1" in error.remedy


def test_a_redirect_without_an_address_means_another_region():
    text = "Generic S3 error: Error performing GET http://h/b - Received redirect without LOCATION, this normally ..."
    assert Failure.read(text, kind="GenericError").code == "PermanentRedirect"


@pytest.mark.parametrize(
    "page", ["Client sent an HTTP request to an HTTPS server.", "The plain HTTP request was sent to HTTPS port"]
)
def test_a_server_that_speaks_tls_is_told_from_its_words(page):
    settings = Settings(access_key="k", endpoint="http://here:9000")
    error = explained(Failure.told(400, page), uri="s3://b/p", settings=settings, named_by="sdg_base_model")
    assert error.message == "s3://b/p: http://here:9000 speaks https"


def test_what_the_server_says_of_a_request_is_passed_on():
    page = "<Error><Code>InvalidRequest</Code><Message>The object was stored with a key of its own.</Message></Error>"
    error = explained(Failure.told(400, page), uri="s3://b/p", settings=Settings(), named_by="sdg_base_model")
    assert "The object was stored with a key of its own." in error.message


@pytest.mark.parametrize(
    "text",
    [
        "Error performing PUT http://169.254.169.254/latest/api in 1ms - Server returned non-2xx status code: 403",
        "Error performing POST REDACTED in 0.8s, after 5 retries - HTTP error: error sending request",
        "Generic S3 error: Failed to read token file '/nope': No such file or directory (os error 2)",
    ],
)
def test_a_platform_without_credentials_is_told_from_a_server_that_refuses(text):
    settings = Settings(platform_credentials=True, endpoint="http://here:9000")
    error = explained(Failure.read(text, kind="GenericError"), uri="s3://b/p", settings=settings, named_by="--run-dir")
    assert error.message.startswith("s3://b/p: the platform gives out no credentials: ")
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in error.remedy


def test_a_role_that_may_not_read_is_told_from_keys():
    text = "Error performing GET http://b.here:9000/x?list-type=2 in 1ms - Server returned non-2xx status code: 403 No"
    settings = Settings(platform_credentials=True, endpoint="http://here:9000")
    error = explained(Failure.read(text, kind="GenericError"), uri="s3://b/p", settings=settings, named_by="--run-dir")
    assert "cannot be read with the platform's credentials" in error.message
