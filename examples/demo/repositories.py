"""The demo's two git repositories: the documents, and the taxonomy that points at them by their commit.

Both are made from folders beside this one. Every author, date and setting is fixed, so the documents' commit is the
same everywhere, and the taxonomy can name it. Each repository is prepared beside its place and then renamed into it:
killed at any moment, the next call finds the old one or makes it anew.
"""

import os
import shutil
import subprocess
from pathlib import Path

from instructlab_pipeline.errors import SourceError

BRANCH = "main"
LATER_BRANCH = "demo"  # where documents go that changed after the repository was made
NOT_HIDDEN = ":(exclude,glob)**/.*"  # what editors and file managers leave behind
TAKEN_IN = "refs/demo/source"  # the commit that holds the taxonomy's folder as it was last taken in
DOCUMENTS_MESSAGE = "Documents of the demo taxonomy"
TAXONOMY_MESSAGE = "The demo taxonomy"
DATE = "2026-01-01T00:00:00+00:00"
AUTHOR, ADDRESS = "instructlab-pipeline demo", "demo@example.invalid"


def build_documents(source: Path, target: Path) -> str:
    """Make `target` a repository with one commit that holds the files of `source`; says the commit's id.

    Where `target` is there already, its branches stay as they are, and documents that changed go on a branch beside.
    """
    if not _is_repository(target):
        return _new_repository(source, target, message=DOCUMENTS_MESSAGE)
    commit = _commit_of(source, target, message=DOCUMENTS_MESSAGE)
    if not _git(target, "branch", "--all", "--contains", commit):
        _git(target, "update-ref", f"refs/heads/{LATER_BRANCH}", commit)
    return commit


def build_taxonomy(source: Path, target: Path) -> str:
    """Make `target` a work tree that holds `source`, or bring it what changed in `source` since the last call.

    What the user committed or edited in `target` stays. Says the id of the commit that `target` is on.

    Raises:
        SourceError: the user's changes and those of `source` touch the same lines.
    """
    if not _is_repository(target):
        return _new_repository(source, target, message=TAXONOMY_MESSAGE)
    if _tree(source, target) != _git(target, "rev-parse", f"{TAKEN_IN}^{{tree}}"):
        _bring_changes(source, target)
    return _git(target, "rev-parse", "HEAD")


def _new_repository(source: Path, target: Path, *, message: str) -> str:
    draft = _draft(target)
    draft.mkdir(parents=True)
    _git(draft, "init", "--quiet", "--template=", f"--initial-branch={BRANCH}", "--object-format=sha1")
    commit = _commit_of(source, draft, message=message)
    _git(draft, "reset", "--quiet", "--hard", commit)
    _git(draft, "update-ref", TAKEN_IN, commit)
    draft.rename(target)
    return commit


def _bring_changes(source: Path, target: Path) -> None:
    """Commit `source` on top of its last state, and merge that into whatever the user has made of it."""
    draft = _draft(target)
    shutil.copytree(target, draft, symlinks=True)
    before = _git(draft, "rev-parse", TAKEN_IN)
    commit = _commit_of(source, draft, message=f"{TAXONOMY_MESSAGE}, changed", parent=before)
    try:
        _git(draft, "merge", "--quiet", "--no-edit", commit)
    except subprocess.CalledProcessError as error:
        said = f"{error.stdout}{error.stderr}".strip()
        raise SourceError(
            f"the demo taxonomy changed in {source} where it was also changed in {target}: {said}",
            remedy=f"commit your changes in {target}, or delete {target} to start from {source} again",
        ) from error
    _git(draft, "update-ref", TAKEN_IN, commit)
    _put_into_place(draft, target)


def _commit_of(source: Path, repository: Path, *, message: str, parent: str | None = None) -> str:
    """A commit in `repository` that holds the files of `source`; no branch moves."""
    parents = [] if parent is None else ["-p", parent]
    return _git(repository, "commit-tree", "--no-gpg-sign", *parents, "-m", message, _tree(source, repository))


def _tree(source: Path, repository: Path) -> str:
    """The id of the git tree that `source` is. Its objects go into `repository`, its index nowhere."""
    index = repository / ".git" / f"index-of-source.{os.getpid()}"
    settings = ("-c", "core.fileMode=false", "-c", "core.autocrlf=false", f"--work-tree={source.resolve()}")
    environment = {"GIT_INDEX_FILE": str(index.resolve())}
    try:
        _git(repository, *settings, "add", "--all", "--force", ".", NOT_HIDDEN, environment=environment, inside=source)
        return _git(repository, "write-tree", environment=environment)
    finally:
        index.unlink(missing_ok=True)


def _is_repository(target: Path) -> bool:
    """Whether `target` was made before.

    Raises:
        SourceError: something else stands there.
    """
    if _old(target).exists() and not target.exists():  # killed between the two renames of `_put_into_place`
        _old(target).rename(target)
    if target.exists() and not (target / ".git" / "HEAD").is_file():
        raise SourceError(
            f"{target} is in the way: a git repository of the demo belongs there", remedy=f"move {target} away"
        )
    return target.exists()


def _put_into_place(draft: Path, target: Path) -> None:
    shutil.rmtree(_old(target), ignore_errors=True)
    target.rename(_old(target))
    draft.rename(target)
    shutil.rmtree(_old(target), ignore_errors=True)


def _draft(target: Path) -> Path:
    """An empty place beside `target`; what a killed call left there goes."""
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    return draft


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _git(
    repository: Path, *arguments: str, environment: dict[str, str] | None = None, inside: Path | None = None
) -> str:
    """Run git with nobody's settings but ours."""
    fixed = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": AUTHOR,
        "GIT_AUTHOR_EMAIL": ADDRESS,
        "GIT_AUTHOR_DATE": DATE,
        "GIT_COMMITTER_NAME": AUTHOR,
        "GIT_COMMITTER_EMAIL": ADDRESS,
        "GIT_COMMITTER_DATE": DATE,
        "GIT_DIR": str((repository / ".git").resolve()),
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=inside or repository,
        env={**fixed, **(environment or {})},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
