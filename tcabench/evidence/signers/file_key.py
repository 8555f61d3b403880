"""An Ed25519 key in a file of the user's own, made on first use. Source: RFC 8032, RFC 8410 (PKCS #8, SPKI)."""

import os
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from tcabench.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE = "ed25519.pem"
PUBLIC_SUFFIX = ".pub.pem"
FINGERPRINT_DIGITS = 32  # 128 bits: nobody finds a second key with the same one


class FileKey:
    """An opened key. It never shows the private half, not even in its repr."""

    def __init__(self, private: "Ed25519PrivateKey", path: Path) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._private, self.path = private, path
        self.public_key = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public_pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.keyid = sha256(self.public_key).hexdigest()

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature over `message`."""
        return self._private.sign(message)

    def fingerprint(self) -> str:
        """The start of the key id in groups of four, short enough to read over the phone."""
        return fingerprint(self.keyid)


def fingerprint(keyid: str) -> str:
    """`keyid` as people compare it: its first 32 hex digits (128 bits) in groups of four."""
    return " ".join(keyid[at : at + 4] for at in range(0, FINGERPRINT_DIGITS, 4))


def own_key_folder() -> Path:
    """Where the user's own keys lie."""
    from platformdirs import user_config_path

    return user_config_path("tcabench") / "keys"


def open_file_key(path: Path | None = None, passphrase_env: str | None = None) -> FileKey:
    """The key in `path` (default: the user's own), made there first if there is none.

    `passphrase_env` names the environment variable with the passphrase, to open an encrypted key or to encrypt a
    new one. raises: UsageError when the key cannot be read, made or trusted to be private.
    """
    path = path or own_key_folder() / FILE
    passphrase = _passphrase(passphrase_env)
    try:
        if not path.exists():
            _make(path, passphrase)
        key = FileKey(_load(path, passphrase), path)
        _show_public(key)
    except OSError as err:
        raise UsageError(f"signing key {path}: {err.strerror or err}", kind="key") from err
    return key


def public_path(path: Path) -> Path:
    """Where the public half of the key in `path` is written."""
    return path.with_name(path.stem + PUBLIC_SUFFIX)


def _passphrase(env: str | None) -> bytes | None:
    if env is None:
        return None
    value = os.environ.get(env, "")
    if not value:
        raise UsageError(
            f"the environment variable {env}, which should hold the key's passphrase, is not set", kind="key"
        )
    return value.encode("utf-8")


def _make(path: Path, passphrase: bytes | None) -> None:
    """Write a new key whole, under another name, then link it: two first runs at once end up with one key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    locked = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{token_hex(8)}.part")
    try:
        _write_new(part, pem, 0o600)
        with suppress(FileExistsError):  # another run made one in the meantime: that one counts
            os.link(part, path)
    finally:
        part.unlink(missing_ok=True)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Create `path` (which must not exist, nor be a link) with `data`, never readable by others in between."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with open(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(data)
        file.flush()
        os.fsync(fd)


def _load(path: Path, passphrase: bytes | None) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(_private_bytes(path), passphrase)
    except TypeError as err:  # a passphrase is missing, or was given for a key that has none
        raise UsageError(f"signing key {path}: {err}; name the variable that holds it, or none", kind="key") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UsageError(f"signing key {path}: not a private key in PEM, or a wrong passphrase", kind="key") from err
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(f"signing key {path}: not an Ed25519 key", kind="key")
    return private


def _private_bytes(path: Path) -> bytes:
    """The file's content. Mode and content are read from one open file, so that they belong together."""
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise UsageError(
                f"signing key {path}: others can read it (mode {mode:04o}); run: chmod 600 {path}",
                kind="key-permissions",
            )
        return file.read()


def _show_public(key: FileKey) -> None:
    """Keep the public half beside the key, for trust files of others."""
    path = public_path(key.path)
    if path.exists() and path.read_bytes() != key.public_pem:
        path.unlink()  # of the key that was here before: handed out, it would have people trust the wrong one
    if not path.exists():
        with suppress(FileExistsError):
            _write_new(path, key.public_pem, 0o644)
