"""Envelopes: the encoding of the specification, one spelling, one signature."""

import base64
import json

import pytest

from tcabench.errors import NotVerified
from tcabench.evidence.canonical import canonical
from tcabench.evidence.dsse import Envelope, holds, pae, read_bundle, sign, strict_b64, write_bundle
from tcabench.evidence.signers.file_key import open_file_key


# the example and the rules of DSSE protocol 1.0.2; lengths are bytes
@pytest.mark.parametrize(
    ("kind", "payload", "encoded"),
    [
        ("http://example.com/HelloWorld", b"hello world", b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"),
        ("", b"", b"DSSEv1 0  0 "),
        ("ä", "ö€".encode(), b"DSSEv1 2 \xc3\xa4 5 \xc3\xb6\xe2\x82\xac"),
        ("a 1", b" \n\x00", b"DSSEv1 3 a 1 3  \n\x00"),
    ],
)
def test_pre_authentication_encoding(kind, payload, encoded):
    assert pae(kind, payload) == encoded


@pytest.fixture
def keys(tmp_path):
    return [open_file_key(tmp_path / f"{name}.pem") for name in "ab"]


def test_a_bundle_comes_back_and_its_signatures_hold_for_their_own_key_only(keys):
    envelopes = tuple(sign(b'{"n":1}', key) for key in keys)
    read = read_bundle(write_bundle(envelopes))
    assert set(read) == set(envelopes)
    for envelope in read:
        assert [holds(envelope, key.public_key) for key in keys] == [envelope.keyid == key.keyid for key in keys]


def _documents(key):
    line = write_bundle((sign(b'{"n":1}', key),))
    return line, json.loads(line)


def _changed(document, **news):
    return canonical({**document, **news}) + b"\n"


def test_every_other_spelling_is_refused(keys):
    line, document = _documents(keys[0])
    one = document["signatures"][0]
    other = keys[1].keyid
    wrong = [
        b"",
        line.rstrip(),
        line + b"\n",
        line + line,
        b" " + line,
        line.replace(b"\n", b"\r\n"),
        json.dumps(document).encode() + b"\n",
        _changed(document, extra=1),
        _changed(document, payloadType="text/plain"),
        _changed(document, payload=document["payload"] + "="),
        _changed(document, signatures=[one, {**one, "keyid": other}]),
        _changed(document, signatures=[]),
        _changed(document, signatures=[{**one, "keyid": one["keyid"].upper()}]),
        _changed(document, signatures=[{"sig": one["sig"]}]),
        _changed(document, signatures=[{**one, "cert": ""}]),
        line[:-2] + b',"payload":""}\n',
    ]
    for data in wrong:
        with pytest.raises(NotVerified):
            read_bundle(data)


def test_envelopes_stand_in_one_order(keys):
    lines = [write_bundle((sign(b"{}", key),)) for key in keys]
    read_bundle(b"".join(sorted(lines, key=lambda line: json.loads(line)["signatures"][0]["keyid"])))
    with pytest.raises(NotVerified, match="order"):
        read_bundle(b"".join(sorted(lines, key=lambda line: json.loads(line)["signatures"][0]["keyid"], reverse=True)))


@pytest.mark.parametrize("text", ["QQ", "QR==", "QQ==\n", "Q Q=", "QQ=", "QUI_", None, 7, "ä"])
def test_base64_has_one_spelling(text):
    assert strict_b64("QQ==", "x") == b"A"
    with pytest.raises(NotVerified):
        strict_b64(text, "x")


def test_a_signature_covers_payload_and_type(keys):
    good = sign(b"{}", keys[0])
    assert holds(good, keys[0].public_key)
    assert not holds(Envelope("text/plain", b"{}", good.keyid, good.sig), keys[0].public_key)
    assert not holds(Envelope(good.payload_type, b"{ }", good.keyid, good.sig), keys[0].public_key)
    assert not holds(Envelope(good.payload_type, b"{}", good.keyid, good.sig[:-1]), keys[0].public_key)


def test_a_signature_with_an_unreduced_s_is_refused(keys):
    order = 2**252 + 27742317777372353535851937790883648493
    good = sign(b"{}", keys[0])
    s = int.from_bytes(good.sig[32:], "little") + order
    twin = Envelope(good.payload_type, good.payload, good.keyid, good.sig[:32] + s.to_bytes(32, "little"))
    assert base64.b64encode(twin.sig) != base64.b64encode(good.sig)
    assert not holds(twin, keys[0].public_key)
