"""SNMP on the wire: our encoding is everybody's, what is not genuine is refused, and nothing from outside gets further
than one kind of error."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.ber import decoder, encoder
from pyasn1.type import univ
from pysnmp.proto import api

from tcabench.power.meters.snmp_ber import (
    OCTETS,
    RESPONSE,
    SEQUENCE,
    Malformed,
    Pdu,
    dotted,
    get_pdu,
    integer,
    item,
    oid,
    take_int,
    take_pdu,
)
from tcabench.power.meters.snmp_client import CommunityTalk
from tcabench.power.meters.snmp_clock import clock_reading
from tcabench.power.meters.snmp_keys import User
from tcabench.power.meters.snmp_usm import UsmTalk
from tests.power.opened_snmp import steady
from tests.power.servers.snmpd import AUTH_SECRET, PRIV_SECRET, snmpd

POWER = oid("1.3.6.1.4.1.13742.6.5.2.3.1.4.1.1.5")
USER = User("tca", "sha256", AUTH_SECRET, "aes128", PRIV_SECRET)
ARCS = st.lists(st.integers(0, 2**32 - 1), max_size=20)


@given(st.integers(-(2**40), 2**40))
def test_numbers_are_encoded_as_everybody_does(value: int) -> None:
    assert int(decoder.decode(integer(value))[0]) == value
    assert take_int(integer(value), 0) == (value, len(integer(value)))


@given(st.integers(0, 1), st.integers(0, 39), ARCS)
def test_names_are_encoded_as_everybody_does(first: int, second: int, arcs: list[int]) -> None:
    name = ".".join(map(str, (first, second, *arcs)))
    assert oid(name) == encoder.encode(univ.ObjectIdentifier(name))
    assert dotted(oid(name)[2:] if len(oid(name)) < 130 else oid(name)[3:]) == name


@given(st.integers(0, 2**31 - 1), st.lists(ARCS, min_size=1, max_size=12))
def test_a_question_is_what_another_engine_understands(number: int, arcs: list[list[int]]) -> None:
    names = [".".join(map(str, (1, 3, *some))) for some in arcs]
    message = CommunityTalk("public").request(number, tuple(oid(name) for name in names))
    understood, rest = decoder.decode(message, asn1Spec=api.v2c.Message())
    pdu = api.v2c.apiMessage.get_pdu(understood)
    assert rest == b""
    assert int(api.v2c.apiPDU.get_request_id(pdu)) == number
    assert [str(name) for name, _ in api.v2c.apiPDU.get_varbinds(pdu)] == names


@given(st.binary(max_size=80), st.integers(0, 200))
def test_any_bytes_are_an_answer_or_malformed_and_nothing_else(noise: bytes, keep: int) -> None:
    sound = item(SEQUENCE, integer(1) + item(OCTETS, b"public") + item(RESPONSE, get_pdu(7, (POWER,))[2:]))
    for talk in (CommunityTalk("public"), UsmTalk(USER)):
        for data in (noise, sound[:keep] + noise):
            try:
                assert isinstance(talk.answer(data, 7), Pdu)
            except Malformed:
                continue


def test_lengths_and_types_that_no_device_sends_are_malformed() -> None:
    bound = item(SEQUENCE, POWER + b"\x42\x84\xff\xff\xff\xff")
    for data in (b"", b"\x30", b"\x30\x80\x00\x00", b"\x30\x85\x01\x01\x01\x01\x01", b"\xa3\x00",
                 item(RESPONSE, integer(1) * 3 + item(SEQUENCE, bound))):  # fmt: skip
        with pytest.raises(Malformed):
            take_pdu(data, 0)


def test_an_unsigned_number_is_never_negative_even_without_its_leading_zero() -> None:
    for tag, held in ((0x41, b"\xff" * 4), (0x42, b"\x00" + b"\xff" * 4), (0x43, b"\xff" * 4), (0x46, b"\xff" * 8)):
        bound = item(SEQUENCE, item(SEQUENCE, POWER + item(tag, held)))
        (value,) = take_pdu(item(RESPONSE, integer(0) * 3 + bound), 0).values
        assert value == int.from_bytes(held, "big")


class Overheard:
    """One question of `talk` to a real snmpd, and its genuine answer."""

    def __init__(self, port: int) -> None:
        self.talk = UsmTalk(USER)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.connect(("127.0.0.1", port))
            line.settimeout(10)
            for self.number in range(100, 104):
                line.send(self.talk.request(self.number, (POWER,)))
                self.answer = line.recv(65535)
                before = self.talk.engine
                if self.talk.answer(self.answer, self.number).kind == RESPONSE:
                    break
        assert before is not None
        self.engine = before

    def heard(self, data: bytes, number: int | None = None) -> Pdu:
        """What the talk makes of `data`, having heard nothing since."""
        self.talk.engine = self.engine
        return self.talk.answer(data, self.number if number is None else number)


@pytest.fixture(scope="module")
def overheard() -> Iterator[Overheard]:
    with snmpd(steady) as peer:
        yield Overheard(peer.port)


def test_a_genuine_answer_is_heard(overheard: Overheard) -> None:
    assert overheard.heard(overheard.answer).values == (4123,)


@settings(deadline=None)
@given(st.data())
def test_a_signed_answer_with_any_bit_changed_is_refused(overheard: Overheard, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(overheard.answer) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = bytearray(overheard.answer)
    changed[at] ^= 1 << bit
    with pytest.raises(Malformed):
        overheard.heard(bytes(changed))


def test_an_answer_to_another_question_is_refused(overheard: Overheard) -> None:
    with pytest.raises(Malformed, match="another question"):
        overheard.heard(overheard.answer, overheard.number + 1)


def test_an_old_answer_sent_again_is_refused(overheard: Overheard) -> None:
    engine = overheard.engine
    for later in (replace(engine, boots=engine.boots + 1), replace(engine, time_s=engine.time_s + 200)):
        overheard.talk.engine = later
        with pytest.raises(Malformed, match="an old answer, sent again"):
            overheard.talk.answer(overheard.answer, overheard.number)


def test_an_answer_less_secure_than_its_question_is_refused(overheard: Overheard) -> None:
    """Somebody on the network answers for the device, without its keys."""
    engine_id = overheard.engine.id
    bound = item(SEQUENCE, item(SEQUENCE, POWER + integer(1)))
    pdu = item(RESPONSE, integer(overheard.number) + integer(0) + integer(0) + bound)
    scoped = item(SEQUENCE, item(OCTETS, engine_id) + item(OCTETS, b"") + pdu)
    for flags in (0, 1):
        header = integer(overheard.number) + integer(65507) + item(OCTETS, bytes((flags,))) + integer(3)
        inner = item(OCTETS, engine_id) + integer(1) + integer(1) + item(OCTETS, b"tca")
        parameters = item(OCTETS, item(SEQUENCE, inner + item(OCTETS, bytes(24 * flags)) + item(OCTETS, b"")))
        with pytest.raises(Malformed, match=r"less secure|wrong digest"):
            overheard.heard(item(SEQUENCE, integer(3) + item(SEQUENCE, header) + parameters + scoped))


@pytest.mark.parametrize(
    ("held", "device_ns", "resolution_ns"),
    [
        (b"\x07\xea\x0b\x17\x10\x05\x06\x00+\x02\x00", 1_795_442_706_000_000_000, 1_000_000_000),
        (b"\x07\xea\x0b\x17\x10\x05\x06\x07+\x02\x00", 1_795_442_706_700_000_000, 100_000_000),
        (b"\x07\xea\x0b\x17\x09\x35\x06\x00-\x04\x1e", 1_795_443_786_000_000_000, 1_000_000_000),
    ],
)
def test_a_date_and_time_with_its_zone_is_an_instant(held: bytes, device_ns: int, resolution_ns: int) -> None:
    """2026-11-23 16:05:06 at +02:00; the same with tenths; 09:53:06 at -04:30."""
    assert clock_reading(held) == (device_ns, resolution_ns)


@given(st.binary(max_size=12))
def test_any_bytes_are_an_instant_or_a_reason(held: bytes) -> None:
    told = clock_reading(held)
    assert told if isinstance(told, str) else told.resolution_ns > 0
