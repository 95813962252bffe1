"""The taxonomy stage against real git servers."""

import json

import pytest
import yaml

from instructlab_pipeline.artifacts import Artifact
from instructlab_pipeline.errors import ServiceError, SourceError
from instructlab_pipeline.events import Events
from instructlab_pipeline.stage import Context
from instructlab_pipeline.taxonomy.stage import TaxonomyInputs, fingerprint, notices, run
from servers.documents import docx, pdf
from servers.git_server import GitRepository, git_daemon, http_git
from servers.loopback import free_port
from servers.tiny_model import write_tiny_model

MOONS = "# Moons\n\nA moon goes around a planet.\n\n## Io\n\nIo has volcanoes.\n\n## Europa\n\nEuropa has ice.\n"


def skill_text(**changes):
    examples = [{"question": f"Question {i}?", "answer": f"Answer {i}."} for i in range(5)]
    value = {"version": 3, "created_by": "me", "task_description": "Do it.", "seed_examples": examples}
    return yaml.safe_dump(value | changes, sort_keys=False)


def knowledge_text(commit, repo="../documents", patterns=("*.md",)):
    def pairs(i):
        return [{"question": f"Question {i}.{j}?", "answer": f"Answer {j}."} for j in range(3)]

    value = {
        "version": 3,
        "created_by": "me",
        "domain": "moons",
        "document_outline": "About moons.",
        "document": {"repo": repo, "commit": commit, "patterns": list(patterns)},
        "seed_examples": [{"context": f"Context {i}", "questions_and_answers": pairs(i)} for i in range(5)],
    }
    return yaml.safe_dump(value, sort_keys=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(folder / "files")
    return Artifact(path=folder, kind="model", key="k", digest="d", inputs={}, files=(), facts={})


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def documents(served):
    return GitRepository(served / "documents")


@pytest.fixture
def taxonomy(served, documents):
    repository = GitRepository(served / "taxonomy")
    commit = documents.commit({"moons.md": MOONS, "planets/mars.md": "# Mars\n\nRed.\n", "notes.txt": "Notes."})
    repository.commit(
        {
            "compositional_skills/writing/qna.yaml": skill_text(),
            "knowledge/moons/qna.yaml": knowledge_text(commit),
        }
    )
    return repository


@pytest.fixture
def perform(model, tmp_path):
    """Run the stage on a URL; the folder that it filled, and the events heard."""
    runs = []

    def perform(url, revision=None, sequence_length=128):
        heard = []
        folder = tmp_path / "runs" / str(len(runs))
        folder.mkdir(parents=True)
        runs.append(folder)
        context = Context(folder=folder, cache=tmp_path / "cache", events=Events(listeners=[heard.append]))
        inputs = TaxonomyInputs(
            model=model, sdg_repo_url=url, sdg_repo_revision=revision, train_sequence_length=sequence_length
        )
        run(inputs, context)
        return folder, heard

    return perform


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_taxonomy_on_a_git_server_becomes_leaves_and_chunks(served, taxonomy, documents, perform):
    with git_daemon(served) as server:
        folder, _ = perform(f"{server}/taxonomy")
        about = json.loads((folder / "taxonomy.json").read_text())
    assert about == {
        "url": f"{server}/taxonomy",
        "revision": None,
        "commit": taxonomy.git("rev-parse", "HEAD"),
        "num_leaves": 2,
    }
    skill, knowledge = records(folder / "leaves.jsonl")
    assert (skill["path"], skill["kind"], skill["documents"]) == ("compositional_skills/writing", "freeform", [])
    document = {"repo": f"{server}/documents", "commit": documents.git("rev-parse", "HEAD"), "path": "moons.md"}
    assert (knowledge["kind"], knowledge["documents"]) == ("knowledge", [document])
    chunks = records(folder / "chunks.jsonl")
    assert all(chunk["text"] == MOONS[chunk["start"] : chunk["end"]] for chunk in chunks)
    assert chunks[0]["id"] == f"knowledge/moons#moons.md:0-{chunks[0]['end']}"
    assert {chunk["headings"][0] for chunk in chunks} == {"Moons"}


def test_the_same_commit_gives_the_same_bytes(served, taxonomy, perform):
    first, _ = perform(str(taxonomy.folder))
    second, _ = perform(str(taxonomy.folder))
    for name in ("taxonomy.json", "leaves.jsonl", "chunks.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_only_a_changed_leaf_gets_another_digest(taxonomy, documents, perform):
    before, _ = perform(str(taxonomy.folder))
    taxonomy.commit({"compositional_skills/writing/qna.yaml": skill_text(task_description="Do it well.")})
    skill, knowledge = records(perform(str(taxonomy.folder))[0] / "leaves.jsonl")
    old_skill, old_knowledge = records(before / "leaves.jsonl")
    assert skill["digest"] != old_skill["digest"]
    assert knowledge["digest"] == old_knowledge["digest"]
    commit = documents.commit({"moons.md": MOONS + "\nMore.\n"})
    taxonomy.commit({"knowledge/moons/qna.yaml": knowledge_text(commit)})
    assert records(perform(str(taxonomy.folder))[0] / "leaves.jsonl")[1]["digest"] != old_knowledge["digest"]


def test_a_path_from_the_current_directory_is_a_repository_too(taxonomy, perform, monkeypatch):
    monkeypatch.chdir(taxonomy.folder.parent)
    folder, _ = perform("file:taxonomy")
    assert json.loads((folder / "taxonomy.json").read_text())["url"] == "file:taxonomy"
    knowledge = records(folder / "leaves.jsonl")[1]
    assert knowledge["documents"][0]["repo"] == "../documents"


@pytest.mark.parametrize(
    "revision", ["draft", "v1", "refs/heads/draft", "refs/pull/7/head", "pull/7/head", "commit", "short"]
)
def test_a_revision_is_a_branch_a_tag_a_reference_or_a_commit(served, taxonomy, perform, revision):
    wanted = taxonomy.git("rev-parse", "HEAD")
    taxonomy.git("branch", "draft")
    taxonomy.git("tag", "--annotate", "v1", "--message=one")
    taxonomy.git("update-ref", "refs/pull/7/head", wanted)
    latest = taxonomy.commit({"README.md": "More."})
    revision = {"commit": wanted, "short": wanted[:10]}.get(revision, revision)
    with git_daemon(served) as server:
        folder, _ = perform(f"{server}/taxonomy", revision)
        assert json.loads((folder / "taxonomy.json").read_text())["commit"] == wanted
        assert fingerprint(f"{server}/taxonomy", revision) in {wanted, wanted[:10]}
        assert fingerprint(f"{server}/taxonomy", None) == latest


def test_a_commit_once_fetched_needs_no_server(served, taxonomy, perform):
    commit = taxonomy.git("rev-parse", "HEAD")
    with git_daemon(served) as server:
        perform(f"{server}/taxonomy", commit)
    folder, _ = perform(f"{server}/taxonomy", commit)
    assert records(folder / "chunks.jsonl")


def test_a_new_commit_changes_the_fingerprint(taxonomy):
    before = fingerprint(str(taxonomy.folder), None)
    assert fingerprint(str(taxonomy.folder), "main") == before
    assert taxonomy.commit({"README.md": "More."}) == fingerprint(str(taxonomy.folder), None) != before


def test_smart_http_takes_the_credentials_of_the_url_and_tells_nobody(served, taxonomy, perform):
    with http_git(served, user="me", password="se@cret") as server:
        folder, _ = perform(server.url.replace("//", "//me:se%40cret@") + "/taxonomy")
        with pytest.raises(SourceError, match="may not be read") as refusal:
            perform(server.url.replace("//", "//me:wrong-one@") + "/taxonomy")
        with pytest.raises(SourceError, match="may not be read"):
            fingerprint(f"{server.url}/taxonomy", None)
    assert "wrong-one" not in str(refusal.value)
    assert records(folder / "leaves.jsonl")[1]["documents"][0]["repo"] == f"{server.url}/documents"
    cached = [path for path in (folder.parent.parent / "cache").rglob("*") if path.is_file()]
    assert not any(b"cret" in path.read_bytes() for path in cached)


def test_each_repository_is_fetched_once_a_commit_for_all_leaves(served, taxonomy, documents, perform):
    commit = documents.git("rev-parse", "HEAD")
    taxonomy.commit({f"knowledge/moons/{i}/qna.yaml": knowledge_text(commit) for i in range(4)})
    with http_git(served) as server:
        folder, heard = perform(f"{server.url}/taxonomy")
        fetched = [path for path, _ in server.requests if path == "/documents/git-upload-pack"]
    assert len(fetched) == 1
    assert [event["total"] for event in heard if event["name"] == "taxonomy_documents"] == [1]  # cut once, too
    assert len({chunk["leaf"] for chunk in records(folder / "chunks.jsonl")}) == 5


def test_faults_of_all_files_and_documents_come_at_once(taxonomy, documents, perform):
    commit = documents.git("rev-parse", "HEAD")
    documents_of = {
        "a": knowledge_text(commit, patterns=["Moons.md", "*.png", "*.{md,txt}"]),
        "b": knowledge_text("f" * 40),
    }
    taxonomy.commit({f"knowledge/{name}/qna.yaml": text for name, text in documents_of.items()})
    taxonomy.commit({"compositional_skills/writing/qna.yaml": skill_text(version=4)})
    with pytest.raises(SourceError) as refusal:
        perform(str(taxonomy.folder))
    lines = str(refusal.value).splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        "compositional_skills/writing/qna.yaml:1:10:",
        "knowledge/a/qna.yaml:9:5:",
        "knowledge/a/qna.yaml:10:5:",
        "knowledge/a/qna.yaml:11:5:",
        "knowledge/b/qna.yaml:7:11:",
    ]
    assert "'Moons.md' matches no document; near it: moons.md" in lines[1]
    assert "the repository holds moons.md, notes.txt, planets/mars.md" in lines[2]
    assert "braces stand for themselves" in lines[3]
    assert "has no branch, tag or commit" in lines[4]


def test_a_file_matched_twice_is_taken_once(taxonomy, documents, perform):
    commit = documents.git("rev-parse", "HEAD")
    taxonomy.commit({"knowledge/moons/qna.yaml": knowledge_text(commit, patterns=["*.md", "moons.md", "**/*.md"])})
    folder, _ = perform(str(taxonomy.folder))
    knowledge = records(folder / "leaves.jsonl")[1]
    assert [document["path"] for document in knowledge["documents"]] == ["moons.md", "planets/mars.md"]


def test_the_newline_that_ends_a_block_scalar_is_no_part_of_a_repository_or_a_commit(taxonomy, documents, perform):
    commit = documents.git("rev-parse", "HEAD")
    taxonomy.commit({"knowledge/moons/qna.yaml": knowledge_text(f"{commit}\n", repo="../documents\n")})
    folder, _ = perform(str(taxonomy.folder))
    assert records(folder / "leaves.jsonl")[1]["documents"][0]["commit"] == commit


def test_a_link_as_a_leaf_is_refused_and_links_among_documents_are_not_followed(taxonomy, documents, perform):
    (documents.folder / "passwd.md").symlink_to("/etc/passwd")
    commit = documents.commit({})
    taxonomy.commit({"knowledge/moons/qna.yaml": knowledge_text(commit, patterns=["passwd.md"])})
    with pytest.raises(SourceError, match=r"'passwd\.md' matches no document; links and submodules are not followed"):
        perform(str(taxonomy.folder))
    (taxonomy.folder / "knowledge/moons/qna.yaml").unlink()
    (taxonomy.folder / "knowledge/moons/qna.yaml").symlink_to("/etc/passwd")
    taxonomy.commit({})
    with pytest.raises(SourceError, match=r"knowledge/moons/qna\.yaml:1:1: the file is a link"):
        perform(str(taxonomy.folder))


def test_a_taxonomy_without_leaves_says_what_was_looked_for(served, perform):
    empty = GitRepository(served / "empty")
    empty.commit({"skills/a/qna.yaml": skill_text()})
    with pytest.raises(SourceError, match="has no leaf") as refusal:
        perform(str(empty.folder))
    assert "qna.yaml, below knowledge, compositional_skills" in refusal.value.remedy


def test_warnings_are_told_as_notices(taxonomy, perform):
    taxonomy.commit({"skills/lost/qna.yaml": skill_text()})
    _, heard = perform(str(taxonomy.folder))
    notices = [event["message"] for event in heard if event["name"] == "notice"]
    assert len(notices) == 1
    assert notices[0].startswith("skills/lost/qna.yaml:1:1: the file is left out")


def test_changes_that_are_not_committed_are_told(taxonomy, perform):
    (taxonomy.folder / "compositional_skills/writing/qna.yaml").write_text(skill_text(task_description="Do more."))
    folder, _ = perform(str(taxonomy.folder))
    assert records(folder / "leaves.jsonl")[0]["task_description"] == "Do it."
    (notice,) = notices(str(taxonomy.folder), None)
    assert not [*notices(str(taxonomy.folder), "main")]
    assert notice == f"{taxonomy.folder} has changes that are not committed: they are not used"


@pytest.mark.parametrize(
    ("url", "revision", "message"),
    [
        ("{server}/nothing", None, "cannot be found"),
        ("{server}/taxonomy", "no-such-branch", "has no branch, tag or commit 'no-such-branch'"),
        ("{server}/taxonomy", "f" * 40, "has no branch, tag or commit"),
        ("{server}/taxonomy", "abcdef1", "has no branch, tag or commit 'abcdef1'"),
        ("{folder}/nothing", None, "cannot be found"),
        ("{folder}", None, "cannot be found"),
        ("{folder}/fresh", None, "has no commit yet"),
    ],
)
def test_what_is_not_there_is_told(served, taxonomy, perform, url, revision, message):
    GitRepository(served / "fresh")
    with git_daemon(served) as server, pytest.raises(SourceError, match=message):
        perform(url.format(server=server, folder=served), revision)


@pytest.mark.parametrize(
    "url",
    ["--upload-pack=touch {mark}", "ext::sh -c touch% {mark}", "-c core.sshCommand={mark}", "file:--upload-pack=x"],
)
def test_no_url_makes_git_run_a_command(perform, tmp_path, url):
    mark = tmp_path / "mark"
    with pytest.raises(SourceError):
        perform(url.format(mark=mark))
    assert not mark.exists()


@pytest.mark.parametrize("revision", ["--upload-pack=touch {mark}", "--output={mark}", "main --exec={mark}"])
def test_no_revision_makes_git_run_a_command(taxonomy, perform, tmp_path, revision):
    mark = tmp_path / "mark"
    with pytest.raises(SourceError):
        perform(str(taxonomy.folder), revision.format(mark=mark))
    assert not mark.exists()


@pytest.mark.parametrize("key", ["repo", "commit"])
def test_no_leaf_makes_git_run_a_command(taxonomy, documents, perform, tmp_path, key):
    mark = tmp_path / "mark"
    wanted = {"repo": "../documents", "commit": "main"} | {key: f"--upload-pack=touch {mark}"}
    taxonomy.commit({"knowledge/moons/qna.yaml": knowledge_text(wanted["commit"], repo=wanted["repo"])})
    with pytest.raises(SourceError):
        perform(str(taxonomy.folder))
    assert not mark.exists()


def test_a_server_that_is_gone_is_a_service_error():
    with pytest.raises(ServiceError, match="could not be fetched"):
        fingerprint(f"git://127.0.0.1:{free_port()}/taxonomy", None)


def test_a_document_s_server_that_is_gone_is_told_with_the_line_that_names_it(taxonomy, documents, perform):
    repo = f"git://127.0.0.1:{free_port()}/documents"
    taxonomy.commit({"knowledge/moons/qna.yaml": knowledge_text(documents.git("rev-parse", "HEAD"), repo=repo)})
    with pytest.raises(ServiceError, match=r"knowledge/moons/qna\.yaml:6:9: git://.* could not be fetched"):
        perform(str(taxonomy.folder))


def test_a_server_that_gives_out_no_single_commits_is_read_whole(served, taxonomy, documents, perform):
    old = taxonomy.git("rev-parse", "HEAD")
    taxonomy.commit({"README.md": "More."})
    with http_git(served, protocol=0) as server:
        folder, _ = perform(f"{server.url}/taxonomy", old)
    assert json.loads((folder / "taxonomy.json").read_text())["commit"] == old


def test_a_leaf_may_mix_documents_of_every_kind(taxonomy, documents, perform):
    commit = documents.commit(
        {
            "all/io.pdf": pdf(["Io has volcanoes."]),
            "all/europa.docx": docx("Europa", "Europa has ice."),
            "all/titan.html": "<h1>Titan</h1><p>Titan has seas.</p>",
            "all/triton.rst": "Triton\n======\n\nTriton turns back.\n",
            "all/moons.md": MOONS,
            "all/notes.txt": "Notes.",
        }
    )
    taxonomy.commit({"knowledge/moons/qna.yaml": knowledge_text(commit, patterns=["all/*"])})
    folder, _ = perform(str(taxonomy.folder))
    chunks = records(folder / "chunks.jsonl")
    told = {chunk["document"]["path"]: chunk["headings"][:1] for chunk in chunks}
    assert told == {
        "all/io.pdf": [],
        "all/europa.docx": ["Europa"],
        "all/titan.html": ["Titan"],
        "all/triton.rst": ["Triton"],
        "all/moons.md": ["Moons"],
        "all/notes.txt": [],
    }


def test_a_scanned_document_is_an_error_and_one_scanned_page_a_warning(taxonomy, documents, perform):
    commit = documents.commit({"scan.pdf": pdf([]), "half.pdf": pdf(["Io has volcanoes."], [])})
    taxonomy.commit({"knowledge/moons/qna.yaml": knowledge_text(commit, patterns=["*.pdf"])})
    with pytest.raises(SourceError, match=r"knowledge/moons/qna\.yaml:9:3: document scan\.pdf holds no text"):
        perform(str(taxonomy.folder))
    taxonomy.commit({"knowledge/moons/qna.yaml": knowledge_text(commit, patterns=["half.pdf"])})
    _, heard = perform(str(taxonomy.folder))
    (notice,) = [event["message"] for event in heard if event["name"] == "notice"]
    assert "document half.pdf: no text on page 2" in notice
    assert notice.endswith("[document-in-part]")
