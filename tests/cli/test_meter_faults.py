"""Faults in mid-run: each is found and told, none changes a number in silence, and the verdict reacts.

The policy is the one that such runs pass in test_metered_runs.py, where nothing is wrong.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tcabench.testing import fake_endpoint
from tests.cli.meter_rig import STEADY, Ended, Metered, at_once, start, total_j
from tests.power.servers import redfish_server as redfish
from tests.power.servers.modbus_server import ModbusPlayer, modbus_server
from tests.power.servers.prometheus_server import prometheus_server
from tests.power.servers.redfish_tree import PDU, Shown

sys.path.insert(0, str(Path(__file__).parents[1] / "nvml"))
from standin import build, environment

UMG, FAULT_S = "janitza-umg96", 4.0
POWER, ENERGY = "modbus.pdu.power", "modbus.pdu.energy"
Find = Callable[[str], Metered]


def square(t_s: float) -> float:
    """2.9 and 3.1 kW by turns of 2 s."""
    return 3000.0 + (100.0 if int(t_s / 2) % 2 else -100.0)


def by_modbus(act: Callable[[ModbusPlayer], None], out: Path, *more: str, env: dict[str, str] | None = None) -> Metered:
    """A run on a power strip in whose load `act` happens."""
    with fake_endpoint(STEADY) as endpoint, modbus_server(UMG, square) as server:
        meter = f"modbus://127.0.0.1:{server.port}/1?map={UMG}&period=0.2&name=pdu"
        run = start(out, endpoint.url, "--meter", meter, *more, env=env)
        run.until("load_start", FAULT_S)
        act(server)
        ended = run.end()
        return Metered(ended, ended.truth_j(square, server.meter.start_s))


def killed(out: Path) -> Metered:
    return by_modbus(ModbusPlayer.stop, out)


def back_after_3_s(out: Path) -> Metered:
    def act(server: ModbusPlayer) -> None:
        server.stop()
        time.sleep(3)
        server.start()

    return by_modbus(act, out)


def frozen(out: Path) -> Metered:
    """While a GPU of the rack goes on between 200 and 400 W."""

    def act(server: ModbusPlayer) -> None:
        server.frozen = True

    scene = environment(build(out / "nvml"), gpus=1, low_w=200, high_w=400, period_s=3)
    return by_modbus(act, out, "--meter", "nvml", env=scene)


def lossy(out: Path) -> Metered:
    def act(server: ModbusPlayer) -> None:
        server.drop_share = 0.3

    return by_modbus(act, out)


def counter_reset(out: Path) -> Metered:
    return by_modbus(ModbusPlayer.reset_counter, out)


def only_counter_reset(out: Path) -> Metered:
    """A meter that tells of energy alone, seen through Prometheus."""
    out.mkdir()
    with fake_endpoint(STEADY) as endpoint, prometheus_server(square, out) as server:
        what = f"query={quote('rack_joules_total')}&kind=energy&unit=J&instrument=meter&boundary=rack"
        run = start(out, endpoint.url, "--meter", f"prometheus://127.0.0.1:{server.port}?{what}&period=0.5&name=pdu")
        run.until("load_start", FAULT_S)
        server.exporter.reset_counter()
        ended = run.end()
        return Metered(ended, ended.truth_j(square, server.exporter._start_s))


def clock_set(out: Path) -> Metered:
    """A device that stamps its readings, and whose clock is set in the middle of the load."""
    out.mkdir()
    knobs = redfish.Knobs(sensing_s=0.5, shown=Shown(sensing="PT0.5S"))
    with fake_endpoint(STEADY) as endpoint, redfish.redfish_server(square, out, knobs) as server:
        login = f"user={redfish.USER}&password_env=PDU_PASSWORD&ca={server.ca}"
        meter = f"redfish://127.0.0.1:{server.port}{PDU}?{login}&period=0.2&name=pdu"
        run = start(out, endpoint.url, "--meter", meter, env={"PDU_PASSWORD": redfish.PASSWORD})
        run.until("load_start", FAULT_S)
        server.knobs.offset_s = 5.0
        ended = run.end()
        return Metered(ended, ended.truth_j(square, server._start_s))


ROUNDS: dict[str, Callable[[Path], Metered]] = {
    "killed": killed, "back after 3 s": back_after_3_s, "frozen": frozen, "lossy": lossy,
    "counter reset": counter_reset, "only counter reset": only_counter_reset,
    "clock set": clock_set,
}  # fmt: skip
UNKNOWN = ("killed", "frozen", "only counter reset")  # no energy is left


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Find]:
    with at_once(ROUNDS, tmp_path_factory.mktemp("faults")) as find:
        yield find


def is_told(ended: Ended, *words: str) -> None:
    """The page says so beside the meters, the verification is VALID and repeats it."""
    assert ended.standing == "VALID", ended.verified
    page = ended.section("meters")
    for word in words:
        assert word in page, page
        assert word in ended.warnings, ended.warnings


@pytest.mark.parametrize("fault", ROUNDS)
def test_no_energy_is_told_that_does_not_hold(metered: Find, fault: str) -> None:
    """It covers the truth, or there is none."""
    found = metered(fault)
    total = found.ended.energy["total"]
    if "not_metered" not in total:
        value, low, high = total_j(total)
        assert low < found.truth_j < high
        assert value == pytest.approx(found.truth_j, rel=0.02)
    assert ("not_metered" in total) is (fault in UNKNOWN), total


@pytest.mark.parametrize("fault", ROUNDS)
def test_a_fault_leaves_the_policy_undecided(metered: Find, fault: str) -> None:
    ended = metered(fault).ended
    assert (ended.code, ended.result["overall"]) == (6, "INCONCLUSIVE"), ended.said
    assert ended.verdict("tokens-per-kwh")["outcome"] == "INCONCLUSIVE"
    assert not [one["check"] for one in ended.result["verdicts"] if one["outcome"] == "FAIL"]


def test_a_server_that_is_killed_leaves_no_energy(metered: Find) -> None:
    ended = metered("killed").ended
    assert {"meter_error", "meter_dead"} <= set(ended.told("modbus.pdu"))
    assert "meter_back" not in ended.told("modbus.pdu")
    assert "refused" in ended.section("meters")
    is_told(ended, "it stopped answering at", "readings are missing")
    assert ended.result["grade"] is None
    assert "1 gap(s) in the readings" in ended.energy["total"]["not_metered"]


def test_an_outage_of_3_s_is_no_straight_line(metered: Find) -> None:
    """The counter went on meanwhile; the power that nobody read is not made up."""
    ended = metered("back after 3 s").ended
    assert {"meter_error", "meter_back"} <= set(ended.told("modbus.pdu"))
    is_told(ended, "read(s) of it failed", "readings are missing")
    (domain,) = ended.energy["domains"]
    assert (domain["channel"], domain["method"]) == (ENERGY, "counter")
    assert "gap(s) in the readings" in domain["why"]
    assert ended.result["grade"] == "E1"
    assert "no sound reading in" in ended.result["grade_why"]


def test_values_that_freeze_while_the_load_moves_are_found(metered: Find) -> None:
    ended = metered("frozen").ended
    assert "while nvml.gpu0.power moved" in ended.faults(POWER)
    is_told(ended, "frozen at")
    assert ended.verdict("evidence.readings")["outcome"] == "INCONCLUSIVE"
    assert ended.result["grade"] is None


def test_lost_requests_are_counted(metered: Find) -> None:
    ended = metered("lossy").ended
    assert {"meter_error", "meter_back"} <= set(ended.told("modbus.pdu"))
    is_told(ended, "readings are missing", "read(s) of it failed")
    lost_pct = float(ended.verdict("evidence.readings")["value"]["value"])
    assert 10 < lost_pct < 90


def test_a_counter_that_starts_anew_is_not_bridged(metered: Find) -> None:
    ended = metered("only counter reset").ended
    is_told(ended, "the counter fell from")
    assert "no energy is counted across that" in ended.energy["total"]["not_metered"]


def test_where_a_counter_starts_anew_the_power_beside_it_counts_and_both_is_told(metered: Find) -> None:
    ended = metered("counter reset").ended
    (domain,) = ended.energy["domains"]
    assert (domain["channel"], domain["method"]) == (POWER, "integral")
    assert "counter not taken: modbus.pdu.energy: the counter fell from" in domain["why"]
    is_told(ended, "the counter fell from")
    assert "A meter started anew in the window" in ended.verdict("evidence.readings")["reason"]
    assert "A meter started anew in the window" in ended.verdict("evidence.readings")["reason"]


def test_a_clock_that_jumps_is_not_trusted(metered: Find) -> None:
    ended = metered("clock set").ended
    aligned = ended.alignment("redfish.pdu")
    assert aligned["method"] == "host clock"
    assert "its clock jumped forward by 5.0 s" in aligned["why"]
    is_told(ended, "its clock jumped forward by 5.0 s", "its stamps are not used")
    assert "A meter's clock did not hold" in ended.verdict("evidence.readings")["reason"]
    assert "missing" not in ended.faults("redfish.pdu.power")
