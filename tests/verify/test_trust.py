"""Trust files: they say whose key it is, and anything else in them is refused."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tcabench.errors import UsageError
from tcabench.evidence.signers.file_key import open_file_key
from tcabench.verify import TrustedKey, load_trust, trust_document


@pytest.fixture
def key(tmp_path):
    return open_file_key(tmp_path / "k.pem")


@pytest.fixture
def written(tmp_path, key):
    entry = TrustedKey(key.keyid, key.public_key, "Rig 1", "lab")
    path = tmp_path / "trust.json"
    path.write_text(json.dumps(trust_document([entry])))
    return path, entry


def test_a_trust_file_comes_back(written):
    path, entry = written
    assert dict(load_trust([path], own=False).keys) == {entry.keyid: entry}
    assert load_trust([path], own=False).get("0" * 64) is None


def test_a_trust_file_goes_before_ones_own_keys(tmp_path, own_home):
    key = open_file_key()
    entry = TrustedKey(key.keyid, key.public_key, "Rig 1", "lab")
    (tmp_path / "trust.json").write_text(json.dumps(trust_document([entry])))
    assert load_trust().get(key.keyid).role == "self"
    assert load_trust([tmp_path / "trust.json"]).get(key.keyid).role == "lab"
    assert load_trust(own=False).keys == {}


def test_without_any_key_nothing_is_trusted(own_home):
    assert load_trust().keys == {}


def _p256():
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    "news",
    [
        {"revoked_at": "2026-01-01"},
        {"role": "boss"},
        {"owner": 1},
        {"keyid": "0" * 64},
        {"public_key": "hello"},
        {"public_key": _p256()},
    ],
)
def test_an_entry_with_anything_else_in_it_is_refused(written, news):
    path, _ = written
    document = json.loads(path.read_text())
    document["keys"][0] |= news
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"trust\.json") as caught:
        load_trust([path])
    assert caught.value.kind == "trust"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"schema":"tcabench/trust/v2","keys":[]}', b'{"keys":[]}', b"\xff"])
def test_other_files_are_no_trust_files(tmp_path, content):
    path = tmp_path / "trust.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"trust\.json"):
        load_trust([path])


def test_a_trust_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        load_trust([tmp_path / "gone.json"])
