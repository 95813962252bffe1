"""A published image proves what it is, wherever it is; and no forgery that a writer of the registry can make passes."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from instructlab_pipeline.artifacts import digest_of
from instructlab_pipeline.errors import GateError, PipelineError, SourceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish.attachments import Subject, attach
from instructlab_pipeline.publish.evidence import gather
from instructlab_pipeline.publish.inputs import PublishInputs
from instructlab_pipeline.publish.layout import Layout
from instructlab_pipeline.publish.previous import published_evaluation
from instructlab_pipeline.publish.proof import card_document
from instructlab_pipeline.publish.signature import Verifier, load_signer, load_verifier
from instructlab_pipeline.publish.stage import run
from instructlab_pipeline.publish.verification import Verified, verify
from instructlab_pipeline.stage import Context
from servers.command import command
from servers.finished_run import finished_run, with_one_shard_changed
from servers.registry import registry
from servers.registry import run as client
from servers.resuming_registry import resuming_registry

LOGIN = ("keeper", "mill-by-the-aller")
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("run"), uri="", shards=1)


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    """Two pairs, `mine` and `other`; `locked` has a password. As openssl makes them."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        kind = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        client("openssl", "genpkey", *kind, "-out", f"{folder}/{name}.pem")
        client("openssl", "pkey", "-in", f"{folder}/{name}.pem", "-pubout", "-out", f"{folder}/{name}.pub")
    client(
        "openssl", "pkcs8", "-topk8", "-in", f"{folder}/mine.pem", "-passout", "pass:s3", "-out", f"{folder}/locked.pem"
    )
    client("openssl", "genpkey", "-algorithm", "ED25519", "-out", f"{folder}/ed25519.pem")
    return folder


@pytest.fixture(params=["layout", "docker-registry", "registry with referrers"])
def place(request, tmp_path, monkeypatch) -> Iterator[str]:
    """What to write before a tag."""
    if request.param == "layout":
        yield f"oci:{tmp_path}/images"
    elif request.param == "docker-registry":
        with registry(tmp_path / "registry") as server:
            yield f"{server.host}/org/m"
    else:
        with resuming_registry(login=LOGIN) as server:
            monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
            server.log_in(tmp_path / "auth.json")
            yield f"{server.host}/org/m"


def publish(inputs: PublishInputs, folder: Path, **changes) -> dict:
    folder.mkdir(parents=True, exist_ok=True)
    return run(replace(inputs, **changes), Context(folder=folder, cache=folder / "cache", events=Events()))


def verified(image: str, key: Path | None = None) -> Verified:
    return verify(gather(image, insecure=True), load_verifier(str(key)) if key else None)


def test_an_image_is_followed_back_to_the_taxonomys_commit(finished, keys, place, tmp_path):
    facts = publish(finished, tmp_path / "p", output_oci_model_uri=f"{place}:1", output_signing_key=f"{keys}/mine.pem")
    for image in (f"{place}:1", f"{place}:0.1.0", f"{place}@{facts['digest']}"):
        found = verified(image, keys / "mine.pub")
        assert found.digest == facts["digest"]
        assert found.signature == "valid"
        assert found.taxonomy == {"url": "https://example.org/t.git", "commit": "c0ffee"}
        assert found.base_model == {"uri": "s3://bucket/base", "digest": f"sha256:{finished.model.digest}"}
        assert found.dataset_digest == f"sha256:{finished.dataset.digest}"
        assert found.evaluation["metrics"]["accuracy"]["tuned"] == 0.9


def test_a_host_that_hands_out_blobs_is_shown_no_token(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with resuming_registry(login=LOGIN) as server:
        server.log_in(tmp_path / "auth.json")
        publish(finished, tmp_path / "p", output_oci_model_uri=f"{server.host}/org/m:1")
        server.redirects = True
        assert verified(f"{server.host}/org/m:1").taxonomy["commit"] == "c0ffee"
        assert set(server.shown) == {None}


def test_an_unsigned_image_is_followed_too_and_refused_where_a_key_is_given(finished, keys, place, tmp_path):
    publish(finished, tmp_path / "p", output_oci_model_uri=f"{place}:1")
    assert verified(f"{place}:1").signature == "none"
    with pytest.raises(GateError, match="is not signed"):
        verified(f"{place}:1", keys / "mine.pub")


def test_another_ones_key_is_not_accepted(finished, keys, place, tmp_path):
    publish(finished, tmp_path / "p", output_oci_model_uri=f"{place}:1", output_signing_key=f"{keys}/other.pem")
    assert verified(f"{place}:1").signature == "not checked"
    with pytest.raises(GateError, match="with this key"):
        verified(f"{place}:1", keys / "mine.pub")


def test_published_twice_an_image_has_the_same_proofs_and_both_signatures(finished, keys, place, tmp_path):
    for number, name in enumerate(("mine", "mine", "other")):
        key = f"{keys}/{name}.pem"
        publish(finished, tmp_path / str(number), output_oci_model_uri=f"{place}:1", output_signing_key=key)
    evidence = gather(f"{place}:1", insecure=True)
    assert len(evidence.signatures) == 2
    assert len(evidence.documents) == 2 + 2 * 2  # bill of materials and card; each statement signed by both
    assert verified(f"{place}:1", keys / "mine.pub") == verified(f"{place}:1", keys / "other.pub")


def test_an_image_of_others_has_no_proof(tmp_path):
    empty_image(tmp_path / "images")
    with pytest.raises(SourceError, match="nothing that could be a proof of ours is attached") as caught:
        verified(f"oci:{tmp_path}/images:1")
    assert "if it is a copy" in caught.value.remedy
    with pytest.raises(SourceError, match="there is no image"):
        verified(f"oci:{tmp_path}/images:2")
    with pytest.raises(UsageError, match="names no image"):
        verified("latest")


def test_what_was_published_can_be_compared_with_later(finished, place, tmp_path):
    assert published_evaluation(f"{place}:1", insecure=True) is None
    publish(finished, tmp_path / "p", output_oci_model_uri=f"{place}:1")
    assert published_evaluation(f"{place}:1", insecure=True) == {
        "verdict": "pass",
        "clear": True,
        "n": 100,
        "threshold": 0.8,
        "metrics": {"accuracy": {"n": 100, "base": 0.1, "tuned": 0.9, "interval": [0.8448, 0.9374]}},
    }


def test_an_image_of_others_says_nothing_of_an_evaluation(tmp_path):
    empty_image(tmp_path / "images")
    assert published_evaluation(f"oci:{tmp_path}/images:1", insecure=False) is None


def empty_image(layout: Path) -> None:
    client("umoci", "init", "--layout", str(layout))
    client("umoci", "new", "--image", f"{layout}:1")


@dataclass(frozen=True)
class Forger:
    """Someone who can write everything in the layout, but has not our key."""

    layout: Path

    @property
    def index(self) -> dict:
        return json.loads((self.layout / "index.json").read_text())

    def read(self, digest: str) -> bytes:
        return self._path(digest).read_bytes()

    def write(self, content: bytes) -> str:
        import hashlib

        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._path(digest).write_bytes(content)
        return digest

    def replace_document(self, predicate: str, forged: Callable[[bytes], tuple[str, bytes]]) -> None:
        """`forged` makes media type and content of the statement's layer anew."""
        index = self.index
        for entry in index["manifests"]:
            if entry.get("annotations", {}).get("in-toto.io/predicate-type") == predicate:
                manifest = json.loads(self.read(entry["digest"]))
                layer = manifest["layers"][0]
                media_type, content = forged(self.read(layer["digest"]))
                layer |= {"mediaType": media_type, "digest": self.write(content), "size": len(content)}
                text = json.dumps(manifest).encode()
                entry |= {"digest": self.write(text), "size": len(text)}
        (self.layout / "index.json").write_text(json.dumps(index))

    def _path(self, digest: str) -> Path:
        return self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def statement_of(envelope: bytes) -> dict:
    return json.loads(base64.b64decode(json.loads(envelope)["payload"]))


def unsigned(change: Callable[[dict], None]) -> Callable[[bytes], tuple[str, bytes]]:
    """The statement without its envelope, changed."""

    def forged(envelope: bytes) -> tuple[str, bytes]:
        statement = statement_of(envelope)
        change(statement)
        return "application/vnd.in-toto+json", json.dumps(statement).encode()

    return forged


def in_its_envelope(change: Callable[[dict], None]) -> Callable[[bytes], tuple[str, bytes]]:
    """The statement changed, the signature as it was."""

    def forged(envelope: bytes) -> tuple[str, bytes]:
        document, statement = json.loads(envelope), statement_of(envelope)
        change(statement)
        document["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        return "application/vnd.dsse.envelope.v1+json", json.dumps(document).encode()

    return forged


@pytest.fixture
def signed_layout(finished, keys, tmp_path):
    layout = tmp_path / "images"
    publish(finished, tmp_path / "p", output_oci_model_uri=f"oci:{layout}:1", output_signing_key=f"{keys}/mine.pem")
    return Forger(layout)


def nothing(_statement: dict) -> None:
    pass


def better_numbers(statement: dict) -> None:
    statement["predicate"]["evaluation"]["metrics"]["accuracy"]["tuned"] = 1.0


def other_commit(statement: dict) -> None:
    statement["predicate"]["buildDefinition"]["resolvedDependencies"][1]["digest"]["gitCommit"] = "0" * 40


def failed(statement: dict) -> None:
    statement["predicate"]["result"] = "FAILED"


def other_files(statement: dict) -> None:
    model = statement["predicate"]["model"]
    model["files"]["config.json"] = "0" * 64
    model["digest"] = digest_of(model["files"])


def other_image(statement: dict) -> None:
    statement["subject"][0]["digest"]["sha256"] = "0" * 64


@pytest.mark.parametrize(
    ("predicate", "forged", "complaint"),
    [
        (TEST_RESULT, in_its_envelope(better_numbers), "no proof signed with this key"),
        (TEST_RESULT, unsigned(nothing), "no proof signed with this key"),
        (PROVENANCE, in_its_envelope(other_commit), "no proof signed with this key"),
    ],
)
def test_with_a_key_only_what_it_signed_counts(signed_layout, keys, predicate, forged, complaint):
    signed_layout.replace_document(predicate, forged)
    with pytest.raises(PipelineError, match=complaint):
        verified(f"oci:{signed_layout.layout}:1", keys / "mine.pub")


@pytest.mark.parametrize(
    ("predicate", "change", "complaint"),
    [
        (TEST_RESULT, failed, "did not pass"),
        (TEST_RESULT, better_numbers, "says other numbers than its test result"),
        (TEST_RESULT, other_files, "was of another model"),
        (TEST_RESULT, other_image, "no proof of the kind"),
        (PROVENANCE, other_commit, "its provenance 000"),
        (PROVENANCE, lambda statement: statement.pop("predicate"), "reading the proof"),
    ],
)
def test_without_a_key_what_contradicts_the_image_is_still_found(signed_layout, predicate, change, complaint):
    signed_layout.replace_document(predicate, unsigned(change))
    with pytest.raises(PipelineError, match=complaint):
        verified(f"oci:{signed_layout.layout}:1")


def test_proofs_of_one_image_do_not_prove_another(finished, keys, tmp_path):
    """The weights of another image under the proofs and signatures of a good one."""
    layout = tmp_path / "images"
    good = publish(
        finished, tmp_path / "a", output_oci_model_uri=f"oci:{layout}:1", output_signing_key=f"{keys}/mine.pem"
    )
    changed = with_one_shard_changed(finished, tmp_path / "run")
    bad = publish(changed, tmp_path / "b", output_oci_model_uri=f"oci:{layout}:2", output_model_version="0.2.0")
    forger = Forger(layout)
    index = json.dumps(forger.index)
    (layout / "index.json").write_text(index.replace(good["digest"].replace(":", "-"), bad["digest"].replace(":", "-")))
    with pytest.raises(GateError, match="no signature of"):
        verified(f"oci:{layout}:2", keys / "mine.pub")


@pytest.mark.parametrize("first", [False, True])
def test_notes_that_others_attached_are_not_taken_for_the_card(signed_layout, keys, first):
    layout = Layout(signed_layout.layout)
    manifest = asyncio.run(layout.read("1"))
    asyncio.run(attach([card_document(b"# Notes of the team")], Subject(manifest, "oci"), layout))
    index = signed_layout.index
    if first:
        index["manifests"].insert(0, index["manifests"].pop())
    (signed_layout.layout / "index.json").write_text(json.dumps(index))
    assert verified(f"oci:{signed_layout.layout}:1", keys / "mine.pub").signature == "valid"


def test_damaged_bytes_and_missing_layers_are_noticed(signed_layout):
    image = f"oci:{signed_layout.layout}:1"
    evidence = gather(image, insecure=False)
    signed_layout._path(evidence.layers[0].digest).unlink()
    with pytest.raises(SourceError, match="is missing"):
        gather(image, insecure=False)
    config = evidence.manifest["config"]["digest"]
    signed_layout._path(config).write_bytes(b"{}")
    with pytest.raises(SourceError, match="other bytes than its digest"):
        gather(image, insecure=False)


def test_a_verdict_on_fewer_files_than_the_image_has_is_refused(finished, keys, tmp_path):
    """Signed by ourselves, with a test result that leaves a file of the image out."""
    layout = tmp_path / "images"
    publish(finished, tmp_path / "p", output_oci_model_uri=f"oci:{layout}:1")

    def without_a_file(content: bytes) -> tuple[str, bytes]:
        statement = json.loads(content)
        statement["predicate"]["model"]["files"].pop("config.json")
        return "application/vnd.in-toto+json", json.dumps(statement).encode()

    Forger(layout).replace_document(TEST_RESULT, without_a_file)
    with pytest.raises(GateError, match="was of another model"):
        verified(f"oci:{layout}:1")


def test_what_stands_in_the_place_of_signatures_and_is_none_is_told(signed_layout, finished, keys, tmp_path):
    layout = Layout(signed_layout.layout)
    names = [entry.get("annotations", {}) for entry in signed_layout.index["manifests"]]
    tags = (each.get("org.opencontainers.image.ref.name", "") for each in names)
    tag = next(tag for tag in tags if tag.endswith(".sig"))
    asyncio.run(layout.tag(tag, b'{"schemaVersion":2,"manifests":[]}'))
    with pytest.raises(SourceError, match=f"reading the signatures under the tag {tag}"):
        publish(
            finished,
            tmp_path / "again",
            output_oci_model_uri=f"oci:{signed_layout.layout}:1",
            output_signing_key=f"{keys}/mine.pem",
        )


def test_openssl_accepts_the_signature_where_cosign_looks_for_it(signed_layout, keys, tmp_path):
    """What `cosign verify --key` does with the image behind the tag sha256-DIGEST.sig."""
    evidence = gather(f"oci:{signed_layout.layout}:1", insecure=False)
    tag = evidence.digest.replace(":", "-") + ".sig"
    by_tag = {
        entry.get("annotations", {}).get("org.opencontainers.image.ref.name"): entry
        for entry in signed_layout.index["manifests"]
    }
    manifest = json.loads(signed_layout.read(by_tag[tag]["digest"]))
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    payload = signed_layout.read(layer["digest"])
    assert json.loads(payload) == {
        "critical": {
            "identity": {"docker-reference": "oci"},
            "image": {"docker-manifest-digest": evidence.digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    assert_openssl_accepts(layer["annotations"]["dev.cosignproject.cosign/signature"], payload, keys, tmp_path)


def test_openssl_accepts_the_envelopes_of_the_statements(signed_layout, keys, tmp_path):
    """What is signed is spelt out here once more, as DSSE 1 has it."""
    documents = gather(f"oci:{signed_layout.layout}:1", insecure=False).documents
    envelopes = [json.loads(document.content) for document in documents if document.predicate]
    assert len(envelopes) == 2
    for envelope in envelopes:
        statement = base64.b64decode(envelope["payload"])
        signed = b"DSSEv1 28 application/vnd.in-toto+json " + f"{len(statement)} ".encode() + statement
        (signature,) = envelope["signatures"]
        assert_openssl_accepts(signature["sig"], signed, keys, tmp_path)


def assert_openssl_accepts(signature: str, content: bytes, keys: Path, folder: Path) -> None:
    (folder / "content").write_bytes(content)
    (folder / "signature").write_bytes(base64.b64decode(signature))
    options = ["-verify", f"{keys}/mine.pub", "-signature", str(folder / "signature"), str(folder / "content")]
    assert "Verified OK" in client("openssl", "dgst", "-sha256", *options)


def test_a_key_with_a_password_is_opened_by_it(keys, monkeypatch):
    with pytest.raises(UsageError, match="has a password") as caught:
        load_signer(f"{keys}/locked.pem")
    assert "COSIGN_PASSWORD" in caught.value.remedy
    monkeypatch.setenv("COSIGN_PASSWORD", "wrong")
    with pytest.raises(UsageError, match="cannot be opened with the password in COSIGN_PASSWORD"):
        load_signer(f"{keys}/locked.pem")
    monkeypatch.setenv("COSIGN_PASSWORD", "s3")
    mine: Verifier = load_verifier(f"{keys}/mine.pub")
    assert mine.accepts(b"text", load_signer(f"{keys}/locked.pem").sign(b"text"))


def test_a_key_in_a_variable_is_taken_from_there(keys, monkeypatch):
    monkeypatch.setenv("COSIGN_PRIVATE_KEY", Path(f"{keys}/mine.pem").read_text() + "\n")
    signature = load_signer("env://COSIGN_PRIVATE_KEY").sign(b"text")
    assert load_verifier(f"{keys}/mine.pub").accepts(b"text", signature)
    with pytest.raises(UsageError, match="no key is in the variable NOT_SET"):
        load_signer("env://NOT_SET")


@pytest.mark.parametrize("name", ["ed25519.pem", "mine.pub", "not-there.pem"])
def test_a_key_of_another_kind_is_refused_with_the_way_to_make_one(keys, name):
    with pytest.raises(UsageError, match=name) as caught:
        load_signer(f"{keys}/{name}")
    assert "openssl genpkey" in caught.value.remedy


def test_a_key_that_cosign_alone_reads_is_called_so(tmp_path):
    """As `cosign generate-key-pair` writes it."""
    path = tmp_path / "cosign.key"
    kind = "ENCRYPTED SIGSTORE PRIVATE KEY"
    path.write_text(f"-----BEGIN {kind}-----\neyJrZGYiOnt9fQ==\n-----END {kind}-----\n")
    with pytest.raises(UsageError, match="cosign alone reads") as caught:
        load_signer(str(path))
    assert "openssl genpkey" in caught.value.remedy


def test_who_verifies_is_asked_for_the_publishers_key_and_not_to_make_one(keys):
    (keys / "no.pub").write_text("none")
    for name, complaint in {"mine.pem": "holds a private key", "no.pub": "no public key, as PEM has it"}.items():
        with pytest.raises(UsageError, match=complaint) as caught:
            load_verifier(f"{keys}/{name}")
        assert "the publisher's public key" in caught.value.remedy


def test_the_command_tells_the_chain_and_ends_with_the_right_code(finished, keys, tmp_path):
    image = f"oci:{tmp_path}/images:1"
    publish(finished, tmp_path / "p", output_oci_model_uri=image, output_signing_key=f"{keys}/mine.pem")
    told = command("verify", image, "--key", keys / "mine.pub", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "https://example.org/t.git at commit c0ffee" in told.stdout
    assert "pass, clear, on 100 questions" in told.stdout
    as_json = command("verify", image, "--json", folder=tmp_path)
    assert json.loads(as_json.stdout)["signature"] == "not checked"
    refused = command("verify", image, "--key", keys / "other.pub", folder=tmp_path)
    assert refused.returncode == 5
    missing = command("verify", f"oci:{tmp_path}/images:2", folder=tmp_path)
    assert missing.returncode == 3
    wrong = command("verify", "keeper:s3@127.0.0.1:99999/Org/m:1", folder=tmp_path)
    assert wrong.returncode == 2
    assert "s3" not in wrong.stderr
