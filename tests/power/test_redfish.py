"""Redfish against a real service on loopback: what is read, whose word counts, sessions, and faults in mid-run."""

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tcabench.errors import MeterError, UsageError
from tcabench.power.meter import ClockedMeter, Meter
from tcabench.power.meters.redfish import open_redfish
from tcabench.power.meters.redfish_checks import heat_contradiction, power_contradiction, properties
from tcabench.power.meters.redfish_schema import duration_s, number, stamp_ns, stamp_resolution_ns, step_of
from tcabench.records import Channel, Instrument, Kind, Reading, Role
from tests.power.servers.redfish_server import PASSWORD, USER, Knobs, RedfishServer, redfish_server
from tests.power.servers.redfish_tree import CDU, CHASSIS, MANAGER, PDU, SESSIONS, SYSTEM, Shown

J_PER_KWH = 3_600_000
PLENTY_S = 30.0
Open = Callable[..., Any]


def step_load(t_s: float) -> float:
    """300 W and 3 kW by turns of 50 ms, with a spike of 20 ms in every second."""
    return 9000.0 if t_s % 1 < 0.02 else 3000.0 if int(t_s * 20) % 2 else 300.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedfishServer]:
    with redfish_server(step_load, tmp_path, Knobs(sensing_s=0.05, shown=Shown(sensing="PT0.05S"))) as running:
        yield running


@pytest.fixture
def opened(server: RedfishServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """opened(path, "option=value", ...) -> the meter; all are closed at the end."""
    monkeypatch.setenv("PDU_PASSWORD", PASSWORD)
    meters: list[Meter] = []

    def call(path: str, *options: str) -> Meter:
        login = (f"ca={server.ca}", f"user={USER}", "password_env=PDU_PASSWORD")
        (meter,) = open_redfish(f"//127.0.0.1:{server.port}{path}?{'&'.join((*login, *options))}")
        meters.append(meter)
        return meter

    yield call
    for meter in meters:
        meter.close()


def by_kind(meter: Meter) -> dict[Kind, Channel]:
    return {channel.kind: channel for channel in meter.channels()}


def values(meter: Meter) -> dict[str, float]:
    return {Reading(*one).channel.removeprefix(f"{meter.name}."): one[1] for one in meter.read()}


def fresh(meter: Meter) -> list[Reading]:
    """The next readings; a sensor that stamps its readings gives none between two of them."""
    until = time.monotonic() + PLENTY_S
    while time.monotonic() < until:
        if readings := meter.read():
            return [Reading(*one) for one in readings]
        time.sleep(0.005)
    raise AssertionError("no new reading came")


def test_a_pdu_is_read_from_its_sensors_with_their_stamps(opened: Open) -> None:
    meter = opened(PDU, "name=pdu1")
    channels = by_kind(meter)
    power, energy = channels[Kind.POWER], channels[Kind.ENERGY]
    assert (power.id, power.domain, power.unit) == ("redfish.pdu1.power", "pdu1", "W")
    assert (energy.id, energy.domain, energy.unit) == ("redfish.pdu1.energy", "pdu1", "J")
    for channel in (power, energy):
        assert (channel.boundary, channel.role, channel.instrument) == ("rack", Role.LOAD, Instrument.METER)
        assert (channel.update_ns, channel.class_pct, channel.has_own_clock) == (50_000_000, 1.0, True)
        assert "Accuracy, 1 % of reading" in channel.accuracy_source
    assert (power.resolution, energy.resolution) == pytest.approx((0.1, 0.1 * J_PER_KWH))
    first, second = fresh(meter), fresh(meter)
    assert [one.channel for one in first] == ["redfish.pdu1.power", "redfish.pdu1.energy"]
    assert second[0].device_ns is not None
    assert first[0].device_ns is not None
    assert second[0].device_ns > first[0].device_ns
    facts = meter.facts()
    assert (facts["maker"]["value"], facts["model"]["value"], facts["serial"]["value"]) == (
        "Contoso", "ZAP4000", "29347ZT536",
    )  # fmt: skip
    assert "CalibrationTime 2026-01-15" in facts["sensor.power"]["value"]
    assert facts["security"]["value"].startswith("TLSv1.3, certificate checked against")


def test_counter_and_power_give_the_energy_that_was_played(server: RedfishServer, opened: Open) -> None:
    """At every stamp the counter is the load's integral, and the power its mean over the sensing interval."""
    server.knobs.shown.kwh_digits = 7  # 0.36 J
    meter = opened(PDU)
    readings = [reading for _ in range(12) for reading in fresh(meter)]
    for channel, value, device_ns in readings:
        assert device_ns is not None
        end_s = round((device_ns / 1e9 - server.start_wall_s) / 0.05) * 0.05
        if channel.endswith(".energy"):
            assert value == pytest.approx(server.joules(end_s), abs=0.4)
        elif end_s > 0:
            assert value == pytest.approx((server.joules(end_s) - server.joules(end_s - 0.05)) / 0.05, abs=0.06)
    energy = [(value, device_ns) for channel, value, device_ns in readings if channel.endswith(".energy")]
    assert energy[-1][0] > energy[0][0]


def test_a_reading_is_given_once(server: RedfishServer, opened: Open) -> None:
    server.knobs.sensing_s = 3600.0
    meter = opened(PDU)
    assert len(fresh(meter)) == 2
    assert meter.read() == []


@pytest.mark.parametrize(
    ("option", "share"), [("outlet=A1", 0.75), ("outlet=A2", 0.25), ("mains=AC1", 1), ("branch=A", 1)]
)
def test_an_outlet_or_circuit_is_read_in_one_get(
    server: RedfishServer, opened: Open, option: str, share: float
) -> None:
    server.knobs.sensing_s = 3600.0
    meter = opened(PDU, option)
    before = len(server.requests)
    assert values(meter) == {"power": pytest.approx(9000 * share), "energy": 0.0}
    assert len(server.requests) == before + 1
    channel = by_kind(meter)[Kind.POWER]
    assert channel.meter.endswith(option.replace("=", "-").lower())
    assert not channel.has_own_clock
    assert not isinstance(meter, ClockedMeter)
    assert (channel.class_pct, channel.update_ns) == (5.0, 0)
    assert channel.accuracy_source.startswith("no accuracy stated; taken as 5 % of reading")
    assert meter.facts()["model"]["value"] == "ZAP4000"


@pytest.mark.parametrize(
    ("path", "energy_step"), [(CHASSIS, 1.0), (SYSTEM, 1.0), (f"{CHASSIS}/EnvironmentMetrics", 1.0)]
)
def test_a_server_is_read_from_its_environment_metrics_in_joules(opened: Open, path: str, energy_step: float) -> None:
    meter = opened(path)
    channels = by_kind(meter)
    assert channels[Kind.ENERGY].resolution == energy_step
    assert channels[Kind.ENERGY].note == f"Read from {CHASSIS}/EnvironmentMetrics#/EnergyJoules/Reading."
    assert {(one.instrument, one.boundary) for one in channels.values()} == {(Instrument.BMC, "node")}
    assert len(meter.channels()) == 2  # the same energy in kWh is not a second one


def test_a_server_without_environment_metrics_is_read_from_its_older_power_resource(opened: Open) -> None:
    meter = opened("/redfish/v1/Chassis/Old")
    assert values(meter)["power"] >= 300
    assert [one.kind for one in meter.channels()] == [Kind.POWER]
    assert meter.facts()["polled"]["value"] == "/redfish/v1/Chassis/Old/Power"


def test_kilowatt_hours_serve_where_there_are_no_joules(server: RedfishServer, opened: Open) -> None:
    server.knobs.shown.joules = False
    assert by_kind(opened(CHASSIS))[Kind.ENERGY].resolution == pytest.approx(0.1 * J_PER_KWH)


def test_the_lifetime_reading_is_taken_because_nobody_can_reset_it(server: RedfishServer, opened: Open) -> None:
    server.knobs.shown = Shown(lifetime=True, kwh_digits=6)
    meter = opened(PDU)
    before = {one.channel: one.value for one in fresh(meter)}
    server.reset_counter()
    after = {one.channel: one.value for one in fresh(meter)}
    energy = by_kind(meter)[Kind.ENERGY]
    assert after[energy.id] >= before[energy.id] >= 1000 * J_PER_KWH
    assert "LifetimeReading" in energy.note


def test_a_counter_reset_shows_as_it_is(server: RedfishServer, opened: Open) -> None:
    server.knobs.shown.kwh_digits = 7
    meter = opened(f"{PDU}/Sensors/Energy")
    (before,) = fresh(meter)
    while before.value < 100:
        (before,) = fresh(meter)
    server.reset_counter()
    (after,) = fresh(meter)
    assert before.value > after.value


@pytest.mark.parametrize(
    ("shown", "class_pct", "source"),
    [
        (Shown(accuracy=0.5), 0.5, "the sensor's own Accuracy, 0.5 % of reading"),
        (Shown(accuracy=None, reading_accuracy=45.0), 0.5, "ReadingAccuracy, +-45 W of the 9000 W at opening"),
        (Shown(accuracy=None), 5.0, "no accuracy stated; taken as 5 % of reading"),
    ],
)
def test_the_accuracy_is_the_sensors_own_word(
    server: RedfishServer, opened: Open, shown: Shown, class_pct: float, source: str
) -> None:
    server.knobs.shown, server.knobs.sensing_s = shown, 3600.0
    power = by_kind(opened(PDU))[Kind.POWER]
    assert power.class_pct == pytest.approx(class_pct)
    assert source in power.accuracy_source


def test_the_operators_class_and_certificate_come_before_the_sensors(opened: Open) -> None:
    power = by_kind(opened(PDU, "class=0.2", "certificate=C-17", "calibrated=2026-03-01", "due=2027-03-01"))[Kind.POWER]
    assert (power.class_pct, power.certificate, power.certificate_due) == (0.2, "C-17", "2027-03-01")


def test_a_cdu_is_electricity_for_cooling_and_two_loops_of_which_one_counts(opened: Open) -> None:
    meter = opened(CDU, "name=cdu1", "domain=plant", "class=1")
    channels = {channel.id.removeprefix("redfish.cdu1."): channel for channel in meter.channels()}
    assert {name: (one.role, one.domain) for name, one in channels.items()} == {
        "power": (Role.COOLING, "plant"), "energy": (Role.COOLING, "plant"),
        "secondary.1.flow": (Role.FLOW, "plant.secondary.1"), "secondary.1.supply": (Role.SUPPLY, "plant.secondary.1"),
        "secondary.1.return": (Role.RETURN, "plant.secondary.1"), "secondary.1.heat": (Role.INFO, "plant.secondary.1"),
        "primary.1.flow": (Role.INFO, "plant.primary.1"), "primary.1.supply": (Role.INFO, "plant.primary.1"),
        "primary.1.return": (Role.INFO, "plant.primary.1"), "primary.1.heat": (Role.INFO, "plant.primary.1"),
    }  # fmt: skip
    assert {one.boundary for one in channels.values()} == {"facility"}
    assert channels["power"].class_pct == 1.0  # class= speaks of the electricity, not of the heat
    assert channels["secondary.1.heat"].class_pct == 5.0
    assert "+-1 degC of the 30 degC at opening" in channels["secondary.1.supply"].accuracy_source
    found = values(meter)
    assert found["secondary.1.flow"] == 40.0
    assert found["secondary.1.supply"] == 30.0
    assert found["secondary.1.heat"] >= 300.0  # W, told in kW
    facts = meter.facts()
    assert facts["coolant.secondary.1.SpecificHeatkJoulesPerKgK"]["value"] == 3.95
    assert not [name for name in facts if name.startswith("check.")]


def test_the_primary_side_counts_where_it_is_asked_for(opened: Open) -> None:
    roles = {channel.id.rpartition("1.")[2]: channel.role for channel in opened(CDU, "loop=primary").channels()
             if ".primary." in channel.id}  # fmt: skip
    assert roles == {"flow": Role.FLOW, "supply": Role.SUPPLY, "return": Role.RETURN, "heat": Role.INFO}


def test_contradictions_are_written_into_facts_and_notes(server: RedfishServer, opened: Open) -> None:
    server.knobs.shown, server.knobs.sensing_s = Shown(apparent_va=8000.0, heat_kw=25.31, flow_lpm=6.0), 3600.0
    meter = opened(PDU, "mains=AC1")
    assert "cannot exceed apparent power" in meter.facts()["check.power"]["value"]
    assert "WARNING: PowerWatts reads 9000 W with 8000 VA" in by_kind(meter)[Kind.POWER].note
    cdu = opened(CDU)
    assert "HeatRemovedkW reads 25.31 kW" in cdu.facts()["check.secondary.1.heat"]["value"]
    assert "WARNING" in next(one.note for one in cdu.channels() if one.id.endswith("secondary.1.return"))


def loop(flow: float, supply: float, back: float, heat: float) -> dict[str, Any]:
    return {
        "FlowLitersPerMinute": {"Reading": flow}, "SupplyTemperatureCelsius": {"Reading": supply},
        "ReturnTemperatureCelsius": {"Reading": back}, "HeatRemovedkW": {"Reading": heat},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("connector", "coolant", "wrong"),
    [
        (loop(42, 24, 42, 25.31), {"DensityKgPerCubicMeter": 1030, "SpecificHeatkJoulesPerKgK": 3.974}, True),
        (loop(42, 24, 42, 51.6), {"DensityKgPerCubicMeter": 1030, "SpecificHeatkJoulesPerKgK": 3.974}, False),
        (loop(42, 24, 42, 51.6), {"DensityKgPerCubicMeter": 1030, "SpecificHeatkJoulesPerKgK": 3974}, False),
        (loop(60, 30, 40, 41.5), {}, False),
        (loop(60, 30, 30.5, 41.5), {}, False),  # the temperatures say nothing there
        (loop(60, 40, 30, 41.5), {}, True),
        ({"FlowLitersPerMinute": {"Reading": 60}}, {}, False),
    ],
)
def test_heat_is_held_against_flow_and_temperatures(
    connector: dict[str, Any], coolant: dict[str, Any], wrong: bool
) -> None:
    assert bool(heat_contradiction(connector, coolant)) is wrong


def test_a_specific_heat_in_joules_is_understood() -> None:
    assert properties({"CoolantType": "Water", "DensityKgPerCubicMeter": 1000, "SpecificHeatkJoulesPerKgK": 4180}) == (
        1000, 4180, "Water",
    )  # fmt: skip
    assert power_contradiction({"PowerWatts": {"Reading": 6300, "ApparentVA": 6300}}) == ""
    assert power_contradiction({"PowerWatts": {"Reading": 6438, "ApparentVA": 6300}})


def test_a_session_is_opened_once_and_closed_at_the_end(server: RedfishServer, opened: Open) -> None:
    meter = opened(PDU)
    for _ in range(5):
        meter.read()
    assert (server.logins, server.open_sessions) == (1, 1)
    meter.close()
    meter.close()
    assert server.open_sessions == 0


def test_a_session_that_ended_is_renewed_within_the_reading(server: RedfishServer, opened: Open) -> None:
    meter = opened(PDU, "outlet=A1")
    server.expire_sessions()
    assert values(meter)["power"] > 0
    assert server.logins == 2


def test_basic_login_needs_no_session(server: RedfishServer, opened: Open) -> None:
    server.knobs.sessions = 0
    with pytest.raises(MeterError, match="session=basic") as caught:
        opened(PDU)
    assert caught.value.kind == "meter-auth"
    meter = opened(PDU, "session=basic")
    assert meter.facts()["security"]["value"].endswith("HTTP basic login")
    assert fresh(meter)
    assert server.logins == 0


def test_a_wrong_password_is_said_once_and_not_tried_again(
    server: RedfishServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = opened(PDU, "outlet=A1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDU_PASSWORD", "wrong secret")
        with pytest.raises(MeterError, match="refuses user 'monitor'") as caught:
            opened(PDU)
    assert caught.value.kind == "meter-auth"
    assert "wrong secret" not in str(caught.value)
    server.expire_sessions()
    monkeypatch.setattr("tests.power.servers.redfish_server.PASSWORD", "changed")
    before = server.requests.count(SESSIONS)
    for _ in range(4):
        with pytest.raises(MeterError, match="refuse"):
            meter.read()
    assert server.requests.count(SESSIONS) == before + 1  # the account would be locked otherwise


def test_no_secret_is_ever_shown(opened: Open) -> None:
    meter = opened(PDU)
    shown = repr((meter.facts(), meter.channels(), meter.name))
    assert PASSWORD not in shown
    assert "PDU_PASSWORD" not in shown


def test_a_server_that_was_down_is_read_again_when_it_is_back(server: RedfishServer, opened: Open) -> None:
    meter = opened(PDU, "timeout=5")
    assert fresh(meter)
    server.kill()
    for _ in range(3):
        with pytest.raises(MeterError) as caught:
            meter.read()
        assert caught.value.kind == "meter-unreachable"
    server.revive()
    assert fresh(meter)
    assert server.logins == 2


def test_a_server_that_falls_silent_fails_the_reading_in_time(server: RedfishServer, opened: Open) -> None:
    meter = opened(PDU, "outlet=A1", "timeout=0.2")
    server.knobs.silent = True
    with pytest.raises(MeterError, match=r"within 0\.2 s"):
        meter.read()
    server.knobs.silent = False
    assert values(meter)["power"] > 0


def test_lost_requests_fail_readings_and_never_change_one(server: RedfishServer, opened: Open) -> None:
    server.knobs.sensing_s = 3600.0
    meter = opened(PDU, "outlet=A1", "timeout=5")
    server.knobs.drop_share = 0.6
    failed, got = 0, []
    for _ in range(60):
        try:
            got.append(values(meter)["power"])
        except MeterError:
            failed += 1
    assert failed > 5
    assert got == [6750.0] * (60 - failed)
    assert len(got) > 5


def test_frozen_values_come_with_new_stamps_and_a_stalled_sensor_gives_nothing(
    server: RedfishServer, opened: Open
) -> None:
    meter = opened(f"{PDU}/Sensors/Power")
    server.knobs.frozen = True
    (first,), (second,), (third,) = fresh(meter), fresh(meter), fresh(meter)
    assert second.value == third.value
    assert first.device_ns != second.device_ns != third.device_ns
    server.knobs.stalled = True
    meter.read()
    assert [meter.read() for _ in range(3)] == [[], [], []]


def test_null_and_words_are_no_reading(server: RedfishServer, opened: Open) -> None:
    meter = opened(PDU, "outlet=A1")
    server.knobs.shown.nulls = frozenset({"PowerWatts"})
    assert list(values(meter)) == ["energy"]
    assert [one.kind for one in opened(PDU, "outlet=A1", "name=second").channels()] == [Kind.ENERGY]
    server.knobs.shown.nulls = frozenset({"PowerWatts", "EnergykWh"})
    assert meter.read() == []
    with pytest.raises(MeterError, match=r"gives no reading now.*it reads None") as caught:
        opened(PDU, "outlet=A1", "name=third")
    assert caught.value.kind == "meter-map"
    assert [number(value) for value in (None, "Out of range", True, "12", 10**400)] == [None] * 5


def clock_error_ns(meter: ClockedMeter) -> tuple[int, int]:
    """How far the meter's clock is ahead of ours, and within what."""
    before = time.time_ns()
    told = meter.device_time()
    after = time.time_ns()
    middle = (before + after) // 2
    return told.device_ns - middle, (after - before) // 2 + told.resolution_ns


@pytest.mark.parametrize(("managers", "source"), [(True, f"DateTime of {MANAGER}"), (False, "the Date header")])
def test_the_services_clock_can_be_read_with_its_offset(
    server: RedfishServer, opened: Open, managers: bool, source: str
) -> None:
    server.knobs.shown.managers, server.knobs.offset_s = managers, 37.0
    meter = opened(PDU)
    assert isinstance(meter, ClockedMeter)
    assert meter.facts()["clock"]["value"].startswith(source)
    error_ns, within_ns = clock_error_ns(meter)
    assert abs(error_ns - 37_000_000_000) <= within_ns
    assert meter.device_time().resolution_ns == (1_000_000 if managers else 1_000_000_000)


def test_a_clock_that_jumps_takes_the_stamps_along(server: RedfishServer, opened: Open) -> None:
    meter = opened(f"{PDU}/Sensors/Power")
    (before,) = fresh(meter)
    server.knobs.offset_s = -5.0
    (after,) = fresh(meter)
    assert before.device_ns is not None
    assert after.device_ns is not None
    assert before.device_ns - after.device_ns > 3_000_000_000  # older than the last one, and given all the same
    assert isinstance(meter, ClockedMeter)
    error_ns, within_ns = clock_error_ns(meter)
    assert abs(error_ns + 5_000_000_000) <= within_ns


def test_a_sensor_without_reading_time_leaves_the_meter_without_a_clock(server: RedfishServer, opened: Open) -> None:
    server.knobs.shown.reading_time = False
    meter = opened(PDU)
    assert not isinstance(meter, ClockedMeter)
    assert {one.has_own_clock for one in meter.channels()} == {False}
    assert {one.class_pct for one in meter.channels()} == {1.0}  # what the sensor says of itself still counts
    assert meter.facts()["polled"]["value"] == f"{PDU}/Metrics"


@pytest.mark.parametrize(
    ("path", "options", "kind", "why"),
    [
        ("/redfish/v1/PowerEquipment/RackPDUs", (), "meter-map", f"It lists: {PDU}"),
        (PDU, ("outlet=Z9",), "meter-map", r"no outlet 'Z9'. There is: A1, A2"),
        ("/redfish/v1/Nothing", (), "meter-map", "has no /redfish/v1/Nothing"),
        ("/redfish/v1/N\u00f6 thing", (), "meter-map", "has no /redfish/v1/N%C3%B6%20thing"),
        (MANAGER, (), "meter-map", "Manager"),
        (CHASSIS, ("outlet=A1",), "meter-argument", "only for a PDU"),
        (PDU, ("outlet=A1", "mains=AC1"), "meter-argument", "one of outlet=, mains=, branch= at most"),
        ("", (), "meter-argument", "names no resource"),
        (f"{CDU}/SecondaryCoolantConnectors/1", ("role=load",), "usage", "leave role= out"),
        (CDU, ("loop=third",), "meter-argument", "none of secondary, primary"),
        (PDU, ("outlett=A1",), "meter-argument", "Did you mean 'outlet'"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(
    server: RedfishServer, opened: Open, path: str, options: tuple[str, ...], kind: str, why: str
) -> None:
    with pytest.raises((MeterError, UsageError), match=why) as caught:
        opened(path, *options)
    assert caught.value.kind == kind
    assert server.open_sessions == 0


def test_a_login_that_is_missing_or_halved_is_said(server: RedfishServer) -> None:
    with pytest.raises(MeterError, match="wants a login"):
        open_redfish(f"//127.0.0.1:{server.port}{PDU}?ca={server.ca}")
    with pytest.raises(UsageError, match="go together"):
        open_redfish(f"//127.0.0.1:{server.port}{PDU}?ca={server.ca}&user=me")


def test_without_tls_only_when_told_so_and_the_facts_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDU_PASSWORD", PASSWORD)
    with redfish_server(step_load, tmp_path, tls=False) as plain:
        login = f"user={USER}&password_env=PDU_PASSWORD"
        with pytest.raises(MeterError):
            open_redfish(f"//127.0.0.1:{plain.port}{PDU}?{login}")
        (meter,) = open_redfish(f"//127.0.0.1:{plain.port}{PDU}?{login}&tls=off")
        assert meter.facts()["security"]["value"] == "none: HTTP without TLS; Redfish session"
        meter.close()


def test_a_server_of_another_kind_is_not_taken_for_redfish(
    server: RedfishServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.power.servers.redfish_server.tree", lambda state, shown: {"/redfish/v1": {"hello": 1}})
    with pytest.raises(MeterError, match="no Redfish service root") as caught:
        open_redfish(f"//127.0.0.1:{server.port}{PDU}?ca={server.ca}")
    assert caught.value.kind == "meter-protocol"


@pytest.mark.parametrize(
    ("text", "s"), [("PT5S", 5), ("PT0.5S", 0.5), ("PT1M", 60), ("P1DT1H", 90_000), ("5", 0), (None, 0), ("P1Y", 0)]
)
def test_durations(text: object, s: float) -> None:
    assert duration_s(text) == s


def test_stamps_are_whole_nanoseconds_and_need_a_zone() -> None:
    assert stamp_ns("2026-11-23T17:43:00Z") == 1_795_455_780_000_000_000
    assert stamp_ns("2026-11-23T19:43:00.25+02:00") == 1_795_455_780_250_000_000
    assert [stamp_ns(text) for text in ("2026-11-23T17:43:00", "yesterday", None, 5)] == [None] * 4
    assert [stamp_ns(f"{year}-12-31T23:59:59Z") for year in ("9999", "1970", "0001")] == [None] * 3
    texts = ("2026-11-23T17:43:00Z", "2026-11-23T17:43:00.12Z", "2026-11-23T17:43:00.123456+00:00")
    assert [stamp_resolution_ns(text) for text in texts] == [1_000_000_000, 10_000_000, 1000]


def test_the_last_digit_shown_is_the_resolution() -> None:
    shown = (36166, Decimal("36166.1"), Decimal("0.25"), Decimal("1E+3"), Decimal("1e-99999999999"))
    assert [step_of(value) for value in shown] == [1, 0.1, 0.01, 1, 1e-30]
