"""Reading a taxonomy over every transport, with every kind of key, and whatever a repository holds."""

import os
import shutil
import subprocess

import pytest

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy import git
from instructlab_pipeline.taxonomy.changes import changes_since
from instructlab_pipeline.taxonomy.documents import Shelf
from instructlab_pipeline.taxonomy.git_url import parse, parse_with_login
from instructlab_pipeline.taxonomy.tree import leaf_files
from servers.certificate import authority
from servers.git_server import GitRepository, http_git
from servers.ssh_server import ssh_server

LEAF = "knowledge/moons/qna.yaml"


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def taxonomy(served):
    repository = GitRepository(served / "taxonomy")
    repository.commit({LEAF: "version: 3\n", "README.md": "A taxonomy."})
    return repository


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def paths(url, cache, revision=None):
    contents, faults = leaf_files(git.checkout(url, revision, cache))
    return [path for path, _ in contents], faults


def test_ssh_opens_with_the_user_s_key_and_with_no_other(taxonomy, cache, tmp_path, monkeypatch):
    with ssh_server(tmp_path / "ssh") as server:
        url = parse(f"{server.url}{taxonomy.folder}")
        monkeypatch.setenv("GIT_SSH_COMMAND", server.stranger)
        with pytest.raises(SourceError, match="may not be read") as refusal:
            paths(url, cache)
        assert "ssh key" in refusal.value.remedy
        monkeypatch.setenv("GIT_SSH_COMMAND", server.command)
        assert paths(url, cache) == ([LEAF], [])


def test_a_host_that_ssh_does_not_know_is_not_trusted(taxonomy, cache, tmp_path, monkeypatch):
    with ssh_server(tmp_path / "ssh") as server:
        monkeypatch.setenv("GIT_SSH_COMMAND", server.command.replace("known_hosts", "nobody"))
        with pytest.raises(SourceError, match="Host key verification failed") as refusal:
            paths(parse(f"{server.url}{taxonomy.folder}"), cache)
    assert "known_hosts" in refusal.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files to another user takes root")
def test_a_repository_of_another_user_says_how_to_trust_it(taxonomy, cache):
    for place in (taxonomy.folder, taxonomy.folder / ".git"):
        os.chown(place, 65534, 65534)
    with pytest.raises(SourceError, match="belongs to another user") as refusal:
        paths(parse(str(taxonomy.folder)), cache)
    assert "safe.directory" in refusal.value.remedy
    with pytest.raises(SourceError, match="belongs to another user"):
        changes_since(taxonomy.folder, "main")


def test_a_server_that_wants_a_login_and_one_that_refuses_it_are_told_apart(served, taxonomy, cache):
    with http_git(served, user="git", password="s3cret") as server:
        with pytest.raises(SourceError, match="asks for a name and a password, or a token"):
            paths(parse(f"{server.url}/taxonomy"), cache)
        with pytest.raises(SourceError, match="refuses the name and password, or token"):
            paths(parse_with_login(f"{server.url}/taxonomy", {"GIT_PASSWORD": "wr0ng"}), cache)


@pytest.mark.parametrize(
    ("revision", "near"),
    [("mian", "main"), ("origin/main", "main"), ("v0.2", "v0.1"), ("pull/12", "pull/12/head, pull/12/merge")],
)
def test_a_revision_that_is_not_there_is_told_with_what_comes_near(served, taxonomy, cache, revision, near):
    taxonomy.git("tag", "v0.1")
    for name in ("head", "merge"):
        taxonomy.git("update-ref", f"refs/pull/12/{name}", "HEAD")
    with http_git(served) as server, pytest.raises(git.UnknownRevisionError) as refusal:
        paths(parse(f"{server.url}/taxonomy"), cache, revision)
    assert str(refusal.value).endswith(f"has no branch, tag or commit {revision!r}; near it: {near}")


def test_a_commit_that_a_server_does_not_have_costs_no_history(served, taxonomy, cache):
    with http_git(served) as server:
        with pytest.raises(git.UnknownRevisionError):
            paths(parse(f"{server.url}/taxonomy"), cache, "f" * 40)
        asked = [path for path, _ in server.requests if path.endswith("/git-upload-pack")]
    assert len(asked) == 1


def test_a_commit_is_a_commit_however_it_is_written_and_nothing_else(taxonomy, cache):
    url, commit = parse(str(taxonomy.folder)), taxonomy.git("rev-parse", "HEAD")
    taxonomy.git("tag", "--annotate", "v1", "--message=one")
    for name in (commit.upper(), commit[:9].upper(), taxonomy.git("rev-parse", "v1"), "tags/v1", "heads/main"):
        assert git.checkout(url, name, cache).commit == commit
    with pytest.raises(git.UnknownRevisionError):
        git.checkout(url, taxonomy.git("rev-parse", "HEAD^{tree}"), cache)


def test_commits_are_numbered_by_sha_256_too(served, taxonomy, cache, monkeypatch):
    folder = served / "sha256"
    taxonomy.git("init", "--quiet", "--object-format=sha256", "--initial-branch=main", str(folder), inside=False)
    commit = GitRepository(folder).commit({LEAF: "version: 3\n"})
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")  # which is no matter of other repositories
    with http_git(served) as server:
        for name in ("main", commit, commit[:9]):
            assert git.checkout(parse(f"{server.url}/sha256"), name, cache).commit == commit
        assert paths(parse(f"{server.url}/taxonomy"), cache) == ([LEAF], [])
        with pytest.raises(git.UnknownRevisionError):
            paths(parse(f"{server.url}/taxonomy"), cache, commit)
        assert paths(parse(f"{server.url}/taxonomy"), cache) == ([LEAF], [])


def test_a_private_authority_is_trusted_when_git_is_told_to(served, taxonomy, cache, tmp_path, monkeypatch):
    private = authority(tmp_path)
    with http_git(served, certificate=private.server) as server:
        url = parse(f"{server.url}/taxonomy")
        with pytest.raises(SourceError, match="certificate") as refusal:
            paths(url, cache)
        assert "GIT_SSL_CAINFO" in refusal.value.remedy
        monkeypatch.setenv("GIT_SSL_CAINFO", str(private.bundle))
        assert paths(url, cache) == ([LEAF], [])


@pytest.mark.parametrize("user", ["me", ""])
def test_a_token_in_the_environment_opens_the_host_and_is_written_nowhere(served, taxonomy, cache, user):
    environment = {"GIT_USERNAME": user, "GIT_PASSWORD": "s3cret\n"}
    with http_git(served, user=user or "git", password="s3cret") as server:
        url = parse_with_login(f"{server.url}/taxonomy", environment)
        assert paths(url, cache) == ([LEAF], [])
        with pytest.raises(SourceError, match="may not be read") as refusal:
            paths(parse_with_login(f"{server.url}/taxonomy", environment | {"GIT_PASSWORD": "wr0ng"}), cache)
    assert "wr0ng" not in str(refusal.value)
    assert not any(b"cret" in path.read_bytes() for path in cache.rglob("*") if path.is_file())


def test_git_s_own_credential_helper_is_asked(served, taxonomy, cache, tmp_path, monkeypatch):
    with http_git(served, user="me", password="s3cret") as server:
        (tmp_path / "credentials").write_text(server.url.replace("//", "//me:s3cret@") + "\n")
        config = f"[credential]\n\thelper = store --file={tmp_path / 'credentials'}\n"
        (tmp_path / "gitconfig").write_text(config)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
        assert paths(parse(f"{server.url}/taxonomy"), cache) == ([LEAF], [])


def test_the_history_stays_on_the_server(served, taxonomy, cache):
    taxonomy.commit({"README.md": "More."})
    with http_git(served) as server:
        checkout = git.checkout(parse(f"{server.url}/taxonomy"), None, cache)
    counted = subprocess.run(
        ["git", "--git-dir", checkout.folder, "rev-list", "--count", checkout.commit],
        capture_output=True,
        check=True,
        text=True,
    )
    assert counted.stdout == "1\n"


def test_submodules_are_not_followed(served, taxonomy, cache, tmp_path):
    other = GitRepository(tmp_path / "other")
    commit = other.commit({"qna.yaml": "version: 3\n"})
    taxonomy.git("update-index", "--add", "--cacheinfo", f"160000,{commit},knowledge/sub")
    (taxonomy.folder / ".gitmodules").write_text(
        f'[submodule "x"]\n\tpath = knowledge/sub\n\turl = ext::sh -c "touch {tmp_path}/mark"\n'
    )
    taxonomy.git("add", ".gitmodules")
    taxonomy.git("commit", "--quiet", "--message=sub")
    with http_git(served) as server:
        found, (fault,) = paths(parse(f"{server.url}/taxonomy"), cache)
    assert (found, fault.path, fault.code) == ([LEAF], "knowledge/sub", "not-followed")
    assert not (tmp_path / "mark").exists()


def test_a_path_that_leads_out_of_a_repository_is_refused(served, taxonomy, cache):
    """Git itself makes no such tree; an attacker's tool does."""
    blob = taxonomy.git("rev-parse", f"HEAD:{LEAF}")
    entry = b"100644 ../../../qna.yaml\0" + bytes.fromhex(blob)
    tree = _hashed(taxonomy, "tree", entry)
    top = _hashed(taxonomy, "tree", b"40000 knowledge\0" + bytes.fromhex(tree))
    commit = taxonomy.git("commit-tree", "-m", "evil", top)
    taxonomy.git("update-ref", "refs/heads/evil", commit)
    with http_git(served) as server:
        found, (fault,) = paths(parse(f"{server.url}/taxonomy"), cache, "evil")
    assert (found, fault.path) == ([], "knowledge/../../../qna.yaml")


def test_a_huge_leaf_is_refused_unread(served, taxonomy, cache):
    taxonomy.commit({"knowledge/huge/qna.yaml": b"a" * (2 << 20)})
    with http_git(served) as server:
        found, (fault,) = paths(parse(f"{server.url}/taxonomy"), cache)
    assert found == [LEAF]
    assert (fault.path, "has more than" in fault.message) == ("knowledge/huge/qna.yaml", True)


def test_huge_files_stay_on_a_server_that_can_leave_them_out(served, taxonomy, cache):
    taxonomy.git("config", "uploadpack.allowFilter", "true")
    with (taxonomy.folder / "huge.pdf").open("wb") as file:
        file.truncate(65 << 20)
    taxonomy.commit({})
    with http_git(served) as server:
        url = parse(f"{server.url}/taxonomy")
        files = {file.path: file for file in git.checkout(url, None, cache).files()}
        assert (files["huge.pdf"].size, files["README.md"].size) == (git.LEFT_OUT, len("A taxonomy."))
        again = taxonomy.commit({"README.md": "More."})
        assert paths(url, cache, again) == ([LEAF], [])
    with pytest.raises(SourceError, match=r"document huge\.pdf has more than"):
        Shelf(url, again, cache).document("huge.pdf")


@pytest.mark.parametrize("name", ["pack/*.pack", "pack/*.idx"])
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_cache_is_told_and_nothing_of_it_is_taken_for_whole(served, taxonomy, cache, name, cut):
    commit = taxonomy.git("rev-parse", "HEAD")
    with http_git(served) as server:
        url = parse(f"{server.url}/taxonomy")
        assert paths(url, cache, commit) == ([LEAF], [])
        (file,) = cache.glob(f"*/objects/{name}")
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        file.chmod(0o644)
        file.write_bytes(data[: len(data) // 2] if cut else data)
        with pytest.raises(SourceError, match=r"the cached repository .* is damaged") as refusal:
            list(leaf_files(git.checkout(url, commit, cache))[0])
    assert str(next(cache.glob("*.git"))) in refusal.value.remedy


def test_a_cache_that_was_killed_before_it_was_whole_is_begun_again(served, taxonomy, cache):
    with http_git(served) as server:
        url = parse(f"{server.url}/taxonomy")
        assert paths(url, cache) == ([LEAF], [])
        (folder,) = cache.glob("*.git")
        shutil.rmtree(folder / "objects")
        assert paths(url, cache) == ([LEAF], [])
        (folder / "HEAD").write_text("")
        with pytest.raises(SourceError, match=r"the cached repository .* is damaged"):
            paths(url, cache)


def test_git_s_own_configuration_is_told_where_it_is_broken(served, taxonomy, cache, tmp_path, monkeypatch):
    (tmp_path / "gitconfig").write_text("[core\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_TRACE", "1")  # whose lines are no reasons
    with http_git(served) as server, pytest.raises(SourceError, match="cannot be asked: bad config line 1") as refusal:
        paths(parse(f"{server.url}/taxonomy"), cache)
    assert "mend git's configuration" in refusal.value.remedy


def _hashed(repository, kind, data):
    command = ["git", "-C", repository.folder, "hash-object", "-t", kind, "-w", "--literally", "--stdin"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode().strip()
