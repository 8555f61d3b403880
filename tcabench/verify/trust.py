"""Whose signatures count: keys the verifier holds, never keys that a report brings along."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tcabench.errors import NotVerified, UsageError
from tcabench.evidence.canonical import read_json
from tcabench.evidence.signers.file_key import PUBLIC_SUFFIX, own_key_folder

SCHEMA = "tcabench/trust/v1"
ROLES = ("vendor", "witness", "lab", "meter", "ci", "self")
MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key and whose it is. `keyid` is the hex sha256 of `public_key` (SPKI, DER)."""

    keyid: str
    public_key: bytes
    owner: str
    role: str


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys that a verifier accepts, by key id."""

    keys: Mapping[str, TrustedKey]

    def get(self, keyid: str) -> TrustedKey | None:
        """The key with that id, None when it is not trusted."""
        return self.keys.get(keyid)


def load_trust(files: Sequence[Path] = (), own: bool = True, own_folder: Path | None = None) -> Trust:
    """The keys of all trust files and, unless `own` is False, the user's own (role "self").

    A trust file: {"schema": "tcabench/trust/v1", "keys": [{"keyid", "public_key" (PEM), "owner", "role"}]}.
    raises: UsageError naming the file; an entry with a field that is not known is refused, since it may take
    back what the others grant.
    """
    found = [key for path in files for key in _keys_in(path)]
    if own:
        found += _own_keys(own_folder or own_key_folder())
    keys: dict[str, TrustedKey] = {}
    for key in found:  # the first entry counts: what a trust file says of a key, before that it is one's own
        keys.setdefault(key.keyid, key)
    return Trust(keys)


def trust_document(keys: Sequence[TrustedKey]) -> dict[str, Any]:
    """A trust file holding `keys`, as JSON-ready values."""
    entries = [
        {"keyid": key.keyid, "public_key": _pem(key.public_key), "owner": key.owner, "role": key.role} for key in keys
    ]
    return {"schema": SCHEMA, "keys": entries}


def _own_keys(folder: Path) -> Iterator[TrustedKey]:
    for path in sorted(folder.glob(f"*{PUBLIC_SUFFIX}")) if folder.is_dir() else ():
        der = _der(_content(path), path)
        yield TrustedKey(sha256(der).hexdigest(), der, "you", "self")


def _keys_in(path: Path) -> Iterator[TrustedKey]:
    try:
        document = read_json(_content(path), str(path), MAX_FILE_BYTES)
    except NotVerified as err:
        raise UsageError(str(err), kind="trust") from err
    match document:
        case {"schema": str(schema), "keys": list(entries)} if schema == SCHEMA and len(document) == 2:
            for entry in entries:
                yield _key(entry, path)
        case _:
            raise UsageError(f'{path}: not a trust file: {{"schema": "{SCHEMA}", "keys": [...]}}', kind="trust")


def _key(entry: Any, path: Path) -> TrustedKey:
    match entry:
        case {"keyid": str(keyid), "public_key": str(pem), "owner": str(owner), "role": str(role)} if len(entry) == 4:
            der = _der(pem.encode("utf-8", "replace"), path)
            if sha256(der).hexdigest() != keyid:
                raise UsageError(
                    f"{path}: keyid {keyid[:16]}… of {owner!r} is not that of its public key", kind="trust"
                )
            if role not in ROLES:
                raise UsageError(f"{path}: role {role!r} of {owner!r} is not one of {', '.join(ROLES)}", kind="trust")
            return TrustedKey(keyid, der, owner, role)
    raise UsageError(f"{path}: a key has exactly keyid, public_key, owner and role, each a text", kind="trust")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror or err}", kind="trust") from err


def _der(pem: bytes, path: Path) -> bytes:
    """The SPKI, in DER, behind a public key in PEM, which must be Ed25519."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UsageError(f"{path}: not a public key in PEM", kind="trust") from err
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path}: only Ed25519 keys are verified here", kind="trust")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem(der: bytes) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    return load_der_public_key(der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
