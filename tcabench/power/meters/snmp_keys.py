"""An SNMPv3 user's keys: from passphrases to keys for one device (RFC 3414, section A.2), and the AES they are for."""

import hashlib
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES

PHRASE_OCTETS = 1_048_576  # what a passphrase is repeated to


@dataclass(frozen=True, slots=True)
class Digest:
    """A hash by its name in `hashlib`, in words, and how many octets of its HMAC a message carries."""

    name: str
    words: str
    octets: int


DIGESTS = {
    "md5": Digest("md5", "MD5", 12), "sha1": Digest("sha1", "SHA-1", 12),  # RFC 3414, sections 6 and 7
    "sha224": Digest("sha224", "SHA-224", 16), "sha256": Digest("sha256", "SHA-256", 24),  # RFC 7860, section 4
    "sha384": Digest("sha384", "SHA-384", 32), "sha512": Digest("sha512", "SHA-512", 48),
}  # fmt: skip
CIPHERS = {
    "aes128": ("AES-128", 16),  # RFC 3826
    "aes192": ("AES-192", 24),  # draft-blumenthal-aes-usm-04, as Net-SNMP has it
    "aes256": ("AES-256", 32),
    "aes192c": ("AES-192 (key as in 3DES)", 24),  # draft-reeder-snmpv3-usm-3desede-00, as Cisco and others have it
    "aes256c": ("AES-256 (key as in 3DES)", 32),
}
"""In words, and octets of the key. The two ways to stretch a digest that is shorter than the key differ."""


@dataclass(frozen=True, slots=True, repr=False)
class User:
    """Who reads, with what: `auth` and `priv` are of DIGESTS and CIPHERS ("": none). Without a repr: secrets."""

    name: str
    auth: str = ""
    auth_secret: str = ""
    priv: str = ""
    priv_secret: str = ""


def keys(user: User, engine_id: bytes) -> tuple[bytes, bytes]:
    """The user's keys for the digest and for the cipher at the engine `engine_id` (b"" where it has none)."""
    if not user.auth:
        return b"", b""
    auth_key = localized(user.auth, user.auth_secret.encode(), engine_id)
    if not user.priv:
        return auth_key, b""
    return auth_key, _stretched(user, localized(user.auth, user.priv_secret.encode(), engine_id), engine_id)


def localized(digest: str, secret: bytes, engine_id: bytes) -> bytes:
    """The key of `secret` for one engine. RFC 3414, sections A.2 and 2.6."""
    repeated = secret * (PHRASE_OCTETS // len(secret) + 1)
    key = hashlib.new(digest, repeated[:PHRASE_OCTETS]).digest()
    return hashlib.new(digest, key + engine_id + key).digest()


def _stretched(user: User, key: bytes, engine_id: bytes) -> bytes:
    _, octets = CIPHERS[user.priv]
    while len(key) < octets:
        if user.priv.endswith("c"):
            key += localized(user.auth, key, engine_id)
        else:
            key += hashlib.new(user.auth, key).digest()
    return key[:octets]


def aes(key: bytes, boots: int, time_s: int, salt: bytes) -> Cipher[Any]:
    """AES in CFB mode with the initial vector of RFC 3826, section 3.1.2.1."""
    return Cipher(AES(key), CFB(boots.to_bytes(4, "big") + time_s.to_bytes(4, "big") + salt))
