import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from instructlab_pipeline.errors import SourceError

EXAMPLES = Path(__file__).parents[3] / "examples"


def load_repositories():
    specification = importlib.util.spec_from_file_location("repositories", EXAMPLES / "demo" / "repositories.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


repositories = load_repositories()


def git(folder, *arguments):
    identity = ["-c", "user.name=A user", "-c", "user.email=user@example.invalid"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "leaf").mkdir(parents=True)
    (folder / "leaf" / "qna.yaml").write_text("one\n\n\n\n\ntwo\n")
    (folder / "other.txt").write_text("other\n")
    return folder


def test_the_documents_commit_is_the_same_on_every_machine_and_in_every_checkout(source, tmp_path, monkeypatch):
    first = repositories.build_documents(source, tmp_path / "here")

    elsewhere = shutil.copytree(source, tmp_path / "copied")
    (elsewhere / "other.txt").chmod(0o755)
    (elsewhere / ".other.txt.swp").write_text("an editor's")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody else")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert repositories.build_documents(elsewhere, tmp_path / "there") == first
    assert git(tmp_path / "there", "rev-parse", "HEAD") == first


def test_building_the_documents_again_changes_nothing(source, tmp_path):
    first = repositories.build_documents(source, tmp_path / "documents")
    assert repositories.build_documents(source, tmp_path / "documents") == first
    assert git(tmp_path / "documents", "for-each-ref", "refs/heads", "--format=%(refname)") == "refs/heads/main"


def test_changed_documents_can_be_cloned_and_leave_the_users_commits_alone(source, tmp_path):
    target = tmp_path / "documents"
    repositories.build_documents(source, target)
    (target / "other.txt").write_text("mine\n")
    git(target, "commit", "--quiet", "--all", "-m", "mine")
    mine = git(target, "rev-parse", "HEAD")

    (source / "other.txt").write_text("changed\n")
    changed = repositories.build_documents(source, target)
    git(tmp_path, "clone", "--quiet", str(target), "clone")
    assert git(tmp_path / "clone", "show", f"{changed}:other.txt") == "changed"
    assert git(target, "rev-parse", "HEAD") == mine


def test_the_taxonomy_is_one_clean_commit_at_first(source, tmp_path):
    target = tmp_path / "taxonomy"
    commit = repositories.build_taxonomy(source, target)
    assert git(target, "rev-list", "HEAD") == commit
    assert git(target, "status", "--porcelain") == ""
    assert repositories.build_taxonomy(source, target) == commit


def test_a_change_of_the_source_becomes_one_commit(source, tmp_path):
    target = tmp_path / "taxonomy"
    first = repositories.build_taxonomy(source, target)
    (source / "leaf" / "qna.yaml").write_text("ONE\n\n\n\n\ntwo\n")
    second = repositories.build_taxonomy(source, target)
    assert git(target, "diff", "--name-only", first, second) == "leaf/qna.yaml"
    assert git(target, "rev-list", "--count", "HEAD") == "2"
    assert repositories.build_taxonomy(source, target) == second


def test_the_users_commits_stay_and_a_change_of_the_source_is_merged_into_them(source, tmp_path):
    target = tmp_path / "taxonomy"
    repositories.build_taxonomy(source, target)
    (target / "leaf" / "qna.yaml").write_text("one\n\n\n\n\nMINE\n")
    git(target, "commit", "--quiet", "--all", "-m", "mine")
    mine = git(target, "rev-parse", "HEAD")
    assert repositories.build_taxonomy(source, target) == mine

    (source / "leaf" / "qna.yaml").write_text("ONE\n\n\n\n\ntwo\n")
    repositories.build_taxonomy(source, target)
    assert (target / "leaf" / "qna.yaml").read_text() == "ONE\n\n\n\n\nMINE\n"
    assert mine in git(target, "rev-list", "HEAD")
    assert git(target, "status", "--porcelain") == ""


def test_edits_that_the_user_has_not_committed_survive(source, tmp_path):
    target = tmp_path / "taxonomy"
    repositories.build_taxonomy(source, target)
    (target / "other.txt").write_text("half done\n")
    (source / "leaf" / "qna.yaml").write_text("ONE\n\n\n\n\ntwo\n")
    repositories.build_taxonomy(source, target)
    assert (target / "other.txt").read_text() == "half done\n"
    assert (target / "leaf" / "qna.yaml").read_text().startswith("ONE")


def test_changes_of_the_same_line_are_refused_and_lose_nothing(source, tmp_path):
    target = tmp_path / "taxonomy"
    repositories.build_taxonomy(source, target)
    (target / "other.txt").write_text("mine\n")
    git(target, "commit", "--quiet", "--all", "-m", "mine")
    (source / "other.txt").write_text("changed\n")
    with pytest.raises(SourceError, match="where it was also changed"):
        repositories.build_taxonomy(source, target)
    assert (target / "other.txt").read_text() == "mine\n"
    assert git(target, "status", "--porcelain") == ""


def test_a_call_killed_between_its_renames_is_mended_by_the_next(source, tmp_path):
    target = tmp_path / "taxonomy"
    commit = repositories.build_taxonomy(source, target)
    target.rename(tmp_path / ".taxonomy.old")
    (tmp_path / ".taxonomy.draft").mkdir()
    assert repositories.build_taxonomy(source, target) == commit


def test_a_folder_of_someone_elses_is_not_replaced(source, tmp_path):
    (tmp_path / "taxonomy").mkdir()
    with pytest.raises(SourceError, match="in the way"):
        repositories.build_taxonomy(source, tmp_path / "taxonomy")
