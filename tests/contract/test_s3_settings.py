"""Each setting of S3 that people have, against a real server: what it opens, and what is said when it is wrong."""

import os
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from instructlab_pipeline.errors import ServiceError, SourceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.model.cache import fetched
from instructlab_pipeline.model.s3 import BucketSource
from instructlab_pipeline.s3.e_tags import MEBIBYTE
from instructlab_pipeline.s3.settings import Settings
from instructlab_pipeline.s3.store import open_bucket
from servers.certificate import authority
from servers.flaky_proxy import Answers, flaky_proxy
from servers.http_api import HttpApi
from servers.public_bucket import public_bucket
from servers.s3_server import PAGE, s3_server
from servers.web_proxy import web_proxy

URI = "s3://models/base"
NAMES = (
    "config.json",
    "model with spaces + ünusual & names.json",
    "100% a%2Bb #1?=;'\"*\\|{}~.json",
    "deep/er/model.safetensors",
)
CONTENT = {name: os.urandom(8 * MEBIBYTE + 77 if name.endswith("safetensors") else 50) for name in NAMES}


class Console(HttpApi):
    """A page for browsers, whatever is asked for: what listens beside many S3 servers."""

    def routes(self):
        async def page(_request):
            return web.Response(text="<html><title>Console</title></html>", content_type="text/html")

        return [web.get("/{path:.*}", page)]

    async def stopped(self, _request):
        return None


@pytest.fixture(scope="module")
def server():
    with s3_server() as server:
        server.create_bucket("models")
        for name, data in CONTENT.items():
            server.put("models", f"base/{name}", data)
        yield server


@pytest.fixture
def fetch(server, tmp_path):
    """The files, with some settings of the environment changed; None takes one away."""

    def fetch(uri=URI, heard=(), cache="cache", **changes):
        environment = {**server.environment, **changes}
        settings = Settings.from_environment({name: value for name, value in environment.items() if value is not None})
        source = BucketSource(uri, settings)
        folder = fetched(source, source.listing(), tmp_path / cache, Events(listeners=list(heard)))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return fetch


def test_names_of_any_letters_are_read(fetch):
    assert fetch() == CONTENT


@pytest.mark.parametrize("name", ["../out.json", "x/../../out.json", "a//b.json", "/b.json", "./a.json", "a\nb.json"])
def test_a_name_that_is_no_files_is_told(server, fetch, name):
    server.put("models", f"unfit/{name}", b"{}")
    with pytest.raises(SourceError, match="the bucket holds an object named 'unfit/") as refusal:
        fetch("s3://models/unfit")
    server.delete("models", f"unfit/{name}")
    assert "rename the object" in refusal.value.remedy


def test_an_object_in_place_of_a_prefix_is_told(fetch):
    with pytest.raises(SourceError, match=r"nothing below 'base/config\.json', which is an object itself"):
        fetch("s3://models/base/config.json")


def test_a_whole_bucket_is_a_prefix(server, fetch):
    server.create_bucket("alone")
    server.put("alone", "config.json", b"{}")
    server.put("alone", "deep/er.json", b"[]")
    assert fetch("s3://alone") == fetch("s3://alone/") == {"config.json": b"{}", "deep/er.json": b"[]"}


@pytest.mark.parametrize(
    "endpoint", ["ftp://s3.example", "http://", "my server", "https://a?b=c", "https://key:s3cret@s3"]
)
def test_an_endpoint_that_is_no_server_is_told_and_not_shown(fetch, endpoint):
    with pytest.raises(UsageError, match="AWS_S3_ENDPOINT is no URL of a server") as refusal:
        fetch(AWS_S3_ENDPOINT=endpoint)
    assert "s3cret" not in refusal.value.message


def test_an_object_that_changes_is_noticed_where_the_server_does_not_heed_if_match(server, tmp_path):
    server.put("models", "moving/config.json", b"{}")
    with public_bucket(server, deaf_to="If-Match") as public:
        source = BucketSource("s3://models/moving", Settings.from_environment({"AWS_S3_ENDPOINT": public.endpoint}))
        listed = source.listing()
        server.put("models", "moving/config.json", b"[]")
        with pytest.raises(ServiceError, match="changed while it was being read"):
            fetched(source, listed, tmp_path / "cache", Events())


def test_a_listing_of_many_pages_is_read_to_its_end(server, fetch):
    content = {f"{number:02}.json": b"%d" % number for number in range(PAGE + 1)}
    for name, data in content.items():
        server.put("models", f"paged/{name}", data)
    assert fetch("s3://models/paged") == content


def test_a_session_token_is_part_of_the_signature(fetch):
    assert fetch(AWS_SESSION_TOKEN="a/token+of=many&letters") == CONTENT


def test_a_public_bucket_is_read_without_keys(server, fetch):
    with public_bucket(server) as public:
        nobody = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
        assert fetch(AWS_S3_ENDPOINT=public.endpoint, **nobody) == CONTENT
        assert len(public.requests) > len(CONTENT)
        assert public.signed == []


def test_a_server_that_knows_no_ranges_is_read_all_the_same(server, fetch):
    with public_bucket(server, deaf_to="Range") as public:
        nobody = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
        assert fetch(AWS_S3_ENDPOINT=public.endpoint, **nobody) == CONTENT


def test_the_proxy_of_the_environment_is_used_over_http_and_tls(server, fetch, tmp_path, monkeypatch):
    private = authority(tmp_path)
    with web_proxy(tmp_path) as proxy:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert fetch() == CONTENT
        over_http = proxy.num_requests
        with flaky_proxy(urlsplit(server.endpoint).port, [], certificate=private.server) as secure:
            changes = {"AWS_CA_BUNDLE": str(private.bundle), "AWS_S3_ENDPOINT": f"https://{secure.host}"}
            assert fetch(cache="other", **changes) == CONTENT
        assert over_http > len(CONTENT)
        assert proxy.num_requests > over_http + 1  # one lists; a tunnel takes many requests


def test_no_proxy_is_heeded(fetch, tmp_path, monkeypatch):
    with web_proxy(tmp_path) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert fetch() == CONTENT
        assert proxy.num_requests == 0


def test_another_region_is_told_with_the_variable_that_sets_it(fetch):
    with pytest.raises(SourceError) as refusal:
        fetch(AWS_DEFAULT_REGION="eu-north-1")
    assert "AWS_DEFAULT_REGION" in refusal.value.remedy
    assert "eu-north-1" in refusal.value.remedy


def test_a_server_that_sends_its_visitors_on_is_told_with_where_to(server, tmp_path):
    listed = BucketSource(URI, Settings.from_environment(server.environment)).listing()
    elsewhere = Answers(307, "Location: https://s3.elsewhere/models/base?X-Amz-Signature=s3cret\r\n")
    with flaky_proxy(urlsplit(server.endpoint).port, [elsewhere] * 20) as proxy:
        moved = Settings.from_environment(server.environment | {"AWS_S3_ENDPOINT": f"http://{proxy.host}"})
        with pytest.raises(SourceError, match=r"sends its visitors on to https://s3\.elsewhere$"):
            fetched(BucketSource(URI, moved), listed, tmp_path / "cache", Events())


def test_a_web_page_in_place_of_s3_is_told():
    with Console() as console, pytest.raises(SourceError, match="a web page answers there, not S3"):
        BucketSource(URI, Settings.from_environment({"AWS_S3_ENDPOINT": console.url})).listing()


def test_a_server_without_tls_is_told(server):
    changes = {"AWS_S3_ENDPOINT": server.endpoint.replace("http://", "https://")}
    with pytest.raises(SourceError, match="speaks http") as refusal:
        BucketSource(URI, Settings.from_environment(server.environment | changes)).listing()
    assert "write http:// in AWS_S3_ENDPOINT" in refusal.value.remedy


@pytest.mark.parametrize("prefix", ["../models", "base/../base", "a//b", "./base"])
def test_a_prefix_that_is_no_folder_s_is_told(prefix):
    with pytest.raises(SourceError, match="has // or dots where a folder's name has to be"):
        BucketSource(f"s3://models/{prefix}", Settings())


@pytest.mark.parametrize("prefix", ["a b+c%20d", "what?", "number#1", "ünï"])
def test_a_prefix_of_any_letters_is_read(server, fetch, prefix):
    server.put("models", f"{prefix}/config.json", b"{}")
    server.put("models", f"{prefix}-2/config.json", b"another model's")
    assert fetch(f"s3://models/{prefix}") == {"config.json": b"{}"}


def test_empty_objects_that_stand_for_folders_are_passed_over(server, fetch):
    for key in ("marked/", "marked/deep/", "marked/deep/er/", "marked/empty.txt"):
        server.put("models", key, b"")
    server.put("models", "marked/deep/config.json", b"{}")
    assert fetch("s3://models/marked") == {"deep/config.json": b"{}", "empty.txt": b""}


@pytest.mark.parametrize(("status", "words"), [(400, "with these keys"), (403, "with these keys"), (401, "keys")])
def test_keys_that_end_while_the_files_come_are_told(server, tmp_path, status, words):
    listed = BucketSource(URI, Settings.from_environment(server.environment)).listing()
    with flaky_proxy(urlsplit(server.endpoint).port, [Answers(status)] * 20) as proxy:
        source = BucketSource(
            URI, Settings.from_environment(server.environment | {"AWS_S3_ENDPOINT": f"http://{proxy.host}"})
        )
        with pytest.raises(SourceError, match=words) as refusal:
            fetched(source, listed, tmp_path / "cache", Events())
    assert "AWS_SESSION_TOKEN" in refusal.value.remedy


def test_a_file_that_was_sent_in_parts_is_proven_by_its_tag(server, fetch):
    import obstore

    heard = []
    store = open_bucket("models", Settings.from_environment(server.environment))
    data = os.urandom(11 * MEBIBYTE)
    for name, part_bytes in (("usual", 5 * MEBIBYTE), ("round", 6 * MEBIBYTE), ("odd", 5_555_555)):
        obstore.put(store, f"parts/{name}.safetensors", data, chunk_size=part_bytes, use_multipart=True)
    assert set(fetch("s3://models/parts", heard=[heard.append]).values()) == {data}
    notices = [event["message"] for event in heard if event.get("name") == "notice"]
    assert [notice.split()[0] for notice in notices] == ["odd.safetensors"]
    assert "could only be compared by size" in notices[0]
