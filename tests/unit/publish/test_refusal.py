"""What registries say when they refuse, in the user's words."""

import json
from pathlib import Path

import pytest

from instructlab_pipeline.publish.credentials import Credentials
from instructlab_pipeline.publish.refusal import Reply, Visit

KEEPER = Credentials(username="keeper", password="mill-by-the-aller", origin=Path("/auth.json"))


def reply(status: int, **error) -> Reply:
    return Reply(status=status, headers={}, content=json.dumps({"errors": [error]} if error else {}).encode())


def refused(answer: Reply, *, credentials: Credentials | None = KEEPER, writing: bool = True, upload: str = "x"):
    visit = Visit(registry="quay.io", repository="org/m", credentials=credentials, writing=writing)
    return visit.refused(answer, method="PUT", url=f"https://quay.io/v2/org/m/blobs/uploads/{upload}?_state=secret")


@pytest.mark.parametrize(
    "answer",
    [
        reply(403, code="DENIED", message="Quota has been exceeded on namespace"),  # Quay
        reply(412, code="DENIED", message="will exceed the configured upper limit of 10 GiB"),  # Harbor
        reply(
            500, code="UNKNOWN", message="unknown error", detail={"DriverName": "filesystem", "Enclosed": {"Err": 28}}
        ),
        reply(507),
    ],
)
def test_a_full_registry_is_told_from_one_that_refuses(answer):
    error = refused(answer)
    assert answer.tells_of_no_room
    assert error.message.startswith("quay.io has no room for org/m")
    assert "quota" in error.remedy


@pytest.mark.parametrize(
    "answer",
    [
        reply(500, code="UNKNOWN", message="unknown error", detail={"Enclosed": {"Err": 13}}),
        reply(403, code="DENIED", message="requested access to the resource is denied"),
        reply(201),
        Reply(status=502, headers={}, content=b"<html>quota"),
        reply(500, code="UNKNOWN", message="context deadline exceeded"),
        reply(503, code="UNAVAILABLE", message="request limit exceeded"),
        reply(429, code="TOOMANYREQUESTS", message="Rate exceeded"),  # Amazon
        reply(429, code="DENIED", message="Quota exceeded for quota metric 'Requests per minute'"),  # Google
    ],
)
def test_other_trouble_is_not_taken_for_a_full_disk(answer):
    assert not answer.tells_of_no_room


def test_who_may_not_write_is_named_with_where_the_login_came_from():
    error = refused(reply(403, code="DENIED", message="no"))
    assert error.message.startswith("quay.io (status 403: DENIED no): 'keeper' from /auth.json may not write org/m")
    assert "podman login quay.io" in error.remedy
    assert "may read" in refused(reply(401), writing=False).remedy


def test_without_a_login_the_places_are_listed():
    error = refused(reply(401), credentials=None)
    assert "No login for it is in" in error.message
    assert "podman login quay.io" in error.remedy


def test_a_proxy_that_takes_no_large_bodies_is_named():
    assert "client_max_body_size" in refused(Reply(status=413, headers={}, content=b"<html>")).remedy


def test_neither_password_nor_the_state_of_an_upload_is_told():
    for status in (400, 401, 403, 413, 500, 507):
        error = refused(reply(status, code="X", message="y"))
        assert "mill-by-the-aller" not in f"{error.message}{error.remedy}"
        assert "_state" not in f"{error.message}{error.remedy}"


@pytest.mark.parametrize(
    ("told", "pause_s"),
    [
        ("7", 7),
        ("-1", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_pause_is_asked_for_in_seconds_or_as_a_date(told, pause_s):
    assert Reply(status=503, headers={"Retry-After": told}, content=b"").retry_after_s == pause_s


def test_a_date_to_come_is_some_time_away():
    answer = Reply(status=503, headers={"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, content=b"")
    assert answer.retry_after_s > 1e9


@pytest.mark.parametrize(
    "content",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<center>The plain HTTP request was sent to HTTPS port</center>",
    ],
)
def test_a_registry_that_wants_tls_is_understood(content):
    error = refused(Reply(status=400, headers={}, content=content))
    assert "speaks TLS" in error.message
    assert "output_registry_insecure" in error.remedy


def test_a_registry_that_makes_no_repositories_by_itself_is_understood():
    """Amazon's want them to be created, Harbor's their projects."""
    error = refused(
        reply(404, code="NAME_UNKNOWN", message="The repository with name 'org/m' does not exist"), upload=""
    )
    assert "has no place for org/m" in error.message
    assert "create the repository" in error.remedy


def test_a_registry_that_only_hands_out_is_understood():
    """`maintenance.readonly` of docker-registry, and every cache of another registry."""
    error = refused(reply(405, code="UNSUPPORTED", message="The operation is unsupported."), upload="")
    assert "quay.io takes no images" in error.message
    assert "read only" in error.remedy


@pytest.mark.parametrize(
    "answer",
    [
        reply(400, code="TAG_INVALID", message="The image tag 'v1' already exists and cannot be overwritten"),  # Amazon
        reply(412, code="PRECONDITION", message="Failed to process request due to 'm:v1' configured as immutable."),
    ],
)
def test_a_tag_that_may_not_be_written_again_is_understood(answer):
    visit = Visit(registry="quay.io", repository="org/m", credentials=KEEPER, writing=True)
    error = visit.refused(answer, method="PUT", url="https://quay.io/v2/org/m/manifests/v1")
    assert "quay.io lets nobody write tag v1 of org/m again" in error.message
    assert "output_model_version" in error.remedy


def test_what_a_registry_says_moves_no_terminal_and_fills_no_screen():
    told = reply(418, code="DENIED", message="\x1b[2J" + "x" * 9999).complaint
    assert told.startswith(": DENIED  [2Jxxx")
    assert len(told) < 600
