"""`taxonomy check` and `taxonomy diff` as their users have them."""

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy.check import check_path
from servers.command import command
from servers.git_server import GitRepository, git_daemon

LEAF = "compositional_skills/writing/qna.yaml"
OTHER = "knowledge/moons/qna.yaml"


def skill_text(**changes):
    examples = [{"question": f"Question {i}?", "answer": f"Answer {i}."} for i in range(5)]
    value = {"version": 3, "created_by": "me", "task_description": "Do it.", "seed_examples": examples}
    return yaml.safe_dump(value | changes, sort_keys=False)


REPEATED = [*yaml.safe_load(skill_text())["seed_examples"], {"question": "Question 0?", "answer": "Other."}]


@pytest.fixture
def taxonomy(tmp_path):
    repository = GitRepository(tmp_path / "served" / "taxonomy")
    repository.commit({LEAF: skill_text()})
    return repository


@pytest.fixture
def check(tmp_path):
    return lambda *arguments: command("taxonomy", "check", *arguments, folder=tmp_path)


@pytest.fixture
def diff(taxonomy, tmp_path):
    def diff(*arguments, folder=taxonomy.folder):
        done = command("taxonomy", "diff", folder, "--base", *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return diff


def test_every_fault_is_told_sorted_and_the_end_is_3(taxonomy, check):
    assert check(taxonomy.folder).stdout == "1 leaf can be used, 0 errors, 0 warnings\n"
    bad, other = taxonomy.folder / LEAF, taxonomy.folder / OTHER
    bad.write_text(skill_text(version=4, created_by=5))
    other.parent.mkdir(parents=True)
    other.write_text("a: [\n")
    for path in (taxonomy.folder, bad, bad.parent):
        done = check(path)
        assert done.returncode == 3
        assert done.stdout.splitlines()[0] == f"{bad}:1:10: version 4 is not known; the newest is 3"
    done = check(taxonomy.folder)
    assert done.stdout.splitlines()[1].startswith(f"{other}:2:1: not valid YAML")
    assert done.stdout.splitlines()[-1] == "0 leaves can be used, 2 errors, 0 warnings"
    assert "the taxonomy has 2 errors" in done.stderr


def test_a_warning_becomes_an_error_when_strictness_is_asked_for(taxonomy, check):
    (taxonomy.folder / LEAF).write_text(skill_text(seed_examples=REPEATED))
    done = check(taxonomy.folder)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 leaf can be used, 0 errors, 1 warning")
    strict = check(taxonomy.folder, "--strict")
    assert (strict.returncode, strict.stdout.splitlines()[-1]) == (3, "1 leaf can be used, 1 error, 0 warnings")
    assert strict.stdout.splitlines()[0].endswith(":15:13: this question was asked before [repeated-question]")
    assert "the taxonomy has 1 error\n" in strict.stderr


@pytest.mark.parametrize("option", [["--json"], ["--format", "json"]])
def test_one_json_object_is_printed(taxonomy, check, option):
    done = check(taxonomy.folder, *option)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"num_leaves": 1, "errors": [], "warnings": []})
    (taxonomy.folder / LEAF).write_text(skill_text(version=4))
    done = check(taxonomy.folder, *option)
    (error,) = json.loads(done.stdout)["errors"]
    assert (done.returncode, error["path"], error["line"], error["column"]) == (3, str(taxonomy.folder / LEAF), 1, 10)


def test_github_shows_faults_beside_their_lines(taxonomy, check):
    (taxonomy.folder / LEAF).write_text(skill_text(seed_examples=REPEATED))
    (taxonomy.folder / "knowledge/a,b").mkdir(parents=True)
    (taxonomy.folder / "knowledge/a,b/qna.yaml").write_text("- 1\n")
    done = check(taxonomy.folder, "--format", "github")
    place = str(taxonomy.folder)
    assert done.stdout.splitlines() == [
        f"::warning file={place}/{LEAF},line=15,col=13,title=repeated-question::this question was asked before",
        f"::error file={place}/knowledge/a%2Cb/qna.yaml,line=1,col=1::the file is not a mapping of keys to values",
    ]


def test_a_url_is_checked_at_the_revision_asked_for(taxonomy, check):
    taxonomy.git("tag", "good")
    taxonomy.commit({LEAF: skill_text(version=4)})
    with git_daemon(taxonomy.folder.parent) as server:
        bad, good = check(f"{server}/taxonomy"), check(f"{server}/taxonomy", "--revision", "good")
        missing = check(f"{server}/taxonomy", "--revision", "nothing")
    assert (bad.returncode, bad.stdout.splitlines()[0]) == (3, f"{LEAF}:1:10: version 4 is not known; the newest is 3")
    assert (good.returncode, good.stdout) == (0, "1 leaf can be used, 0 errors, 0 warnings\n")
    assert (missing.returncode, "has no branch, tag or commit 'nothing'" in missing.stderr) == (3, True)


def test_a_repository_without_a_working_tree_is_checked_at_its_head(taxonomy, check, tmp_path):
    taxonomy.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare"))
    assert check("bare").stdout == "1 leaf can be used, 0 errors, 0 warnings\n"


def test_a_commit_without_leaves_says_where_some_lie(taxonomy, check):
    taxonomy.git("rm", "-q", LEAF)
    taxonomy.commit({"deep/taxonomy/compositional_skills/writing/qna.yaml": skill_text()})
    done = check(taxonomy.folder, "--revision", "main")
    assert done.returncode == 3
    assert "holds no leaf; deep/taxonomy/compositional_skills/writing/qna.yaml lies elsewhere" in done.stderr


def test_what_is_not_there_is_told(tmp_path, check):
    assert (check(tmp_path).returncode, "holds no leaf" in check(tmp_path).stderr) == (3, True)
    assert (check("nothing").returncode, "there is no nothing" in check("nothing").stderr) == (2, True)


def test_links_pipes_and_huge_files_are_faults_and_nothing_waits_for_them(taxonomy, check):
    for name in ("link", "pipe", "huge"):
        (taxonomy.folder / "knowledge" / name).mkdir(parents=True)
    (taxonomy.folder / "knowledge/link/qna.yaml").symlink_to("/dev/zero")
    os.mkfifo(taxonomy.folder / "knowledge/pipe/qna.yaml")
    with (taxonomy.folder / "knowledge/huge/qna.yaml").open("wb") as file:
        file.truncate(10 << 30)
    lines = check(taxonomy.folder).stdout.splitlines()
    assert [line.partition("/knowledge/")[2].partition("/")[0] for line in lines[:-1]] == ["huge", "link", "pipe"]


def test_what_a_run_would_not_follow_or_take_is_told_for_a_folder_and_for_a_commit_alike(taxonomy, check):
    leaf = taxonomy.folder / "compositional_skills"
    other = GitRepository(leaf / "other")
    other.commit({"qna.yaml": skill_text()})
    (leaf / "link").symlink_to("writing")
    taxonomy.git("-c", "advice.addEmbeddedRepo=false", "add", "-A")
    taxonomy.git("commit", "-qm", "A link and a submodule")
    for place in ([], ["--revision", "HEAD"]):
        told = json.loads(check(taxonomy.folder, "--json", *place).stdout)
        found = [(fault["path"].rpartition("/")[2], fault["code"]) for fault in told["warnings"]]
        assert (told["num_leaves"], found) == (1, [("link", "not-followed"), ("other", "not-followed")])


def test_a_single_file_is_judged_as_a_run_would(taxonomy, check):
    leaf = taxonomy.folder / "compositional_skills"
    (leaf / "writing/qna.yml").write_text(skill_text())
    (leaf / "link").mkdir()
    (leaf / "link/qna.yaml").symlink_to("../writing/qna.yaml")
    for name, message in (("writing/qna.yml", "a leaf's file is named qna.yaml"), ("link/qna.yaml", "is a link")):
        done = check(leaf / name)
        assert (done.returncode, message in done.stdout) == (3, True)


def test_where_a_taxonomy_lies_says_nothing_about_its_leaves(tmp_path, check):
    leaf = tmp_path / "knowledge/taxonomy/foundational_skills/writing"
    leaf.mkdir(parents=True)
    (leaf / "qna.yaml").write_text(skill_text())
    assert check(tmp_path / "knowledge/taxonomy").returncode == 0


def test_names_that_would_break_a_line_or_steer_a_terminal_are_escaped(taxonomy, check):
    taxonomy.commit({"knowledge/new\nline/qna.yaml": "- 1\n", "knowledge/red\x1b[31m/qna.yaml": "- 1\n"})
    lines = [line.partition(" ")[0] for line in check(taxonomy.folder, "--revision", "HEAD").stdout.splitlines()]
    assert lines[:-1] == [r"knowledge/new\nline/qna.yaml:1:1:", r"knowledge/red\x1b[31m/qna.yaml:1:1:"]


@contextmanager
def nobody():
    """Without root's rights, which no file's mode holds."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_what_may_not_be_read_is_told():
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        (folder / "qna.yaml").write_text(skill_text())
        (folder / "qna.yaml").chmod(0)
        with nobody():
            (fault,) = check_path(folder).faults
        assert fault.message == "the file cannot be read: Permission denied"
        (folder / "closed").mkdir(mode=0)
        with nobody(), pytest.raises(SourceError, match=r"closed.* cannot be read: Permission denied"):
            check_path(folder)


def test_thousands_of_leaves_are_shared_among_processes(tmp_path, check):
    for number in range(3000):
        folder = tmp_path / f"taxonomy/knowledge/{number:04}"
        folder.mkdir(parents=True)
        (folder / "qna.yaml").write_text("version: 2\n" if number % 1000 else "- 1\n")
    done = check("taxonomy", "--json")
    errors = json.loads(done.stdout)["errors"]
    assert [error["path"] for error in errors] == [f"taxonomy/knowledge/{number:04}/qna.yaml" for number in range(3000)]
    assert len([error for error in errors if "not a mapping" in error["message"]]) == 3


def test_diff_lists_what_was_added_changed_and_deleted_committed_or_not(taxonomy, diff):
    names = ["again", "changed", "deleted", "gone", "kept", "linked", "same"]
    taxonomy.commit({f"compositional_skills/{name}/qna.yaml": skill_text() for name in names})
    base = taxonomy.git("rev-parse", "HEAD")
    taxonomy.git("tag", "start")
    leaf = taxonomy.folder / "compositional_skills"
    (leaf / "deleted/qna.yaml").unlink()
    taxonomy.commit({"compositional_skills/added/qna.yaml": skill_text(), "README.md": "No leaf."})
    (leaf / "changed/qna.yaml").write_text(skill_text(task_description="Do more."))
    (leaf / "gone/qna.yaml").unlink()
    (leaf / "new").mkdir()
    (leaf / "new/qna.yaml").write_text(skill_text())
    taxonomy.git("rm", "--quiet", "--cached", "compositional_skills/again/qna.yaml")
    (leaf / "again/qna.yaml").write_text(skill_text(task_description="Do it again."))
    taxonomy.git("rm", "-r", "--quiet", "--cached", "compositional_skills/kept", "compositional_skills/linked")
    (leaf / "linked/qna.yaml").unlink()
    (leaf / "linked/qna.yaml").symlink_to("../same/qna.yaml")
    (leaf / "same/qna.yaml").chmod(0o755)
    expected = {
        "added": ["compositional_skills/added", "compositional_skills/new"],
        "changed": [f"compositional_skills/{name}" for name in ("again", "changed", "linked")],
        "deleted": ["compositional_skills/deleted", "compositional_skills/gone"],
    }
    assert json.loads("\n".join(diff("start", "--json"))) == {"base": base, **expected}
    assert diff("HEAD~1") == sorted(
        (f"{mark:<8} {path}" for mark, paths in expected.items() for path in paths), key=lambda line: line.split()[1]
    )
    assert diff(base, folder=leaf / "new") == ["added    ."]


def test_diff_reads_no_history(taxonomy, diff, tmp_path):
    taxonomy.git("tag", "start")
    taxonomy.commit({OTHER: "a: 1\n"})
    taxonomy.git("clone", "--quiet", "--depth=1", f"file://{taxonomy.folder}", str(tmp_path / "shallow"), inside=False)
    shallow = GitRepository(tmp_path / "shallow")
    shallow.git("fetch", "--quiet", "--depth=1", "origin", "tag", "start")
    assert diff("start", folder=shallow.folder) == ["added    knowledge/moons"]


@pytest.mark.parametrize("base", ["nothing", "--output={mark}", "HEAD --exec={mark}", ""])
def test_a_base_that_is_none_is_told_and_runs_nothing(taxonomy, tmp_path, base):
    mark = tmp_path / "mark"
    done = command("taxonomy", "diff", taxonomy.folder, f"--base={base.format(mark=mark)}", folder=tmp_path)
    assert (done.returncode, mark.exists()) == (3, False)
    assert "has no branch, tag or commit" in done.stderr


def test_a_branch_of_another_repository_is_named_as_git_wants_it(taxonomy, tmp_path):
    taxonomy.git("branch", "draft")
    taxonomy.git("clone", "--quiet", ".", str(tmp_path / "clone"))
    done = command("taxonomy", "diff", "clone", "--base=draft", folder=tmp_path)
    assert (done.returncode, "near it: remotes/origin/draft\n" in done.stderr) == (3, True)
    assert command("taxonomy", "diff", "clone", "--base=remotes/origin/draft", folder=tmp_path).returncode == 0


def test_a_clone_that_git_cannot_compare_says_why(taxonomy, tmp_path):
    (taxonomy.folder / ".git/index").write_bytes(b"broken")
    done = command("taxonomy", "diff", taxonomy.folder, "--base=main", folder=tmp_path)
    assert (done.returncode, "cannot be compared: fatal: " in done.stderr) == (3, True)


def test_a_folder_outside_of_git_has_no_changes_to_tell(tmp_path):
    done = command("taxonomy", "diff", tmp_path, "--base", "main", folder=tmp_path)
    assert (done.returncode, "is in no working tree of git" in done.stderr) == (3, True)


def test_names_that_are_no_utf_8_are_shown_escaped(taxonomy, check, diff):
    leaf = taxonomy.folder / "compositional_skills" / os.fsdecode(b"bad\xffname")
    leaf.mkdir()
    (leaf / "qna.yaml").write_text(skill_text(version=4))
    taxonomy.git("add", "-A")
    taxonomy.git("commit", "-qm", "A name in Latin 1")
    shown = r"compositional_skills/bad\xffname"
    for place in ([], ["--revision", "HEAD"]):
        done = check(taxonomy.folder, "--json", *place)
        (fault,) = json.loads(done.stdout)["errors"]
        assert (done.returncode, fault["path"].endswith(f"{shown}/qna.yaml")) == (3, True)
    assert diff("HEAD~1") == [f"added    {shown}"]
