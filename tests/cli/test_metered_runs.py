"""Whole runs of the real command, metered through real protocol servers whose load is known."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tcabench.testing import fake_endpoint
from tests.cli.meter_rig import STEADY, Busy, Ended, Metered, at_once, start, total_j
from tests.power.servers import prometheus_server as prometheus
from tests.power.servers import redfish_server as redfish
from tests.power.servers.modbus_server import modbus_server
from tests.power.servers.redfish_tree import PDU, Shown
from tests.power.servers.snmp_agent import AUTH_SECRET, PRIV_SECRET, snmp_agent
from tests.power.servers.snmp_devices import Held

sys.path.insert(0, str(Path(__file__).parents[1] / "nvml"))
from standin import build, environment

UMG, CDU = "janitza-umg96", "tcabench-cdu"
CERTIFIED = "certificate=LAB-17&calibrated=2026-03-01&due=2099-03-01"
GPU_W, IT_W, FEED_W, PUMP_W, RISE_K = 300.0, 6000.0, 6200.0, 300.0, 10.0
PPUE = (FEED_W + PUMP_W) / IT_W
DELAY_S, UPDATE_S, IDLE_W, EACH_W = 1.5, 0.2, 1000.0, 500.0
SITE = """id: hall
meters:
  - nvml
  - modbus://127.0.0.1:{rack}/1?map=janitza-umg96&period=0.2&name=rack7
  - modbus://127.0.0.1:{it}/1?map=janitza-umg96&period=0.2&name=hall&role=it
  - modbus://127.0.0.1:{feed}/1?map=janitza-umg96&period=0.2&name=feed&role=upstream
  - modbus://127.0.0.1:{cdu}/1?map=tcabench-cdu&name=cdu7
cooling: {{rule: energy}}
loss: {{rule: measured}}
coolant:
  cdu7: {{fluid: pg25, sensor_half_width_k: 0.2, flow_half_width_pct: 2}}
carbon: {{country: DE}}
"""
Find = Callable[[str], Metered]


def square(t_s: float) -> float:
    """2.9 and 3.1 kW by turns of 2 s."""
    return 3000.0 + (100.0 if int(t_s / 2) % 2 else -100.0)


def breathing(mean_w: float) -> Callable[[float], float]:
    """Nearly steady: a meter that says the very same while others move would count as frozen."""
    return lambda t_s: mean_w + (3.0 if int(t_s / 0.7) % 2 else -3.0)


def by_modbus(out: Path) -> Metered:
    with fake_endpoint(STEADY) as endpoint, modbus_server(UMG, square) as server:
        meter = f"modbus://127.0.0.1:{server.port}/1?map={UMG}&period=0.2&name=pdu"
        ended = start(out, endpoint.url, "--meter", meter).end()
        return Metered(ended, ended.truth_j(square, server.meter.start_s))


def by_redfish(out: Path) -> Metered:
    out.mkdir()
    knobs = redfish.Knobs(sensing_s=0.5, shown=Shown(sensing="PT0.5S"))
    with fake_endpoint(STEADY) as endpoint, redfish.redfish_server(square, out, knobs) as server:
        login = f"user={redfish.USER}&password_env=PDU_PASSWORD&ca={server.ca}"
        meter = f"redfish://127.0.0.1:{server.port}{PDU}?{login}&period=0.2&name=pdu&class=0.5&{CERTIFIED}"
        run = start(out, endpoint.url, "--meter", meter, env={"PDU_PASSWORD": redfish.PASSWORD})
        run.until("load_start")
        tokens = tuple(server._tokens)
        ended = run.end()
        return Metered(ended, ended.truth_j(square, server._start_s), (redfish.PASSWORD, *tokens))


def by_prometheus(out: Path) -> Metered:
    out.mkdir()
    with fake_endpoint(STEADY) as endpoint, prometheus.prometheus_server(square, out, guarded=True) as server:
        secret = out / "password"
        secret.write_text(prometheus.PASSWORD + "\n")
        login = f"tls=on&ca={server.ca}&user={prometheus.USER}&password_file={secret}"
        what = "query=rack_watts&kind=power&unit=W&instrument=meter&boundary=rack"
        meter = f"prometheus://127.0.0.1:{server.port}?{what}&{login}&period=0.5&name=pdu&class=1&{CERTIFIED}"
        ended = start(out, endpoint.url, "--meter", meter).end()
        return Metered(ended, ended.truth_j(square, server.exporter._start_s), (prometheus.PASSWORD,))


def by_snmp(out: Path) -> Metered:
    with fake_endpoint(STEADY) as endpoint, snmp_agent(square, "raritan-px", ("tca",)) as agent:
        agent.objects = once_a_second(agent.objects)
        login = "user=tca&auth=sha256&auth_env=PDU_AUTH&priv=aes128&priv_env=PDU_PRIV"
        meter = f"snmp://127.0.0.1:{agent.port}?map=raritan-px&{login}&period=0.5&name=pdu"
        env = {"PDU_AUTH": AUTH_SECRET, "PDU_PRIV": PRIV_SECRET}
        ended = start(out, endpoint.url, "--meter", meter, env=env).end()
        return Metered(ended, ended.truth_j(square, agent.load.began_s), (AUTH_SECRET, PRIV_SECRET))


def once_a_second(objects: Mapping[str, tuple[str, Callable[[], Held]]]) -> dict[str, tuple[str, Callable[[], Held]]]:
    """As this device collects: it stamps whole seconds, and has one row of values for each. A GET is answered from one
    row, though a second may end meanwhile: the next row comes when nothing was asked for a while."""
    row: dict[str, Held] = {}
    second, asked_s = 0, 0.0

    def value(name: str) -> Held:
        nonlocal second, asked_s
        pause_s, asked_s = time.time() - asked_s, time.time()
        if int(asked_s) != second and pause_s > 0.1:
            second = int(asked_s)
            row.update({one: held() for one, (_, held) in objects.items()})
        return row[name]

    return {name: (kind, partial(value, name)) for name, (kind, _) in objects.items()}


def by_site(out: Path) -> Metered:
    pump = {"pump_power": lambda t_s: PUMP_W, "pump_energy": lambda t_s: 1e6 + PUMP_W * t_s}
    env = environment(build(out / "nvml"), gpus=1, low_w=GPU_W - 50, high_w=GPU_W + 50, period_s=1)
    with (
        fake_endpoint(STEADY) as endpoint,
        modbus_server(UMG, square) as rack,
        modbus_server(UMG, breathing(IT_W)) as it,
        modbus_server(UMG, breathing(FEED_W)) as feed,
        modbus_server(CDU, lambda t_s: 3000.0, values=pump) as cdu,
    ):
        (out / "site.yaml").write_text(SITE.format(rack=rack.port, it=it.port, feed=feed.port, cdu=cdu.port))
        ended = start(out, endpoint.url, "--site", out / "site.yaml", "--boundary", "facility", env=env).end()
        return Metered(ended, ended.truth_j(square, rack.meter.start_s))


def by_marker(out: Path) -> Metered:
    """The server's watts follow the requests at the endpoint, and the meter tells of them 1.5 s later."""
    with fake_endpoint(STEADY) as endpoint:
        busy = Busy(endpoint)
        with modbus_server(UMG, lambda t_s: IDLE_W + EACH_W * busy.at(busy.began_s + t_s - DELAY_S)) as server:
            server.meter.start_s = busy.began_s
            meter = f"modbus://127.0.0.1:{server.port}/1?map={UMG}&period=0.2&name=pdu"
            ended = start(out, endpoint.url, "--meter", meter, "--marker", "16", "--warmup", "0.5").end()
        return Metered(ended, ended.truth_j(lambda t_s: IDLE_W + EACH_W * busy.at(busy.began_s + t_s), busy.began_s))


ROUNDS = {"marker": by_marker, "prometheus": by_prometheus, "modbus": by_modbus, "redfish": by_redfish,
          "snmp": by_snmp, "site": by_site}  # fmt: skip
GRADES = {"modbus": "E4", "redfish": "E6", "prometheus": "E5", "snmp": "E4"}


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Find]:
    with at_once(ROUNDS, tmp_path_factory.mktemp("metered")) as find:
        yield find


def is_sound(ended: Ended) -> None:
    """It passed, and verifies to the last word with nothing to warn of."""
    assert (ended.code, ended.result["overall"]) == (0, "PASS"), ended.said
    assert (ended.standing, ended.warnings) == ("VALID", "")
    assert ended.is_same_page
    assert "Warning" not in ended.said


@pytest.mark.parametrize("protocol", GRADES)
def test_a_run_metered_over_the_network_tells_the_true_energy(metered: Find, protocol: str) -> None:
    found = metered(protocol)
    ended = found.ended
    is_sound(ended)
    value, low, high = total_j(ended.energy["total"])
    assert value == pytest.approx(found.truth_j, rel=0.005)
    assert low < found.truth_j < high
    assert (ended.result["boundary"], ended.result["grade"]) == ("rack", GRADES[protocol]), ended.result["grade_why"]
    assert all(not one["faults"] for one in ended.energy["health"])


def test_no_secret_of_a_meter_is_in_anything_that_a_run_leaves(metered: Find) -> None:
    for protocol in ("redfish", "prometheus", "snmp"):
        found = metered(protocol)
        everything = found.ended.everything()
        assert b"127.0.0.1" in everything
        assert found.secrets
        assert not [secret for secret in found.secrets if secret.encode() in everything], protocol


def test_a_meter_with_a_certificate_shows_it_on_the_page(metered: Find) -> None:
    page = (metered("redfish").ended.folder / "report.html").read_text()
    assert "LAB-17" in page
    assert "certificate LAB-17 of 2026-03-01, due 2099-03-01" in metered("redfish").ended.result["grade_why"]
    assert "no calibration certificate is named" in metered("modbus").ended.result["grade_why"]


def rungs(ended: Ended) -> dict[str, Any]:
    return {rung["boundary"]: rung for rung in ended.energy["ladder"]}


def test_a_site_run_climbs_from_the_chip_to_the_facility(metered: Find) -> None:
    found = metered("site")
    is_sound(found.ended)
    rung = rungs(found.ended)
    chip, rack, facility = (total_j(rung[name]["total"]) for name in ("chip", "rack", "facility"))
    window_s = float(found.ended.result["values"]["window_s"]["value"])
    assert chip[0] == pytest.approx(GPU_W * window_s, rel=0.02)
    assert rack[0] == pytest.approx(found.truth_j, rel=0.005)
    assert facility[1] < found.truth_j * PPUE < facility[2]
    assert chip[2] < rack[1] < rack[0] < facility[0]
    assert rung["facility"]["grade"] == found.ended.result["grade"] == "E4"
    assert "no calibration certificate is named" in rung["facility"]["grade_why"]


def test_a_site_run_shares_the_pumps_by_the_rule_that_it_names(metered: Find) -> None:
    """Half of all IT is the system under test, and so is half of the pumps' electricity and of the loss."""
    ended = metered("site").ended
    plant = ended.energy["facility"]
    ppue = total_j(plant["ppue"])
    assert ppue[0] == pytest.approx(PPUE, rel=0.005)
    assert 1 < ppue[1] < PPUE < ppue[2]
    assert total_j(plant["share"])[0] == pytest.approx(0.5, rel=0.01)
    assert "energy" in plant["rule"]
    assert plant["tier"] == "M2"


def test_a_site_run_balances_heat_and_tells_the_carbon_with_its_source(metered: Find) -> None:
    ended = metered("site").ended
    window_s = float(ended.result["values"]["window_s"]["value"])
    (loop,) = ended.energy["facility"]["heat"]
    heat = total_j(loop["heat"])
    assert loop["loop"] == "cdu7"
    assert heat[1] < 3000.0 * window_s < heat[2]
    assert total_j(loop["rise"])[0] == pytest.approx(RISE_K, rel=0.01)
    assert abs(float(loop["balance_rel"])) < 0.05
    carbon = ended.energy["carbon"]
    energy_kwh = total_j(rungs(ended)["facility"]["total"])[0] / 3.6e6
    grams, intensity = (total_j(carbon[name])[0] for name in ("location", "intensity_location"))
    assert grams == pytest.approx(intensity * energy_kwh, rel=1e-6)
    assert "Ember" in carbon["source_location"]
    assert "ppue_interim" in ended.result["values"]
    assert json.loads(ended.members["plan.json"])["site"]["id"] == "hall"


def test_the_load_marker_finds_the_delay_of_a_meter(metered: Find) -> None:
    found = metered("marker")
    is_sound(found.ended)
    aligned = found.ended.alignment("modbus.pdu")
    assert aligned["method"] == "load marker", aligned["why"]
    shift_s, error_s = int(aligned["shift_ns"]) / 1e9, int(aligned["error_ns"]) / 1e9
    assert DELAY_S - error_s < shift_s < DELAY_S + UPDATE_S + error_s  # and a reading is up to an update old
    assert error_s < 0.5
    assert "load marker" in found.ended.section("meters")


def test_with_its_delay_known_a_late_meter_tells_the_energy_of_the_window(metered: Find) -> None:
    """As it came, 1 s of idle power would count: the meter is 1.5 s late, the window begins 0.5 s into the load."""
    found = metered("marker")
    value, low, high = total_j(found.ended.energy["total"])
    window_s = float(found.ended.result["values"]["window_s"]["value"])
    assert found.truth_j == pytest.approx((IDLE_W + 4 * EACH_W) * window_s, rel=0.01)
    assert low < found.truth_j < high
    assert value == pytest.approx(found.truth_j, rel=0.02)  # a marker of 16 s leaves some 0.3 s of doubt, of 2 kW
