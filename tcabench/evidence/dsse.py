"""DSSE envelopes: what is signed is the payload's bytes and type, never a re-reading of them.

Source: Dead Simple Signing Envelope, protocol 1.0.2. One envelope per signature, as JSON Lines; the common
verifiers refuse an envelope that carries several.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Protocol

from tcabench.errors import NotVerified
from tcabench.evidence.canonical import canonical, read_canonical

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BUNDLE_BYTES = 1_000_000
MAX_ENVELOPES = 16
KEYID = re.compile(r"[0-9a-f]{64}")


class Signing(Protocol):
    """The part of a signer that an envelope needs."""

    @property
    def keyid(self) -> str: ...
    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and its one signature. `keyid` is the hex sha256 of the signer's public key (SPKI, DER)."""

    payload_type: str
    payload: bytes
    keyid: str
    sig: bytes


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: the bytes that are signed. Lengths count bytes, not characters."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, signer: Signing) -> Envelope:
    """`payload` (an in-toto statement) signed by `signer`."""
    return Envelope(PAYLOAD_TYPE, payload, signer.keyid, signer.sign(pae(PAYLOAD_TYPE, payload)))


def holds(envelope: Envelope, public_key: bytes) -> bool:
    """Whether the signature was made over exactly this payload with the Ed25519 key `public_key` (SPKI, DER)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    key = load_der_public_key(public_key)
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(envelope.sig, pae(envelope.payload_type, envelope.payload))
    except InvalidSignature:
        return False
    return True


def write_bundle(envelopes: tuple[Envelope, ...]) -> bytes:
    """The envelopes as JSON Lines, sorted by key, each line canonical: there is one spelling of a bundle."""
    ordered = sorted(envelopes, key=lambda envelope: envelope.keyid)
    return b"".join(canonical(_document(envelope)) + b"\n" for envelope in ordered)


def read_bundle(data: bytes) -> tuple[Envelope, ...]:
    """The envelopes in `data`, which must be exactly what `write_bundle` makes of them, each key once.

    raises: NotVerified saying what is wrong.
    """
    if not data or len(data) > MAX_BUNDLE_BYTES or not data.endswith(b"\n"):
        raise NotVerified(f"signatures: {len(data)} bytes are not a list of envelopes", kind="signatures")
    lines = data.split(b"\n")[:-1]
    if len(lines) > MAX_ENVELOPES:
        raise NotVerified(f"signatures: {len(lines)} envelopes; at most {MAX_ENVELOPES} are read", kind="signatures")
    envelopes = tuple(_envelope(read_canonical(line, "signatures")) for line in lines)
    if len({envelope.keyid for envelope in envelopes}) != len(envelopes) or write_bundle(envelopes) != data:
        raise NotVerified("signatures: the envelopes are not in order, each key once", kind="signatures")
    return envelopes


def strict_b64(text: Any, what: str) -> bytes:
    """The bytes behind base64 `text`, which must be their one spelling (padding, no spare bits, no blanks).

    raises: NotVerified.
    """
    try:
        decoded = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as err:
        raise NotVerified(f"{what}: not base64 ({err})", kind="malformed") from err
    if base64.b64encode(decoded).decode("ascii") != text:
        raise NotVerified(f"{what}: not the canonical base64 of its bytes", kind="malformed")
    return decoded


def _document(envelope: Envelope) -> dict[str, Any]:
    return {
        "payload": base64.b64encode(envelope.payload).decode("ascii"),
        "payloadType": envelope.payload_type,
        "signatures": [{"keyid": envelope.keyid, "sig": base64.b64encode(envelope.sig).decode("ascii")}],
    }


def _envelope(document: Any) -> Envelope:
    match document:
        case {"payload": payload, "payloadType": str(kind), "signatures": [{"keyid": str(keyid), "sig": sig} as one]}:
            if len(document) == 3 and len(one) == 2 and KEYID.fullmatch(keyid) and kind == PAYLOAD_TYPE:
                return Envelope(kind, strict_b64(payload, "payload"), keyid, strict_b64(sig, "signature"))
    raise NotVerified("signatures: not a DSSE envelope with one signature and a sha256 key id", kind="signatures")
