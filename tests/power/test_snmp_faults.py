"""SNMP meters when something goes wrong: it is said, no number changes, and the meter is back when the device is."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from pyasn1.codec.ber import decoder, encoder
from pyasn1.type import univ
from pysnmp.proto import rfc1905
from pysnmp.proto.api import v2c

from tcabench.clock import SystemClock
from tcabench.errors import MeterError
from tcabench.power.meters import snmp_setup
from tcabench.power.meters.snmp import open_snmp
from tcabench.power.meters.snmp_answer import TRIES, Value
from tcabench.power.meters.snmp_plain import PlainClient
from tcabench.power.recording import recording
from tests.power.opened_snmp import channel, opened, stamps, steady, values, values_again
from tests.power.servers.snmp_agent import snmp_agent

RARITAN = "1.3.6.1.4.1.13742.6"
POWER, ENERGY = f"{RARITAN}.5.2.3.1.4.1.1.5", f"{RARITAN}.5.2.3.1.4.1.1.8"
NAME = "1.3.6.1.4.1.99999.1"


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snmp_setup, "OPEN_S", 0.4)


def test_an_agent_that_falls_silent_is_an_error_and_comes_back() -> None:
    with snmp_agent(steady) as agent, opened(agent.port, more="&period=0.2") as meter:
        agent.silent = True
        for _ in range(2):
            began_s = time.monotonic()
            with pytest.raises(MeterError, match="does not answer") as caught:
                meter.read()
            assert caught.value.kind == "meter-unreachable"
            assert time.monotonic() - began_s < 5
        agent.silent = False
        assert values_again(meter)["power"] == 412.3


@pytest.mark.usefixtures("_impatient")
def test_silence_in_v2c_is_explained_with_all_it_may_mean() -> None:
    with snmp_agent(steady) as agent:
        agent.silent = True
        with pytest.raises(MeterError, match=r"wrong community and an access list.*look the same") as caught:
            open_snmp(f"//127.0.0.1:{agent.port}?map=raritan-px")
        assert caught.value.kind == "meter-unreachable"


@pytest.mark.usefixtures("_impatient")
def test_a_port_at_which_nothing_listens_is_silence() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        port = line.getsockname()[1]
    with pytest.raises(MeterError, match="does not answer") as caught:
        open_snmp(f"//127.0.0.1:{port}?map=raritan-px")
    assert caught.value.kind == "meter-unreachable"


def test_a_host_that_is_not_there_is_said_so() -> None:
    with pytest.raises(MeterError, match="there is no such host") as caught:
        open_snmp("//no-such-host.invalid?map=raritan-px")
    assert caught.value.kind == "meter-unreachable"


def test_lost_packets_cost_time_but_change_no_number() -> None:
    with snmp_agent(steady) as agent, opened(agent.port) as meter:
        agent.drop_share, agent.asked = 0.3, 0
        read = []
        for _ in range(12):
            with suppress(MeterError):  # now and then all packets of a reading are lost
                read.append(values(meter)["power"])
        assert set(read) == {412.3}
        assert len(read) >= 8
        assert agent.asked > 12


def test_what_comes_late_is_not_taken_for_the_answer_to_a_later_question() -> None:
    with late_device() as port:
        client = PlainClient("127.0.0.1", port, b"public", "")
        try:
            with pytest.raises(MeterError, match="does not answer"):
                client.get([NAME], 0.2)
            assert client.get([NAME], 5.0) == [TRIES + 1]
        finally:
            client.close()


@pytest.mark.parametrize(
    "packet",
    [
        b"", b"\x30", b"\x30\x80", b"\x30\x88" + 8 * b"\xff", b"\x30\x84\xff\xff\xff\xff\x02\x01\x01",
        2000 * b"\x30\x80", b"\x02\x01\x01", b"\x30\x03\x02\x01\x01", bytes(range(256)),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_passed_over(packet: bytes) -> None:
    """Anybody may send anything to a port; what comes of it is a reading or a MeterError."""
    with answering(lambda asked: packet) as port, closing(PlainClient("127.0.0.1", port, b"public", "")) as client:
        with pytest.raises(MeterError, match="does not answer") as caught:
            client.get([NAME], 0.1)
        assert caught.value.kind == "meter-unreachable"


@pytest.mark.parametrize(
    ("status", "index", "words"), [(5, 1, "error 5"), (2**31, 0, "passed over"), (16, 0, "error 16")]
)
def test_an_error_is_told_if_it_can_be_one(status: int, index: int, words: str) -> None:
    def answer(asked: bytes) -> bytes:
        message, _ = decoder.decode(asked, asn1Spec=v2c.Message())
        number = univ.Integer(int(v2c.apiPDU.get_request_id(v2c.apiMessage.get_pdu(message))))
        inner = b"".join(encoder.encode(one) for one in (number, univ.Integer(status), univ.Integer(index)))
        pdu = bytes([0xA2, len(inner) + 2]) + inner + b"\x30\x00"
        body = encoder.encode(univ.Integer(1)) + encoder.encode(univ.OctetString("public")) + pdu
        return bytes([0x30, len(body)]) + body

    with (
        answering(answer) as port,
        closing(PlainClient("127.0.0.1", port, b"public", "")) as client,
        pytest.raises(MeterError, match=words),
    ):
        client.get([NAME], 0.3)


def test_every_kind_of_value_is_read() -> None:
    """Those of RFC 2578 and what RFC 3416 says where there is none."""
    values: list[tuple[Any, Value]] = [
        (v2c.Integer(-5), -5), (v2c.Integer(-(2**31)), -(2**31)), (v2c.Counter32(2**32 - 1), 2**32 - 1),
        (v2c.Counter64(2**64 - 1), 2**64 - 1), (v2c.Gauge32(7), 7), (v2c.TimeTicks(8), 8),
        (v2c.OctetString("ab"), b"ab"), (v2c.OctetString(""), b""), (v2c.ObjectIdentifier("1.3.6.1"), b"1.3.6.1"),
        (v2c.Opaque("x"), b"x"), (v2c.IpAddress("10.0.0.1"), bytes([10, 0, 0, 1])), (v2c.null, None),
        (rfc1905.noSuchObject, None), (rfc1905.noSuchInstance, None), (rfc1905.endOfMibView, None),
        (v2c.OctetString(300 * "c"), 300 * b"c"),
    ]  # fmt: skip
    names = [f"{NAME}.{place}" for place in range(len(values))]

    def answer(asked: bytes) -> bytes:
        message, _ = decoder.decode(asked, asn1Spec=v2c.Message())
        response = v2c.apiMessage.get_response(message)
        v2c.apiPDU.set_varbinds(
            v2c.apiMessage.get_pdu(response), [(name, value) for name, (value, _) in zip(names, values, strict=True)]
        )
        return bytes(encoder.encode(response))

    with answering(answer) as port, closing(PlainClient("127.0.0.1", port, b"public", "")) as client:
        assert client.get(names, 5.0) == [plain for _, plain in values]


def test_a_map_with_an_oid_that_cannot_be_asked_shows_no_community() -> None:
    with closing(PlainClient("127.0.0.1", 9, b"topsecret", "")) as client:
        with pytest.raises(MeterError, match="an OID that SNMP has no room for") as caught:
            client.get(["1.99.3"], 0.1)
        assert "topsecret" not in str(caught.value)


def test_a_missing_object_at_opening_is_a_wrong_map() -> None:
    with snmp_agent(steady, "eaton-epdu") as agent:
        for options in ("apc-rpdu2", "eaton-epdu&outlet=6", "raritan-px"):
            with pytest.raises(MeterError, match=r"answers, but not with power: .*Is it the right map") as caught:
                open_snmp(f"//127.0.0.1:{agent.port}?map={options}")
            assert caught.value.kind == "meter-map"


def test_an_object_that_goes_missing_in_mid_run_is_left_out() -> None:
    with snmp_agent(steady) as agent, opened(agent.port) as meter:
        energy = agent.objects.pop(ENERGY)
        assert set(values(meter)) == {"power", "apparent_power"}
        agent.objects[ENERGY] = energy
        assert set(values(meter)) == {"power", "apparent_power", "energy"}


def test_an_optional_channel_that_the_device_lacks_is_left_out_and_named() -> None:
    with snmp_agent(steady, "eaton-epdu") as agent, opened(agent.port, "eaton-epdu", "&outlet=5") as meter:
        assert set(values(meter)) == {"power", "energy"}
        assert "marks it as not available (-1)" in meter.facts()["without_apparent_power"]["why"]
    with snmp_agent(steady) as agent:
        agent.objects = {name: held for name, held in agent.objects.items() if not name.endswith(".1.1.8")}
        with opened(agent.port) as meter:
            assert set(values(meter)) == {"power", "apparent_power"}
            assert "no decimal digits" in meter.facts()["without_energy"]["why"]


@pytest.mark.parametrize(("name", "gone"), [("eaton-epdu", -1), ("servertech-sentry4", -1), ("apc-rpdu2", -1)])
def test_what_the_device_marks_as_not_available_is_no_reading_and_never_0(name: str, gone: int) -> None:
    power = {
        "eaton-epdu": "1.3.6.1.4.1.534.6.6.7.3.5.1.4.0.1",
        "servertech-sentry4": "1.3.6.1.4.1.1718.4.1.3.3.1.3.1.1",
        "apc-rpdu2": "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1",
    }[name]
    with snmp_agent(steady, name) as agent, opened(agent.port, name) as meter:
        there = agent.objects[power]
        agent.objects[power] = ("integer", lambda: gone)
        assert "power" not in values(meter)
        with pytest.raises(MeterError, match=r"marks it as not available \(-1\)"), opened(agent.port, name):
            pass
        agent.objects[power] = there
        assert "power" in values(meter)


def test_a_reading_that_the_device_says_is_unusable_is_left_out() -> None:
    with snmp_agent(steady) as agent, opened(agent.port) as meter:
        agent.objects[f"{RARITAN}.5.2.3.1.2.1.1.5"] = ("integer", lambda: 2)  # IsAvailable: false
        assert set(values(meter)) == {"apparent_power", "energy"}
    with snmp_agent(steady, "servertech-sentry4") as agent, opened(agent.port, "servertech-sentry4") as meter:
        for state, is_there in ((16, True), (9, False)):  # a warning about the load; a read error
            agent.objects["1.3.6.1.4.1.1718.4.1.3.3.1.4.1.1"] = ("integer", lambda state=state: state)
            assert ("power" in values(meter)) is is_there


def test_text_where_a_number_belongs_is_refused_at_opening_and_left_out_later() -> None:
    with snmp_agent(steady) as agent, opened(agent.port) as meter:
        agent.objects[POWER] = ("string", lambda: "412.3")
        assert "power" not in values(meter)
        with pytest.raises(MeterError, match="it holds text, not a number"), opened(agent.port):
            pass


def test_a_frozen_device_stands_still_with_its_stamps() -> None:
    with snmp_agent(lambda t: 1000 + 5000 * t) as agent, opened(agent.port) as meter:
        agent.load.frozen = True
        first = (values(meter), stamps(meter))
        agent.device.clock_offset_s = 7.0
        assert (values(meter), stamps(meter)) == first
        agent.load.frozen = False
        assert values(meter)["power"] > first[0]["power"]
        assert stamps(meter) != first[1]


def test_a_counter_that_is_reset_is_read_as_it_is() -> None:
    with snmp_agent(steady) as agent, opened(agent.port) as meter:
        before = values(meter)["energy"]
        agent.load.reset_counter()
        assert values(meter)["energy"] == 0 < before


def test_a_counter_above_2_to_the_31_is_no_negative_number() -> None:
    with snmp_agent(steady) as agent, opened(agent.port) as meter:
        agent.objects[ENERGY] = ("gauge", lambda: 4_294_967_295)
        assert values(meter)["energy"] == 4_294_967_295 * 3600


@pytest.mark.usefixtures("_impatient")
def test_no_secret_is_in_facts_or_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDU", "open sesame")
    with snmp_agent(steady) as agent, pytest.raises(MeterError) as caught:
        open_snmp(f"//127.0.0.1:{agent.port}?map=raritan-px&community_env=PDU")
    assert "sesame" not in str(caught.value)


def test_what_v2c_is_worth_is_a_fact() -> None:
    with snmp_agent(steady) as agent, opened(agent.port) as meter:
        assert "none: SNMPv2c" in meter.facts()["security"]["value"]


def test_a_run_goes_on_through_silence_and_says_so() -> None:
    with snmp_agent(steady, "eaton-epdu") as agent, opened(agent.port, "eaton-epdu", "&period=0.05") as meter:
        clock = SystemClock()
        with recording([meter], clock, lambda samples: None) as tape:
            clock.sleep(0.3)
            agent.silent = True
            until_s = time.monotonic() + 10
            while not tape.faults() and time.monotonic() < until_s:
                clock.sleep(0.05)
            agent.silent = False
            while "meter_back" not in {fault["event"] for fault in tape.faults()} and time.monotonic() < until_s:
                clock.sleep(0.05)
        faults = {fault["event"]: fault for fault in tape.faults()}
        assert "does not answer" in faults["meter_error"]["why"]
        assert "meter_back" in faults
        power = channel(meter, "power").id
        assert {sample.value for sample in tape.samples() if sample.channel == power} == {412.0}


def test_closing_twice_does_nothing() -> None:
    with snmp_agent(steady) as agent, opened(agent.port) as meter:
        meter.close()
        meter.close()


@contextmanager
def late_device() -> Iterator[int]:
    """A device that answers the tries of the first question only when the next one has come: the how many-th it was."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(10)
        thread = threading.Thread(target=_answer_late, args=(line,), daemon=True)
        thread.start()
        yield line.getsockname()[1]
        thread.join(10)


def _answer_late(line: socket.socket) -> None:
    asked: dict[int, Any] = {}
    while len(asked) <= TRIES:
        data, sender = line.recvfrom(2000)
        message, _ = decoder.decode(data, asn1Spec=v2c.Message())
        asked[int(v2c.apiPDU.get_request_id(v2c.apiMessage.get_pdu(message)))] = message
    for place, message in enumerate(asked.values(), start=1):
        answer = v2c.apiMessage.get_response(message)
        v2c.apiPDU.set_varbinds(v2c.apiMessage.get_pdu(answer), [(NAME, v2c.Integer32(place))])
        line.sendto(encoder.encode(answer), sender)


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A device that says what `answer` makes of a question."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    asked, whom = line.recvfrom(65535)
                    line.sendto(answer(asked), whom)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield line.getsockname()[1]
        finally:
            over.set()
            thread.join()
