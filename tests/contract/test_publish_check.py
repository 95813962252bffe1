"""A destination that cannot be used is noticed before anything is spent, and a check leaves nothing behind."""

import pytest

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.publish import transport
from instructlab_pipeline.publish.check import check_destination
from servers.command import command
from servers.loopback import free_port
from servers.registry import registry
from servers.resuming_registry import resuming_registry
from servers.token_service import token_service

LOGIN = ("keeper", "mill-by-the-aller")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.02)


def test_a_registry_that_takes_the_image_is_left_as_it_was(tmp_path):
    with registry(tmp_path / "registry") as server:
        assert check_destination(f"{server.host}/org/m:latest", version="1.0.0", insecure=True) == []
        assert [line.split()[0] for line in server.requests()] == ["GET", "POST", "DELETE", "GET"]
        assert not list(server.storage.rglob("data"))


def test_a_registry_that_is_not_there_is_named():
    host = f"127.0.0.1:{free_port()}"
    with pytest.raises(ServiceError, match=host):
        check_destination(f"{host}/org/m:latest", version="1.0.0", insecure=True)


def test_a_wrong_password_is_noticed(tmp_path, monkeypatch):
    with registry(tmp_path / "registry", login=LOGIN) as server:
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))  # the server itself reads REGISTRY_...
        server.write_login(tmp_path / "auth.json", "keeper", "wrong-secret")
        with pytest.raises(ServiceError, match="'keeper'"):
            check_destination(f"{server.host}/org/m:latest", version="1.0.0", insecure=True)


def test_who_may_push_but_not_delete_may_publish(tmp_path, monkeypatch):
    """To cancel an upload, Debian's registry asks token services for a right that hardly anybody has."""
    users = {LOGIN[0]: (LOGIN[1], ["pull", "push"])}
    with (
        token_service(tmp_path / "tokens", users) as tokens,
        registry(tmp_path / "registry", auth=tokens.registry_auth) as server,
    ):
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
        server.write_login(tmp_path / "auth.json", *LOGIN)
        assert check_destination(f"{server.host}/org/m:latest", version="1.0.0", insecure=True) == []


def test_someone_who_may_only_read_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with resuming_registry(login=LOGIN) as server:
        server.log_in(tmp_path / "auth.json")
        server.readers_only = True
        with pytest.raises(ServiceError, match=r"DENIED.*'keeper'.* may not write org/m") as caught:
            check_destination(f"{server.host}/org/m:latest", version="1.0.0", insecure=True)
    assert "someone who may write org/m" in caught.value.remedy


def test_a_version_that_is_there_already_is_worth_knowing(tmp_path, monkeypatch):
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with resuming_registry(login=LOGIN) as server:
        server.log_in(tmp_path / "auth.json")
        server.manifests["1.0.0"] = b"{}"
        (found,) = check_destination(f"{server.host}/org/m:latest", version="1.0.0", insecure=True)
    assert "org/m has a version 1.0.0 already" in found


def test_a_run_whose_registry_is_not_there_spends_nothing(tmp_path):
    inputs = {
        "sdg_base_model": f"file:{tmp_path}",
        "sdg_repo_url": str(tmp_path),
        "sdg_teacher_endpoint": "builtin:extractive",
    }
    options = [f"--{name}={value}" for name, value in inputs.items()]
    image = f"--output_oci_model_uri=127.0.0.1:{free_port()}/org/m:1"
    ended = command("run", "--run-dir=run", image, "--output_registry_insecure=true", *options, folder=tmp_path)
    assert ended.returncode == 4
    assert "cannot be used" in ended.stderr
    assert not (tmp_path / "run" / "model").exists()


def test_a_layout_is_neither_made_nor_touched_by_the_check(tmp_path):
    assert check_destination(f"oci:{tmp_path}/deep/images:1", version="1.0.0", insecure=False) == []
    assert list(tmp_path.iterdir()) == []


def test_a_layout_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="is a file"):
        check_destination(f"oci:{tmp_path}/file:1", version="1.0.0", insecure=False)
    with pytest.raises(ServiceError, match=f"may not write in {tmp_path}/file"):
        check_destination(f"oci:{tmp_path}/file/below:1", version="1.0.0", insecure=False)
