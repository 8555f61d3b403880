"""The signing key: the user's own, private, and the same one next time."""

import os
import stat
import subprocess
import sys
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
    load_pem_public_key,
)

from tcabench.errors import UsageError
from tcabench.evidence.signers import SIGNERS
from tcabench.evidence.signers.file_key import fingerprint, open_file_key, own_key_folder, public_path


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_on_first_use_for_its_owner_alone(own_home):
    old = os.umask(0)
    try:
        key = SIGNERS.load("file")()
    finally:
        os.umask(old)
    assert key.path == own_home / "tcabench" / "keys" / "ed25519.pem" == own_key_folder() / "ed25519.pem"
    assert (_mode(key.path), _mode(key.path.parent)) == (0o600, 0o700)
    assert sorted(p.name for p in key.path.parent.iterdir()) == ["ed25519.pem", "ed25519.pub.pem"]
    assert open_file_key().keyid == key.keyid


def test_the_public_half_is_what_verifies(tmp_path):
    key = open_file_key(tmp_path / "k.pem")
    load_der_public_key(key.public_key).verify(key.sign(b"message"), b"message")
    load_pem_public_key(public_path(key.path).read_bytes()).verify(key.sign(b"message"), b"message")
    assert key.keyid == sha256(key.public_key).hexdigest()
    assert key.fingerprint() == fingerprint(key.keyid)
    assert key.fingerprint().replace(" ", "") == key.keyid[:32]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    key = open_file_key(tmp_path / "k.pem")
    key.path.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600") as caught:
        open_file_key(key.path)
    assert caught.value.kind == "key-permissions"


def test_a_passphrase_locks_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_PASS", "correct horse")
    key = open_file_key(tmp_path / "k.pem", "MY_PASS")
    assert b"ENCRYPTED" in key.path.read_bytes()
    assert open_file_key(key.path, "MY_PASS").keyid == key.keyid
    with pytest.raises(UsageError, match=r"[Pp]assword"):
        open_file_key(key.path)
    monkeypatch.setenv("MY_PASS", "wrong")
    with pytest.raises(UsageError, match="wrong passphrase"):
        open_file_key(key.path, "MY_PASS")
    monkeypatch.delenv("MY_PASS")
    with pytest.raises(UsageError, match="MY_PASS"):
        open_file_key(key.path, "MY_PASS")


def test_a_passphrase_for_a_key_without_one_is_refused(tmp_path, monkeypatch):
    open_file_key(tmp_path / "k.pem")
    monkeypatch.setenv("MY_PASS", "x")
    with pytest.raises(UsageError, match=r"k\.pem"):
        open_file_key(tmp_path / "k.pem", "MY_PASS")


def test_other_files_are_no_keys(tmp_path):
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, why in ((b"", "not a private key"), (b"hello", "not a private key"), (other, "Ed25519")):
        path = tmp_path / "k.pem"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(UsageError, match=why):
            open_file_key(path)


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="signing key"):
        open_file_key(tmp_path / "file" / "k.pem")


def test_first_runs_at_the_same_time_end_up_with_one_key(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tcabench.evidence.signers.file_key import open_file_key\n"
        "print(open_file_key(Path(sys.argv[1])).keyid)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "k.pem")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({child.communicate()[0] for child in children}) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["k.pem", "k.pub.pem"]


def test_the_private_half_is_never_shown(tmp_path):
    key = open_file_key(tmp_path / "k.pem")
    assert "PRIVATE" not in repr(key) + str(vars(key))
