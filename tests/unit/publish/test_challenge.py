import pytest

from instructlab_pipeline.publish.challenge import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        (['Basic realm="tests"'], Challenge(scheme="basic", realm="tests")),
        (
            ['Bearer realm="https://quay.io/v2/auth",service="quay.io"'],
            Challenge(scheme="bearer", realm="https://quay.io/v2/auth", service="quay.io"),
        ),
        (
            ['bearer service=here , realm="https://a/t?x=1,2", scope="repository:a/b:pull"'],
            Challenge(scheme="bearer", realm="https://a/t?x=1,2", service="here"),
        ),
        (
            ['Basic realm="a", Bearer realm="https://b/token"'],
            Challenge(scheme="bearer", realm="https://b/token"),
        ),
        (['Basic realm="a"', 'Bearer realm="https://b"'], Challenge(scheme="bearer", realm="https://b")),
        (["Basic"], Challenge(scheme="basic")),
        (['Negotiate, Digest realm="x"'], None),
        ([""], None),
        ([], None),
    ],
)
def test_the_first_challenge_that_we_can_meet_is_taken(headers, challenge):
    assert parse_challenges(headers) == challenge


def test_a_token_is_asked_for_with_service_and_scope():
    challenge = Challenge(scheme="bearer", realm="https://auth.example/token", service="registry.example")
    url = challenge.token_url(["repository:org/name:pull,push"])
    expected = "?service=registry.example&scope=repository%3Aorg%2Fname%3Apull%2Cpush"
    assert url == f"https://auth.example/token{expected}"


def test_a_realm_may_carry_a_query_of_its_own():
    assert Challenge(scheme="bearer", realm="https://a/t?x=1").token_url(["s"]) == "https://a/t?x=1&scope=s"
