"""Modbus meters against a real server on loopback: what is read is what was there."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tcabench.errors import MeterError, UsageError
from tcabench.power.maps import shipped
from tcabench.power.meter import ClockedMeter
from tcabench.power.meters.modbus import open_modbus
from tcabench.power.register_map import LoadedMap, load_map
from tcabench.records import Kind, Role
from tests.power.opened_modbus import of_kind, opened, steady, value
from tests.power.servers.modbus_server import PlayedLoad, encode, modbus_server

NAMES = shipped("modbus")
STEPS: Callable[[float], float] = lambda t: 3000.0 + 2500.0 * (int(t / 0.15) % 2)  # noqa: E731
RAMP: Callable[[float], float] = lambda t: 500.0 + 4000.0 * t  # noqa: E731
BURSTS: Callable[[float], float] = lambda t: 9000.0 if t % 0.1 < 0.02 else 1000.0  # noqa: E731
MINE = """
name: mine
title: My meter
source: the sheet that came with it
max_gap: 4
channels:
  - {name: power, kind: power, address: 10, type: int16, unit: W, not_available: [-0x8000], update_s: 1,
     class_pct: 2, accuracy_source: printed on it}
  - {name: energy, kind: energy, address: 12, type: uint16, scale: 1000, unit: J, modulus: 65536000, update_s: 1,
     class_pct: 2, accuracy_source: printed on it}
"""


def mine(tmp_path: Path, change: Callable[[str], str] = str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(change(MINE))
    return str(path)


@pytest.mark.parametrize("watts", [STEPS, RAMP, BURSTS], ids=["steps", "ramp", "bursts"])
@pytest.mark.parametrize("name", NAMES)
def test_each_reading_is_the_load_at_the_time_of_the_read(name: str, watts: Callable[[float], float]) -> None:
    truth = PlayedLoad(watts)
    with modbus_server(name, watts, update_s=0) as server, opened(server, name) as meter:
        power, energy = of_kind(meter, Kind.POWER), of_kind(meter, Kind.ENERGY)
        seen = []
        for _ in range(24):
            before_s = time.monotonic() - server.meter.start_s
            readings = {reading[0]: reading[1] for reading in meter.read()}
            seen.append((before_s, time.monotonic() - server.meter.start_s, readings))
            time.sleep(0.02)
        start_j = server.meter.offset_j
    for before_s, after_s, readings in seen:
        then = [watts(before_s + k * (after_s - before_s) / 400) for k in range(401)]
        slack_w = power.resolution + 0.01 * (max(then) - min(then))
        assert min(then) - slack_w <= readings[power.id] <= max(then) + slack_w
        low_j, high_j = start_j + truth.joules(before_s), start_j + truth.joules(after_s)
        assert low_j - energy.resolution - 1 <= readings[energy.id] <= high_j + 1
    assert len({readings[power.id] for _, _, readings in seen}) > 1


@pytest.mark.parametrize(("name", "requests"), [("janitza-umg96", 1), ("eastron-sdm630", 1), ("tcabench-cdu", 1),
                                                ("schneider-iem3000", 2)])  # fmt: skip
def test_a_reading_takes_as_few_requests_as_the_device_lets(name: str, requests: int) -> None:
    with modbus_server(name, steady) as server, opened(server, name) as meter:
        server.requests.clear()
        meter.read()
        assert len(server.requests) == requests
        assert len(server._server.active_connections) == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("name", NAMES)
def test_channels_and_facts_say_all_that_is_known_of_the_meter(name: str) -> None:
    with (
        modbus_server(name, steady) as server,
        opened(server, name, "&class=0.5&certificate=K-17&due=2027-03-01") as meter,
    ):
        for channel in meter.channels():
            assert channel.update_ns > 0
            assert channel.gain_low < 1 < channel.gain_high
            assert (channel.certificate, channel.certificate_due) == ("K-17", "2027-03-01")
        assert of_kind(meter, Kind.POWER).class_pct == 0.5
        facts = meter.facts()
        assert facts["map"]["value"] == name
        assert len(facts["map_sha256"]["value"]) == 64
        assert facts["serial"]["value"] in (4242, "SN-0042")
        assert facts["address"]["value"] == f"127.0.0.1:{server.port}/1"
        assert facts["security"]["value"] == "none: Modbus/TCP has no authentication and no encryption"
        assert all(fact["value"] is not None or fact["why"] for fact in facts.values())


def test_the_identity_is_read_from_registers_where_the_map_has_them() -> None:
    with modbus_server("schneider-iem3000", steady) as server, opened(server, "schneider-iem3000") as meter:
        facts = meter.facts()
        assert (facts["maker"]["value"], facts["model"]["value"]) == ("Loopback Works", "Played meter")
        assert facts["clock_at_opening"]["value"] == "2026-11-23T14:05:06.789"


def test_the_role_given_places_the_load_and_leaves_the_loop_alone() -> None:
    with (
        modbus_server("tcabench-cdu", steady) as server,
        opened(server, "tcabench-cdu", "&role=it&domain=loop1") as meter,
    ):
        roles = {channel.kind: channel.role for channel in meter.channels()}
        assert roles[Kind.FLOW] is Role.FLOW
        assert roles[Kind.POWER] is Role.COOLING
        assert {channel.domain for channel in meter.channels()} == {"loop1"}
    with modbus_server("janitza-umg96", steady) as server, opened(server, more="&role=it") as meter:
        assert of_kind(meter, Kind.POWER).role is Role.IT
        assert of_kind(meter, Kind.ENERGY).boundary == "facility"
        assert of_kind(meter, Kind.APPARENT_POWER).role is Role.INFO


def test_power_that_flows_back_is_negative_and_noted() -> None:
    with modbus_server("janitza-umg96", lambda t: -2500.0) as server, opened(server) as meter:
        assert value(meter, Kind.POWER) == -2500.0
        assert "current transformer" in of_kind(meter, Kind.POWER).note


def test_a_value_that_the_device_does_not_have_is_left_out_until_it_is_back(tmp_path: Path) -> None:
    for name, gone in (("janitza-umg96", "power"), (mine(tmp_path), "power"), ("tcabench-cdu", "heat_energy")):
        with modbus_server(name, steady) as server, opened(server, name) as meter:
            both = len(meter.read())
            server.meter.not_available = frozenset({gone})
            assert gone not in {reading[0].rsplit(".", 1)[1] for reading in meter.read()}
            server.meter.not_available = frozenset()
            assert len(meter.read()) == both


def test_a_meter_without_any_value_is_refused_at_opening() -> None:
    with modbus_server("janitza-umg96", steady) as server:
        server.meter.not_available = frozenset({"power", "apparent_power", "energy"})
        with pytest.raises(MeterError, match="every value is marked as not available") as caught, opened(server):
            pass
        assert caught.value.kind == "meter-map"


def test_an_optional_channel_that_the_device_lacks_is_left_out_and_named() -> None:
    hidden = frozenset({"pump_energy"})
    with modbus_server("tcabench-cdu", steady, hidden=hidden) as server, opened(server, "tcabench-cdu") as meter:
        assert "pump_energy" not in {channel.id.rsplit(".", 1)[1] for channel in meter.channels()}
        assert meter.facts()["left_out"]["value"] == ["pump_energy"]
        assert len(meter.read()) == len(meter.channels())


def test_an_optional_channel_that_has_no_value_at_opening_is_left_out_and_named() -> None:
    with modbus_server("tcabench-cdu", steady) as server:
        server.meter.not_available = frozenset({"pump_energy"})
        with opened(server, "tcabench-cdu") as meter:
            assert meter.facts()["left_out"]["value"] == ["pump_energy"]
            assert len(meter.read()) == len(meter.channels()) == 6


def test_a_channel_that_must_be_there_is_asked_for_by_name() -> None:
    with modbus_server("janitza-umg96", steady, hidden=frozenset({"energy"})) as server:
        with (
            pytest.raises(MeterError, match=r"registers 19068-19069 .*exception 2.*right map") as caught,
            opened(server),
        ):
            pass
        assert caught.value.kind == "meter-map"


def test_a_counter_that_was_reset_and_one_that_wraps_are_read_as_they_are(tmp_path: Path) -> None:
    with modbus_server("janitza-umg96", steady) as server, opened(server) as meter:
        assert value(meter, Kind.ENERGY) >= 3.6e9
        server.reset_counter()
        assert value(meter, Kind.ENERGY) <= of_kind(meter, Kind.ENERGY).resolution
    name = mine(tmp_path)
    with modbus_server(name, lambda t: 20_000.0, update_s=0) as server, opened(server, name) as meter:
        energy = of_kind(meter, Kind.ENERGY)
        assert (energy.modulus, energy.resolution) == (65_536_000.0, 1000.0)
        server.meter.offset_j = 3 * 65_536_000.0 - 1000
        assert value(meter, Kind.ENERGY) == pytest.approx(65_535_000, abs=1000) or value(meter, Kind.ENERGY) < 1e6
        server.meter.offset_j += 2000.0
        assert value(meter, Kind.ENERGY) < 2e6


def test_a_float_counter_is_no_finer_than_its_present_size_lets_it_be() -> None:
    for wh, step_wh in ((20e6, 2.0), (70e6, 8.0), (1e6, 1.0)):
        counted = {"energy": lambda t, j=wh * 3600: j}
        with modbus_server("janitza-umg96", steady, values=counted) as server, opened(server) as meter:
            assert of_kind(meter, Kind.ENERGY).resolution == step_wh * 3600


def test_values_that_stand_still_are_read_as_they_stand() -> None:
    with modbus_server("janitza-umg96", RAMP, update_s=0) as server, opened(server) as meter:
        server.frozen = True
        stuck = {value(meter, Kind.POWER) for _ in range(5)}
        server.frozen = False
        assert len(stuck) == 1
        assert value(meter, Kind.POWER) > stuck.pop()


def test_a_device_with_a_clock_stamps_its_values_and_tells_its_time() -> None:
    with modbus_server("tcabench-cdu", steady, update_s=0.5) as server, opened(server, "tcabench-cdu") as meter:
        assert isinstance(meter, ClockedMeter)
        assert all(channel.has_own_clock for channel in meter.channels())
        server.meter.clock_offset_s = 5.0
        before_ns = time.time_ns()
        told, readings = meter.device_time(), meter.read()
        after_ns = time.time_ns()
        assert told.resolution_ns == 1_000_000
        assert before_ns - 2_000_000 <= told.device_ns - 5_000_000_000 <= after_ns
        (stamp_ns,) = {reading.device_ns for reading in readings}
        assert stamp_ns is not None
        assert before_ns - 510_000_000 <= stamp_ns - 5_000_000_000 <= after_ns
    with modbus_server("janitza-umg96", steady) as server, opened(server) as meter:
        assert not isinstance(meter, ClockedMeter)
        assert {reading.device_ns for reading in meter.read()} == {None}


@pytest.mark.parametrize(
    ("kind", "raw"), [("uint64", 2**64 - 1), ("uint64", 0), ("uint64", 41), ("float64", math.nan), ("float64", 1e300)]
)
def test_a_stamp_that_is_no_time_fails_the_reading_until_it_is_one(
    monkeypatch: pytest.MonkeyPatch, kind: str, raw: float
) -> None:
    whole = load_map("tcabench-cdu").map
    assert whole.stamp is not None
    told = whole.model_copy(update={"stamp": whole.stamp.model_copy(update={"type": kind})})
    monkeypatch.setattr("tcabench.power.meters.modbus.load_map", lambda name: LoadedMap(told, "0" * 64))
    with modbus_server(told, steady) as server, opened(server, "tcabench-cdu") as meter:
        count, clock = len(meter.read()), server.meter._clock
        words = encode(told.coding(told.stamp), raw)
        server.meter._clock = lambda spec, at_s: words if spec == told.stamp else clock(spec, at_s)
        for _ in range(2):
            with pytest.raises(MeterError, match=r"registers 6-9 hold \S+, which is no time of our day") as caught:
                meter.read()
            assert caught.value.kind == "meter-read"
        server.meter._clock = clock
        assert len(meter.read()) == count


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("//127.0.0.1/1", r"Give map=NAME \(eastron-sdm630, .*\) or map=./my-meter.yaml"),
        ("//127.0.0.1/x?map=janitza-umg96", "unit id 'x' is not a number of 0 to 255"),
        ("//127.0.0.1/256?map=janitza-umg96", "unit id '256'"),
        ("?map=janitza-umg96", "names no host"),
        ("//127.0.0.1/1?map=janitza-umg96&word_order=abcd", "word_order='abcd' is none of big, little"),
        ("//127.0.0.1/1?map=janitza-umg96&timeout=0", "timeout='0' is not a number"),
        ("//127.0.0.1/1?map=janitza-umg96&unit=3", "there is no option 'unit'"),
        ("//127.0.0.1/1?map=janitza-umg96&tls=on&ca=/no/such.pem", "ca=/no/such.pem: not usable"),
        ("//127.0.0.1/1?map=janitza-umg96&tls=on&cert=/no/such.pem", "cert=/no/such.pem, key=: not usable"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused(argument: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        open_modbus(argument)


def test_a_number_that_is_not_finite_is_no_reading() -> None:
    broken = {"apparent_power": lambda t: math.inf if t > 0.4 else 3200.0}
    with modbus_server("janitza-umg96", steady, values=broken, update_s=0) as server, opened(server) as meter:
        while time.monotonic() - server.meter.start_s < 0.45:
            time.sleep(0.05)
        assert {channel.rsplit(".", 1)[1] for channel, _, _ in meter.read()} == {"power", "energy"}
