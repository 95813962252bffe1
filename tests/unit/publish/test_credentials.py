import base64
import json
import os

import pytest

from instructlab_pipeline.errors import UsageError
from instructlab_pipeline.publish import credentials
from instructlab_pipeline.publish.credentials import auth_files, find_credentials


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


LOGINS = {name: {"auth": encoded("from-the-file:x")} for name in ("ghcr.io", "quay.io")}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write an auth file and point REGISTRY_AUTH_FILE at it."""

    def written(document) -> str:
        path = tmp_path / "auth.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
        return path

    return written


def test_a_login_is_found_by_its_registry(write):
    path = write({"auths": {"quay.io": {"auth": encoded("me:pass:word\n")}}})
    found = find_credentials("quay.io", "org/name")
    assert (found.username, found.password, found.origin) == ("me", "pass:word", path)
    assert find_credentials("ghcr.io", "org/name") is None


def test_the_most_specific_login_wins(write):
    auths = {"quay.io": "all", "quay.io/org": "org", "quay.io/org/name": "name", "quay.io/or": "other"}
    write({"auths": {name: {"auth": encoded(f"{user}:x")} for name, user in auths.items()}})
    assert find_credentials("quay.io", "org/name").username == "name"
    assert find_credentials("quay.io", "org/more").username == "org"
    assert find_credentials("quay.io", "else/name").username == "all"


@pytest.mark.parametrize("name", ["https://quay.io", "https://quay.io/v2/", "http://quay.io/"])
def test_dockers_older_names_are_understood(write, name):
    write({"auths": {name: {"username": "me", "password": "x"}}})
    assert find_credentials("quay.io", "org/name").username == "me"


def test_docker_hub_is_known_by_its_old_address(write):
    write({"auths": {"https://index.docker.io/v1/": {"auth": encoded("me:x")}}})
    assert find_credentials("docker.io", "org/name").username == "me"


def test_without_a_runtime_folder_podmans_own_is_searched(monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert str(auth_files()[0]) == f"/run/containers/{os.getuid()}/auth.json"


def test_files_are_searched_in_podmans_order(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    places = auth_files()
    assert [str(place.relative_to(tmp_path)) for place in places] == [
        "runtime/containers/auth.json",
        "home/.config/containers/auth.json",
        "home/.docker/config.json",
    ]
    for place in reversed(places):
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({"auths": {"quay.io": {"auth": encoded(f"{place.parent.name}:x")}}}))
        assert find_credentials("quay.io", "a").origin == place


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", "no readable JSON"),
        ("[]", "not a JSON object"),
        ({"auths": {"quay.io": {"auth": "!!"}}}, "no base64"),
        ({"auths": {"quay.io": {"auth": 12}}}, "no base64"),
        ({"auths": {"quay.io": "secret-without-colon"}}, "no JSON object as 'quay.io'"),
        ({"auths": ["quay.io"]}, "no JSON object as 'auths'"),
        ({"credHelpers": "ecr-login"}, "no JSON object as 'credHelpers'"),
        ({"auths": {"quay.io": {"auth": encoded("secret-without-colon")}}}, "no base64"),
    ],
)
def test_a_broken_file_is_named_without_what_is_in_it(write, document, complaint):
    path = write(document)
    with pytest.raises(UsageError, match=complaint) as caught:
        find_credentials("quay.io", "org/name")
    assert str(path) in caught.value.message
    assert "secret-without-colon" not in caught.value.message
    assert caught.value.__cause__ is None


def test_a_password_is_never_part_of_the_representation(write):
    write({"auths": {"quay.io": {"auth": encoded("me:very-secret")}}})
    assert "very-secret" not in repr(find_credentials("quay.io", "a"))


@pytest.mark.parametrize("variable", ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG"])
@pytest.mark.parametrize("key", [".dockerconfigjson", ".dockercfg", "config.json"])
def test_a_mounted_kubernetes_secret_is_an_auth_file(tmp_path, monkeypatch, variable, key):
    """As the kubelet mounts one: the key is a link to a link."""
    logins = {"quay.io": {"auth": encoded("robot:token")}}
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / key).write_text(json.dumps(logins if key == ".dockercfg" else {"auths": logins}))
    (tmp_path / key).symlink_to(f"..data/{key}")
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv(variable, str(tmp_path))
    found = find_credentials("quay.io", "org/name")
    assert (found.username, found.password, found.origin) == ("robot", "token", tmp_path / key)


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """A credential helper as docker's, which knows one registry."""
    program = tmp_path / "bin" / "docker-credential-keychain"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\nread -r name\n"
        '[ "$1 $name" = "get quay.io" ] || { echo "credentials not found"; exit 1; }\n'
        """echo '{"ServerURL": "quay.io", "Username": "me", "Secret": "from-the-keychain"}'\n"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


@pytest.mark.parametrize(
    "document",
    [{"credHelpers": {"quay.io": "keychain"}}, {"credsStore": "keychain", "auths": {"quay.io": {}}}],
)
def test_a_credential_helper_is_asked(write, helper, document):
    write(document)
    assert find_credentials("quay.io", "org/name").password == "from-the-keychain"


def test_a_helper_may_keep_an_identity_token(write, helper):
    helper.write_text(helper.read_text().replace('"me"', '"<token>"'))
    write({"credHelpers": {"quay.io": "keychain"}})
    found = find_credentials("quay.io", "org/name")
    assert (found.identity_token, found.password) == ("from-the-keychain", "")
    assert "from-the-keychain" not in repr(found)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (None, "which cannot be started: No such file"),
        ("#!/nowhere/sh\n", "which cannot be started: No such file"),
        ("#!/bin/sh\necho 'vault is sealed'; exit 1\n", r"no login for ghcr\.io: vault is sealed"),
        ("#!/bin/sh\nprintf '\\377'; exit 1\n", r"no login for ghcr\.io: "),
        ("#!/bin/sh\necho '[]'\n", r"whose answer for ghcr\.io is no login"),
        ("#!/bin/sh\n", r"whose answer for ghcr\.io is no login"),
        ("#!/bin/sh\nexec sleep 60\n", "which says nothing for 0.2 s"),
    ],
)
def test_a_helper_that_does_not_help_is_named_with_what_it_says(write, helper, monkeypatch, script, complaint):
    monkeypatch.setattr(credentials, "HELPER_TIMEOUT_S", 0.2 if script and "sleep" in script else 30)
    if script is None:
        helper.unlink()
    else:
        helper.write_text(script)
    write({"credHelpers": {"ghcr.io": "keychain"}})
    with pytest.raises(UsageError, match=complaint) as caught:
        find_credentials("ghcr.io", "org/name")
    assert "docker-credential-keychain" in caught.value.message
    assert "podman login ghcr.io" in caught.value.remedy


def test_a_helper_that_keeps_no_login_leaves_it_to_the_entries(write, helper):
    write({"credHelpers": {"ghcr.io/org": "keychain", "quay.io": "keychain"}, "auths": LOGINS})
    assert find_credentials("ghcr.io", "org/name").username == "from-the-file"
    assert find_credentials("quay.io", "org/name").username == "me"
    write({"credHelpers": {"ghcr.io": "keychain"}})
    assert find_credentials("ghcr.io", "org/name") is None


def test_a_store_is_asked_for_registries_that_the_file_has_no_entry_for(write, helper):
    """`{"credsStore": "ecr-login"}` is all that Amazon tells its users to write."""
    write({"credsStore": "keychain"})
    assert find_credentials("quay.io", "org/name").password == "from-the-keychain"
    assert find_credentials("ghcr.io", "org/name") is None


def test_docker_hub_is_asked_for_by_its_old_address(write, helper):
    write({"credsStore": "keychain"})
    helper.write_text(helper.read_text().replace("get quay.io", "get https://index.docker.io/v1/"))
    assert find_credentials("docker.io", "org/name").username == "me"


def test_a_store_that_is_not_installed_is_no_login(write):
    write({"credsStore": "desktop"})
    assert find_credentials("quay.io", "org/name") is None


def test_a_store_that_fails_is_named_with_what_it_says(write, helper):
    helper.write_text("#!/bin/sh\necho 'gpg: decryption failed'; exit 1\n")
    write({"credsStore": "keychain"})
    with pytest.raises(UsageError, match=r"docker-credential-keychain.*gpg: decryption failed"):
        find_credentials("quay.io", "org/name")
