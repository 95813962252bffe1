import re
from pathlib import Path

import pytest

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy.git_url import parse, parse_beside


@pytest.mark.parametrize(
    "url",
    [
        "",
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=touch",
        "ext::sh -c touch% /tmp/x",
        "fd::17/foo",
        "ftp://host/repo",
        "https://",
        "ssh://-oProxyCommand=touch/repo",
        "git://host/repo\nHost: other",
        "https://[::1/repo",
        "https://host:99999/repo",
        "file://host/repo",
        "~nobody-of-this-name/repo",
    ],
)
def test_what_git_would_run_is_refused(url):
    with pytest.raises(SourceError):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://host/org/repo.git",
        "git://host:9418/repo",
        "ssh://git@host/repo",
        "git@host:org/repo.git",
        "git@[::1]:repo",
    ],
)
def test_a_remote_url_goes_to_git_as_it_is(url):
    parsed = parse(url)
    assert (parsed.address, parsed.shown, parsed.local, parsed.authorization) == (url, url, False, "")


@pytest.mark.parametrize(
    "url", ["https://me:s3cret@[::1", "https://me:s3/cret@host/repo", "https://host/repo?token=s3cret"]
)
def test_what_is_secret_in_a_url_that_is_refused_is_not_told(url):
    with pytest.raises(SourceError) as refusal:
        parse(url)
    assert not re.search("s3|cret", f"{refusal.value} {refusal.value.remedy}")


def test_a_name_that_no_file_can_have_is_a_place_all_the_same():
    assert parse("host:" + "x" * 5000).local is False
    assert parse("x" * 5000).local is True


def test_one_repository_has_one_address():
    assert parse("https://host/org/repo/").address == parse("https://host/org/repo").address


def test_a_password_is_neither_shown_nor_in_the_address():
    parsed = parse("https://me:s%40cret@host:8443/org/repo")
    assert parsed.address == parsed.shown == "https://host:8443/org/repo"
    assert parsed.authorization == "Basic bWU6c0BjcmV0"
    assert parse("ssh://git:secret@host/repo").address == "ssh://git@host/repo"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("taxonomy", Path.cwd() / "taxonomy"),
        ("./taxonomy", Path.cwd() / "taxonomy"),
        ("file:examples/taxonomy", Path.cwd() / "examples/taxonomy"),
        ("file:///srv/a%20b", Path("/srv/a b")),
        ("/srv/taxonomy", Path("/srv/taxonomy")),
    ],
)
def test_a_path_counts_from_the_current_directory(url, address):
    parsed = parse(url)
    assert (parsed.address, parsed.shown, parsed.local) == (str(address), url, True)


@pytest.mark.parametrize(
    ("base", "url", "address"),
    [
        ("https://host/org/taxonomy.git", "../documents.git", "https://host/org/documents.git"),
        ("https://host/org/taxonomy/", "../../other/documents", "https://host/other/documents"),
        ("https://host/org/taxonomy", "./documents", "https://host/org/taxonomy/documents"),
        ("git@host:org/taxonomy", "../documents", "git@host:org/documents"),
        ("git@[::1]:org/taxonomy", "../documents", "git@[::1]:org/documents"),
        ("ssh://git@host/taxonomy", "../documents", "ssh://git@host/documents"),
        ("/srv/taxonomy", "../documents", "/srv/documents"),
        ("/srv/taxonomy", "./", "/srv/taxonomy"),
        ("https://host/org/taxonomy", "https://elsewhere/documents", "https://elsewhere/documents"),
    ],
)
def test_a_relative_repository_counts_from_the_taxonomy_s_own_url(base, url, address):
    assert parse_beside(url, parse(base)).address == address


def test_a_relative_repository_is_recorded_so_that_it_says_the_same_everywhere():
    assert parse_beside("../documents", parse("/srv/taxonomy")).shown == "../documents"
    assert parse_beside("../documents", parse("https://me:pw@host/taxonomy")).shown == "https://host/documents"


def test_a_repository_beside_the_taxonomy_is_opened_with_the_same_key():
    base = parse("https://me:pw@host/taxonomy")
    assert parse_beside("../documents", base).authorization == base.authorization
    assert parse_beside("https://elsewhere/documents", base).authorization == ""


@pytest.mark.parametrize("url", ["/etc", "file:///etc", "etc"])
def test_a_taxonomy_from_elsewhere_cannot_name_what_lies_on_this_machine(url):
    with pytest.raises(SourceError, match="lies on this machine"):
        parse_beside(url, parse("https://host/taxonomy"))


def test_a_relative_repository_cannot_lead_out_of_its_server():
    with pytest.raises(SourceError, match="leads out"):
        parse_beside("../../../documents", parse("git@host:org/taxonomy"))
