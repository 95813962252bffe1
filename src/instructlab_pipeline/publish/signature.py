"""Signatures with a key of one's own: what `cosign verify --key` reads for images, DSSE envelopes for statements.

ECDSA on P-256 over SHA-256, deterministic (RFC 6979): the same image signed again is the same signature.
"""

import base64
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructlab_pipeline.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

PASSWORD_VARIABLE = "COSIGN_PASSWORD"  # noqa: S105 - a variable's name
IN_VARIABLE = "env://"  # as cosign has it
ENVELOPE_MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
PAYLOAD_TYPE = "cosign container image signature"
HOW_TO_MAKE_KEYS = (
    "make a pair with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem` and "
    "`openssl pkey -in key.pem -pubout -out key.pub`"
)
WHICH_KEY = "name the file with the publisher's public key: PEM, on the curve P-256"
_PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_OF_COSIGN = re.compile(rb"BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY")  # `cosign generate-key-pair`


@dataclass(frozen=True)
class Signer:
    _key: "EllipticCurvePrivateKey"

    def sign(self, content: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._key.sign(content, ECDSA(SHA256(), deterministic_signing=True))

    @property
    def verifier(self) -> "Verifier":
        return Verifier(self._key.public_key())


@dataclass(frozen=True)
class Verifier:
    _key: "EllipticCurvePublicKey"

    def accepts(self, content: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            self._key.verify(signature, content, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    @property
    def fingerprint(self) -> str:
        """sha256 of the public key in DER."""
        from hashlib import sha256

        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return sha256(self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def load_signer(path: str) -> Signer:
    """The private key in a PEM file, or in the variable NAME of `env://NAME`; COSIGN_PASSWORD is its password, if any.

    Raises:
        UsageError: it cannot be read, opened, or is of another kind.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    password = os.environ.get(PASSWORD_VARIABLE)
    content = _read(path, HOW_TO_MAKE_KEYS)
    if _OF_COSIGN.search(content):
        raise UsageError(
            f"the signing key {path} is in a form that cosign alone reads",
            remedy=f"{HOW_TO_MAKE_KEYS}: cosign verifies with that key.pub as well",
        )
    if _PRIVATE.search(content) is None:
        raise _unusable(path, "private key, as PEM has it", HOW_TO_MAKE_KEYS)
    try:
        key = load_pem_private_key(content, password.encode() if password else None)
    except TypeError:
        word = "has a password" if not password else "has no password, but one is given"
        raise UsageError(
            f"the signing key {path} {word}", remedy=f"set {PASSWORD_VARIABLE} where there is one, and only there"
        ) from None
    except ValueError:
        word = f"cannot be opened with the password in {PASSWORD_VARIABLE}" if password else "is damaged"
        raise UsageError(f"the signing key {path} {word}", remedy=f"set {PASSWORD_VARIABLE} right") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise _unusable(path, "private key on the curve P-256", HOW_TO_MAKE_KEYS)
    return Signer(key)


def load_verifier(path: str) -> Verifier:
    """The public key in a PEM file.

    Raises:
        UsageError: it cannot be read, or is of another kind.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path, WHICH_KEY)
    if _PRIVATE.search(content):
        raise UsageError(f"{path} holds a private key, which is for signing", remedy=WHICH_KEY)
    try:
        key = load_pem_public_key(content)
    except ValueError:
        raise _unusable(path, "public key, as PEM has it", WHICH_KEY) from None
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise _unusable(path, "public key on the curve P-256", WHICH_KEY)
    return Verifier(key)


def image_payload(name: str, digest: str) -> bytes:
    """What is signed of an image: the "simple signing" document of containers/image, as cosign writes it.

    `name` is the image's without a tag.
    """
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": digest},
        "type": PAYLOAD_TYPE,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def signed_digest(payload: bytes) -> str | None:
    """The manifest that such a document speaks of."""
    try:
        critical = json.loads(payload)["critical"]
        return str(critical["image"]["docker-manifest-digest"]) if critical["type"] == PAYLOAD_TYPE else None
    except (ValueError, KeyError, TypeError):
        return None


def envelope(statement: bytes, media_type: str, signer: Signer) -> bytes:
    """The statement in a DSSE envelope."""
    signature = signer.sign(_pre_authentication(media_type, statement))
    document = {
        "payloadType": media_type,
        "payload": base64.b64encode(statement).decode(),
        "signatures": [{"keyid": "", "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def opened(envelope: bytes, verifier: Verifier | None) -> bytes | None:
    """The statement in an envelope; None where it is none, or not signed by the verifier's key."""
    try:
        document: dict[str, Any] = json.loads(envelope)
        statement = base64.b64decode(document["payload"])
        signed = _pre_authentication(document["payloadType"], statement)
        signatures = [base64.b64decode(entry["sig"]) for entry in document["signatures"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if verifier is None or any(verifier.accepts(signed, signature) for signature in signatures):
        return statement
    return None


def _pre_authentication(media_type: str, content: bytes) -> bytes:
    """DSSE 1: what is signed names its type and lengths, so that no other document can be read into it."""
    return b"DSSEv1 %d %s %d %s" % (len(media_type.encode()), media_type.encode(), len(content), content)


def _read(path: str, remedy: str) -> bytes:
    if path.startswith(IN_VARIABLE):
        variable = path.removeprefix(IN_VARIABLE)
        if content := os.environ.get(variable, "").strip():
            return content.encode()
        raise UsageError(f"no key is in the variable {variable}, which {path} names", remedy=remedy)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read: {error.strerror}", remedy=remedy) from None


def _unusable(path: str, wanted: str, remedy: str) -> UsageError:
    return UsageError(f"{path} holds no {wanted}", remedy=remedy)
