"""The documents of knowledge leaves: each repository fetched once a commit, whichever leaves name it."""

from dataclasses import dataclass
from pathlib import Path

from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.taxonomy import git
from instructlab_pipeline.taxonomy.conversion import MAX_BYTES, converted
from instructlab_pipeline.taxonomy.faults import Fault
from instructlab_pipeline.taxonomy.git_url import GitUrl, parse_beside
from instructlab_pipeline.taxonomy.leaves import Leaf
from instructlab_pipeline.taxonomy.patterns import matching, near_misses

NUM_SHOWN = 3  # of a repository's files, where none comes near

Name = tuple[str, str, str]  # repository, commit and path


@dataclass(frozen=True, kw_only=True)
class Document:
    """`repo` is free of credentials, `commit` a full one, `path` inside the repository.

    `doubt` is a sentence about what the text may lack, or empty.
    """

    repo: str
    commit: str
    path: str
    text: str
    doubt: str

    @property
    def name(self) -> Name:
        return self.repo, self.commit, self.path

    def record(self) -> dict[str, str]:
        """Where it comes from."""
        return {"repo": self.repo, "commit": self.commit, "path": self.path}


class Shelf:
    """The documents of one repository at one commit."""

    def __init__(self, url: GitUrl, commit: str, cache: Path) -> None:
        self._repo = url.shown
        self._checkout = git.checkout(url, commit, cache)
        files = self._checkout.files()
        self._files = {file.path: file for file in files if file.is_regular}
        self.others = [file.path for file in files if not file.is_regular]
        self._read: dict[str, Document] = {}

    @property
    def paths(self) -> list[str]:
        return list(self._files)

    def document(self, path: str) -> Document:
        """Read it once, for however many leaves.

        Raises:
            SourceError: it cannot be read as text.
        """
        if path not in self._read:
            if self._files[path].size > MAX_BYTES:
                raise SourceError(f"document {path} has more than {MAX_BYTES} bytes", remedy="split it")
            (data,) = self._checkout.read([self._files[path].blob])
            found = converted(path, data)
            self._read[path] = Document(
                repo=self._repo, commit=self._checkout.commit, path=path, text=found.text, doubt=found.doubt
            )
        return self._read[path]


class Library:
    """The shelves that the leaves of the taxonomy at `base` name, each fetched once, or refused once."""

    def __init__(self, base: GitUrl, cache: Path) -> None:
        self._base = base
        self._cache = cache
        self._shelves: dict[tuple[str, str], Shelf | SourceError] = {}

    def documents(self, leaf: Leaf) -> tuple[list[Document], list[Fault]]:
        """What the leaf's patterns mean, by path; and what is wrong with them, at the line to mend.

        Raises:
            ServiceError: a server did not answer.
        """
        wanted = leaf.qna.data["document"]
        try:
            shelf = self._shelf(wanted["repo"].strip(), wanted["commit"].strip())  # of block scalars, a newline
        except ServiceError as error:
            where = leaf.qna.fault(("document", "repo"), error.message)
            raise ServiceError(str(where), remedy=error.remedy) from error
        if isinstance(shelf, SourceError):
            return [], [_fault(leaf, "commit" if isinstance(shelf, git.UnknownRevisionError) else "repo", shelf)]
        paths, faults = _chosen(leaf, shelf)
        documents = []
        for path in paths:
            try:
                documents.append(shelf.document(path))
            except SourceError as error:
                faults.append(_fault(leaf, "patterns", error))
        faults += [_doubt(leaf, document) for document in documents if document.doubt]
        return documents, faults

    def _shelf(self, repo: str, commit: str) -> Shelf | SourceError:
        if (repo, commit) not in self._shelves:
            try:
                self._shelves[repo, commit] = Shelf(parse_beside(repo, self._base), commit, self._cache)
            except SourceError as error:
                self._shelves[repo, commit] = error
        return self._shelves[repo, commit]


def _chosen(leaf: Leaf, shelf: Shelf) -> tuple[list[str], list[Fault]]:
    """Every path that a pattern matches, once; a pattern that matches none is a fault."""
    chosen: set[str] = set()
    faults = []
    for number, pattern in enumerate(leaf.qna.data["document"]["patterns"]):
        found = matching(pattern, shelf.paths)
        if not found:
            message = f"{pattern!r} matches no document; {_hint(pattern, shelf)}"
            faults.append(leaf.qna.fault(("document", "patterns", number), message))
        chosen.update(found)
    return sorted(chosen), faults


def _hint(pattern: str, shelf: Shelf) -> str:
    paths = shelf.paths
    if matching(pattern, shelf.others):
        return "links and submodules are not followed"
    if near := near_misses(pattern, paths):
        return f"near it: {', '.join(near)}"
    if "{" in pattern:
        return "braces stand for themselves; write a pattern for each"
    more = f" and {len(paths) - NUM_SHOWN} more files" if len(paths) > NUM_SHOWN else ""
    return f"the repository holds {', '.join(paths[:NUM_SHOWN])}{more}" if paths else "the repository holds no file"


def _fault(leaf: Leaf, key: str, error: SourceError) -> Fault:
    return leaf.qna.fault(("document", key), f"{error.message} ({error.remedy})")


def _doubt(leaf: Leaf, document: Document) -> Fault:
    message = f"document {document.path}: {document.doubt}"
    return leaf.qna.fault(("document", "patterns"), message, code="document-in-part")
