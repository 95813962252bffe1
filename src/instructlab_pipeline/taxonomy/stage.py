"""From `sdg_repo_url` to leaves and chunks: one commit, validated whole, its documents fetched and cut.

taxonomy.json  {url, revision, commit, num_leaves}
leaves.jsonl   the leaves by path, each with its documents and a digest of all that its samples are made from
chunks.jsonl   the chunks of the knowledge leaves, by leaf, document and position
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instructlab_pipeline.artifacts import Artifact, Facts, digest_of, write_atomically, write_jsonl
from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context
from instructlab_pipeline.taxonomy import git
from instructlab_pipeline.taxonomy.chunks import Chunk, Chunker, capacity
from instructlab_pipeline.taxonomy.documents import Document, Library, Name
from instructlab_pipeline.taxonomy.faults import Fault, refuse, warnings
from instructlab_pipeline.taxonomy.git_url import GitUrl, parse_with_login
from instructlab_pipeline.taxonomy.leaves import Leaf, read_leaves
from instructlab_pipeline.taxonomy.qna import KINDS
from instructlab_pipeline.taxonomy.shapes import KNOWLEDGE
from instructlab_pipeline.taxonomy.tree import WHAT_IS_A_LEAF, leaf_files

Record = dict[str, Any]
Cut = Mapping[Name, Sequence[Chunk]]


@dataclass(frozen=True, kw_only=True)
class TaxonomyInputs:
    model: Artifact
    sdg_repo_url: str
    sdg_repo_revision: str | None
    train_sequence_length: int


def run(inputs: TaxonomyInputs, context: Context) -> Facts:
    """Read all leaves of one commit, and cut their documents for the model's tokenizer.

    Raises:
        SourceError: the repository, a leaf or a document cannot be used: every fault of every file at once.
        ServiceError: a git server did not answer.
    """
    url, cache = parse_with_login(inputs.sdg_repo_url, os.environ), context.cache / "git"
    chunker = Chunker(inputs.model / "files" / "tokenizer.json", max_tokens=capacity(inputs.train_sequence_length))
    checkout = git.checkout(url, inputs.sdg_repo_revision, cache)
    contents, faults = leaf_files(checkout)
    leaves, found = read_leaves(contents)
    faults += found
    documents = _documents(leaves, Library(url, cache), faults, context.events)
    refuse(faults)
    _require_leaves(leaves, url, checkout)
    for notice in map(str, warnings(faults)):
        context.events.point("notice", message=notice)
    about = {
        "url": url.shown,
        "revision": inputs.sdg_repo_revision,
        "commit": checkout.commit,
        "num_leaves": len(leaves),
    }
    write_atomically(context.folder / "taxonomy.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    num_chunks = _write(context.folder, leaves, documents, _cut(documents, chunker, context.events))
    return {**about, "num_chunks": num_chunks, "num_warnings": len(warnings(faults))}


def fingerprint(sdg_repo_url: str, sdg_repo_revision: str | None) -> str:
    """The commit to which the revision (None: the default branch) points now.

    Raises:
        SourceError, ServiceError: the repository cannot be asked, or has no such revision.
    """
    return git.commit_at(parse_with_login(sdg_repo_url, os.environ), sdg_repo_revision)


def survey(sdg_repo_url: str, sdg_repo_revision: str | None, cache: Path) -> list[Leaf]:
    """The leaves alone, without their documents: enough to say what a run will do.

    Raises:
        SourceError, ServiceError: as `run`, for what concerns the leaves.
    """
    url = parse_with_login(sdg_repo_url, os.environ)
    checkout = git.checkout(url, sdg_repo_revision, cache / "git")
    contents, faults = leaf_files(checkout)
    leaves, found = read_leaves(contents)
    refuse([*faults, *found])
    _require_leaves(leaves, url, checkout)
    return leaves


def notices(sdg_repo_url: str, sdg_repo_revision: str | None) -> Iterator[str]:
    """What the user may have expected to be used, and is not."""
    url = parse_with_login(sdg_repo_url, os.environ)
    if sdg_repo_revision is None and git.has_uncommitted(url, KINDS):
        yield f"{url.shown} has changes that are not committed: they are not used"


def _require_leaves(leaves: Sequence[Leaf], url: GitUrl, checkout: git.Checkout) -> None:
    if not leaves:
        raise SourceError(f"{url.shown} has no leaf at commit {checkout.commit}", remedy=WHAT_IS_A_LEAF)


def _documents(
    leaves: Sequence[Leaf], library: Library, faults: list[Fault], events: Events
) -> dict[str, list[Document]]:
    """The documents of each leaf, by the leaf's path; what is wrong with them joins `faults`."""
    documents: dict[str, list[Document]] = {}
    for number, leaf in enumerate(leaves, start=1):
        documents[leaf.path] = []
        if leaf.kind == KNOWLEDGE:
            documents[leaf.path], found = library.documents(leaf)
            faults += found
        events.progress("taxonomy", number, len(leaves), unit="leaves")
    return documents


def _cut(documents: Mapping[str, Sequence[Document]], chunker: Chunker, events: Events) -> Cut:
    """Each document cut once, for however many leaves."""
    distinct = {document.name: document for of_leaf in documents.values() for document in of_leaf}
    cut = {}
    for number, (name, document) in enumerate(distinct.items(), start=1):
        cut[name] = list(chunker.chunks(document.text))
        events.progress("taxonomy_documents", number, len(distinct), unit="documents")
    return cut


def _write(folder: Path, leaves: Sequence[Leaf], documents: Mapping[str, Sequence[Document]], cut: Cut) -> int:
    """Write `leaves.jsonl` and `chunks.jsonl`; the number of chunks."""
    chunks = {leaf.path: _chunks(leaf, documents[leaf.path], cut) for leaf in leaves}
    records = (_record(leaf, documents[leaf.path], chunks[leaf.path]) for leaf in leaves)
    write_jsonl(folder / "leaves.jsonl", records)
    return write_jsonl(folder / "chunks.jsonl", (chunk for leaf in leaves for chunk in chunks[leaf.path]))


def _chunks(leaf: Leaf, documents: Sequence[Document], cut: Cut) -> list[Record]:
    return [
        {
            "id": f"{leaf.path}#{document.path}:{chunk.start}-{chunk.end}",
            "leaf": leaf.path,
            "document": document.record(),
            "start": chunk.start,
            "end": chunk.end,
            "num_tokens": chunk.num_tokens,
            "headings": list(chunk.headings),
            "text": chunk.text,
        }
        for document in documents
        for chunk in cut[document.name]
    ]


def _record(leaf: Leaf, documents: Sequence[Document], chunks: Sequence[Record]) -> Record:
    """A line of `leaves.jsonl`. The digest leaves out who wrote the leaf, and where its texts came from."""
    content = leaf.content()
    texts = [[chunk["document"]["path"], chunk["start"], chunk["headings"], chunk["text"]] for chunk in chunks]
    return {
        "path": leaf.path,
        "kind": leaf.kind,
        "version": leaf.version,
        **content,
        "documents": [document.record() for document in documents],
        "digest": digest_of({"kind": leaf.kind, **content, "chunks": texts}),
    }
