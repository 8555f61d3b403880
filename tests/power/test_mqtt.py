"""MQTT meters against a real broker (amqtt) with a smart plug that plays a load."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tcabench.errors import MeterError, UsageError
from tcabench.power.meter import Meter
from tcabench.power.meters import mqtt
from tcabench.power.meters.mqtt import open_mqtt
from tcabench.records import Channel, Kind, Reading
from tests.power.servers.certificate import self_signed
from tests.power.servers.mqtt_broker import TOPIC, PlayedBroker, mqtt_broker

PATIENCE_S = 15.0


def steady(t_s: float) -> float:
    return 61.7


@contextmanager
def opened(broker: PlayedBroker, options: str) -> Iterator[Meter]:
    (meter,) = open_mqtt(f"//127.0.0.1:{broker.port}/{TOPIC}?{options}")
    try:
        yield meter
    finally:
        meter.close()


def next_readings(meter: Meter) -> dict[str, Reading]:
    """Quantity -> its newest reading, of the next read that has any."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        if readings := meter.read():
            return {one[0].rpartition(".")[2]: Reading(*one) for one in readings}
        time.sleep(0.01)
    raise AssertionError("nothing came")


@contextmanager
def only_what_is_said() -> Iterator[tuple[PlayedBroker, Meter]]:
    """A broker whose plug sends nothing of itself, and a Tasmota meter that a kept message has opened."""
    with mqtt_broker(steady) as broker:
        broker.silent = True
        broker.keep({"ENERGY": {"Power": 1, "Total": 1.0}})
        with opened(broker, "format=tasmota") as meter:
            yield broker, meter


def next_error(meter: Meter) -> MeterError:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        try:
            meter.read()
        except MeterError as err:
            return err
        time.sleep(0.01)
    raise AssertionError("no error came")


def until_read_again(meter: Meter) -> dict[str, Reading]:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        with suppress(MeterError):
            return next_readings(meter)
        time.sleep(0.05)
    raise AssertionError("it did not come back")


def channel(meter: Meter, kind: Kind) -> Channel:
    return next(one for one in meter.channels() if one.kind is kind)


@pytest.mark.parametrize(
    ("plays", "options", "watts", "steps", "update_s"),
    [
        ("tasmota", "format=tasmota&update=10", 62.0, (1.0, 3600.0), 10),
        ("tasmota", "format=tasmota", 62.0, (1.0, 3600.0), 300),
        ("shelly", "format=shelly", 61.7, (0.1, 3.6), 60),
        (
            "gateway",
            "format=json&power=m.0.kw&power_unit=kW&energy=m.0.kwh&energy_unit=kWh&update=2",
            61.7, None, 2,
        ),
    ],
)  # fmt: skip
def test_power_and_energy_are_those_of_the_plug(
    plays: str, options: str, watts: float, steps: tuple[float, float] | None, update_s: float
) -> None:
    with mqtt_broker(steady, plays, every_s=0.05) as broker, opened(broker, options) as meter:
        power, energy = channel(meter, Kind.POWER), channel(meter, Kind.ENERGY)
        assert (power.unit, energy.unit, power.boundary) == ("W", "J", "node")
        assert power.update_ns == update_s * 1_000_000_000
        assert "no accuracy stated; taken as 10 %" in power.accuracy_source
        if steps:
            assert (power.resolution, energy.resolution) == steps
        _, before_j = broker.load.now()
        meter.read()
        got = next_readings(meter)
        _, after_j = broker.load.now()
        assert got["power"].value == pytest.approx(watts, rel=1e-9)
        assert before_j - energy.resolution - 61.7 <= got["energy"].value <= after_j + energy.resolution
        assert got["power"].device_ns is None


def test_only_a_stamp_that_names_an_instant_is_one() -> None:
    options = "format=json&power=m.0.kw&power_unit=kW&update=2&time=at"
    with mqtt_broker(steady, "gateway", every_s=0.05) as broker, opened(broker, options) as meter:
        assert channel(meter, Kind.POWER).has_own_clock
        stamp = next_readings(meter)["power"].device_ns
        assert stamp is not None
        assert abs(stamp - time.time_ns()) < 60_000_000_000
    with mqtt_broker(steady, every_s=0.05) as broker:
        with pytest.raises(MeterError, match="leads to no instant") as caught, opened(
            broker, "format=tasmota&time=Time"
        ):  # fmt: skip
            pass
        assert caught.value.kind == "meter-map"


def test_a_plain_number_is_a_message() -> None:
    with mqtt_broker(steady, every_s=0.05) as broker:
        broker.silent = True
        broker.keep(b"0.0600")
        with opened(broker, "format=number&unit=kW&update=5") as meter:
            assert channel(meter, Kind.POWER).resolution == 0.1
            broker.say(b" 0.0617\n")
            assert next_readings(meter)["power"].value == 61.7


def test_what_the_broker_kept_from_earlier_is_no_reading() -> None:
    with mqtt_broker(steady, every_s=0.05) as broker:
        broker.silent = True
        broker.keep({"ENERGY": {"Power": 999, "Total": 1.0}})
        with opened(broker, "format=tasmota") as meter:
            assert "not counted" in meter.facts()["first_message"]["value"]
            assert meter.read() == []
            broker.kill()
            assert next_error(meter).kind == "meter-unreachable"
            broker.start()  # what it keeps is sent again to whoever comes back
            feed, until_s = meter._feed, time.monotonic() + PATIENCE_S  # type: ignore[attr-defined]
            while feed.trouble and time.monotonic() < until_s:
                time.sleep(0.01)
            assert feed.wait(PATIENCE_S)
            assert meter.read() == []
            broker.silent = False
            assert next_readings(meter)["power"].value == 62.0


def all_come(meter: Meter, count: int) -> None:
    """Wait until so many messages lie there, unread."""
    until_s = time.monotonic() + PATIENCE_S
    while len(meter._feed._messages) < count and time.monotonic() < until_s:  # type: ignore[attr-defined]
        time.sleep(0.01)
    assert len(meter._feed._messages) == count  # type: ignore[attr-defined]


def test_of_messages_that_no_time_tells_apart_the_newest_counts() -> None:
    with only_what_is_said() as (broker, meter):
        for said in ({"Power": 10, "Total": 2.0}, {"Power": 20}, {"Power": 30}):
            broker.say({"ENERGY": said})
        all_come(meter, 3)
        assert [reading[1] for reading in meter.read()] == [30.0, 7.2e6]
        assert meter.read() == []


def test_of_messages_with_a_time_each_is_given_once_and_all_in_order() -> None:
    with mqtt_broker(steady) as broker:
        broker.silent = True
        broker.keep({"w": 1, "at": 1795442700})
        with opened(broker, "format=json&power=w&power_unit=W&update=60&time=at") as meter:
            for k in (1, 2, 3):
                broker.say({"w": 10 * k, "at": 1795442700 + k})
            broker.say({"w": 40, "at": "FFFF"})
            broker.say({"w": 50, "at": 2**64 - 1})
            all_come(meter, 5)
            for _ in range(2):
                with pytest.raises(MeterError, match="a message whose at is no time of our day"):
                    meter.read()
            assert [(r[1], r[2] - 1_795_442_700 * 10**9) for r in meter.read() if r[2]] == [
                (10.0, 10**9), (20.0, 2 * 10**9), (30.0, 3 * 10**9),
            ]  # fmt: skip
            assert meter.read() == []


def test_a_lost_broker_is_an_error_and_comes_back() -> None:
    with mqtt_broker(steady, every_s=0.05) as broker, opened(broker, "format=tasmota") as meter:
        next_readings(meter)
        broker.kill()
        err = next_error(meter)
        assert (err.kind, "no connection to the broker" in str(err)) == ("meter-unreachable", True)
        broker.start()
        assert until_read_again(meter)["power"].value == 62.0


def test_a_plug_that_falls_silent_is_an_error_and_comes_back() -> None:
    with mqtt_broker(steady, every_s=0.05) as broker, opened(broker, "format=tasmota&update=0.5") as meter:
        until_read_again(meter)
        broker.silent = True
        err = next_error(meter)
        assert (err.kind, "nothing has come for" in str(err)) == ("meter-read", True)
        broker.silent = False
        assert until_read_again(meter)["power"].value == 62.0


def test_a_message_of_another_format_is_an_error_and_the_sound_ones_count() -> None:
    with only_what_is_said() as (broker, meter):
        broker.say({"ENERGY": {"Power": 10}})
        broker.say(b"{half a mess")
        broker.say({"ENERGY": {"Power": 20}})
        all_come(meter, 3)
        with pytest.raises(MeterError, match="a message that is not JSON") as caught:
            meter.read()
        assert caught.value.kind == "meter-protocol"
        assert [reading[1] for reading in meter.read()] == [20.0]


def test_a_reset_counter_and_lost_messages_change_no_number() -> None:
    with mqtt_broker(steady, every_s=0.02) as broker, opened(broker, "format=tasmota") as meter:
        broker.drop_share, broker.load.frozen = 0.3, True
        broker.load.reset_counter()
        until_s = time.monotonic() + PATIENCE_S
        while next_readings(meter)["energy"].value > 0 and time.monotonic() < until_s:
            pass  # what was on its way
        got = [next_readings(meter) for _ in range(5)]
        assert {one["power"].value for one in got} == {62.0}
        assert {one["energy"].value for one in got} == {0.0}


def test_a_password_is_asked_for_and_kept_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "open sesame")
    monkeypatch.setenv("OTHER", "open barley")
    with mqtt_broker(steady, every_s=0.05, password="open sesame") as broker:
        for options in ("", "&user=tca&password_env=OTHER"):
            with pytest.raises(MeterError, match="no connection") as caught, opened(
                broker, f"format=tasmota{options}"
            ):  # fmt: skip
                pass
            assert caught.value.kind == "meter-auth"
            assert "open" not in str(caught.value)
        with opened(broker, "format=tasmota&user=tca&password_env=PW") as meter:
            assert next_readings(meter)["power"].value == 62.0
            security = meter.facts()["security"]["value"]
            assert "none: MQTT without TLS" in security
            assert "sesame" not in str(meter.facts())


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    certificate, key, _ = self_signed(tmp_path)
    with mqtt_broker(steady, every_s=0.05, tls=(certificate, key)) as broker:
        with pytest.raises(MeterError, match=r"self-signed certificate\. ca=FILE names who") as caught, opened(
            broker, "format=tasmota&tls=yes"
        ):  # fmt: skip
            pass
        assert caught.value.kind == "meter-auth"
        with opened(broker, f"format=tasmota&tls=yes&ca={certificate}") as meter:
            assert next_readings(meter)["power"].value == 62.0
            assert meter.facts()["security"]["value"] == "TLS; no user"


def test_where_no_broker_is_or_no_message_comes_is_said_at_opening() -> None:
    with mqtt_broker(steady, every_s=0.05) as broker:
        port = broker.port
        for options, kind, words in (
            ("format=shelly", "meter-map", "has no number at apower, aenergy.total"),
            ("format=number&unit=W&update=5", "meter-map", "not a number"),
        ):
            with pytest.raises(MeterError, match=words) as caught, opened(broker, options):
                pass
            assert caught.value.kind == kind
        broker.silent = True
        with pytest.raises(MeterError, match=r"nothing came on .* within 0\.2 s") as caught, opened(
            broker, "format=tasmota&wait=0.2"
        ):  # fmt: skip
            pass
        assert caught.value.kind == "meter-read"
    with pytest.raises(MeterError, match="Is a broker there") as caught:
        open_mqtt(f"//127.0.0.1:{port}/{TOPIC}?format=tasmota")
    assert caught.value.kind == "meter-unreachable"


def test_without_its_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "find_spec", lambda name: None)
    with pytest.raises(MeterError, match=r"pip install 'tcabench\[mqtt\]'") as caught:
        open_mqtt("//pdu/plug?format=shelly")
    assert caught.value.kind == "meter-missing"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("//", "it takes a host and one topic"),
        ("//pdu", "it takes a host and one topic"),
        ("//pdu/tele/+/SENSOR?format=tasmota", "without wildcards"),
        ("//pdu/plug?format=tasmoto", "format='tasmoto' is none of tasmota, shelly, json, number"),
        ("//pdu/plug", "format=json needs power=PATH or energy=PATH"),
        ("//pdu/plug?power=p", "power_unit= says in what the number is: W, kW, mW"),
        ("//pdu/plug?power=p&power_unit=kWh", "power_unit='kWh' is none of W, kW, mW"),
        ("//pdu/plug?energy=e&energy_unit=Wh", "update=SECONDS says how often the device sends"),
        ("//pdu/plug?format=number&update=5", "unit= says in what the number is"),
        ("//pdu/plug?format=shelly&tls=maybe", "tls='maybe' is none of yes, no"),
        ("//pdu/plug?format=shelly&tls=yes&ca=/no/such/file", "ca=/no/such/file: cannot be read"),
        ("//pdu/plug?format=shelly&password=x", "no option 'password'"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_with_what_to_do(address: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_mqtt(address)
    assert words in str(caught.value)
