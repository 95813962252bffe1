import pytest

from instructlab_pipeline.publish.address import is_url, origin, placed

BASE = "https://quay.io"
BELOW = "https://quay.io/v2/org/m/blobs/uploads/"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/v2/org/m/blobs/uploads/7?_state=a%2Fb", "https://quay.io/v2/org/m/blobs/uploads/7?_state=a%2Fb"),
        ("7", "https://quay.io/v2/org/m/blobs/uploads/7"),
        ("http://quay.io/x", "https://quay.io/x"),
        ("HTTP://QUAY.IO/x", "https://QUAY.IO/x"),
        ("http://quay.io:8080/x", "http://quay.io:8080/x"),
        ("https://store.example.com/x?sig=a+b", "https://store.example.com/x?sig=a+b"),
        ("//store.example.com/x", "https://store.example.com/x"),
    ],
)
def test_a_location_is_where_the_registry_means_it(location, url):
    assert placed(location, below=BELOW, base=BASE) == url


@pytest.mark.parametrize(
    ("location", "complaint"),
    [("ftp://quay.io/x", "nothing is read at ftp"), ("http://[::bad/x", "IPv6"), ("data:1", "nothing is read at data")],
)
def test_a_location_that_is_none_is_no_place(location, complaint):
    with pytest.raises(ValueError, match=complaint):
        placed(location, below=BELOW, base=BASE)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://quay.io:443/v2/", True),
        ("https://QUAY.io/v2/", True),
        ("http://quay.io/v2/", False),
        ("https://quay.io:8443/v2/", False),
        ("https://quay.io.example.com/v2/", False),
        ("https://quay.io@example.com/v2/", False),
    ],
)
def test_a_login_is_for_one_scheme_host_and_port(url, same):
    assert (origin(url) == origin(BASE)) is same


@pytest.mark.parametrize(("text", "good"), [("http://[::1]:3128", True), ("nonsense", False), ("http://h:x", False)])
def test_a_proxy_is_a_url(text, good):
    assert is_url(text) is good
