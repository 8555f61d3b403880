"""`tcabench meters`: what there is, what a meter says, its watts as they come; and nothing secret in any of it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.power.servers import redfish_server as redfish
from tests.power.servers.modbus_server import ModbusPlayer, modbus_server
from tests.power.servers.redfish_tree import PDU

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
UMG, WATTS = "janitza-umg96", 3000.0
DIES_S, WATCH_S = 2.0, 9.0


@pytest.fixture(scope="module")
def strip() -> Iterator[ModbusPlayer]:
    with modbus_server(UMG, lambda t_s: WATTS) as server:
        yield server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redfish.RedfishServer]:
    with redfish.redfish_server(lambda t_s: WATTS, tmp_path_factory.mktemp("redfish")) as server:
        yield server


def at(strip: ModbusPlayer, more: str = "") -> str:
    return f"modbus://127.0.0.1:{strip.port}/1?map={UMG}&period=0.2&timeout=2&name=pdu{more}"


def behind(service: redfish.RedfishServer) -> str:
    login = f"ca={service.ca}&user={redfish.USER}&password_env=PDU_PASSWORD&timeout=5"
    return f"redfish://127.0.0.1:{service.port}{PDU}?{login}&name=pdu"


def channels(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return {row["channel"]: row for row in json.loads(done.stdout)["channels"]}


def refused(done: "subprocess.CompletedProcess[str]", code: int, kind: str) -> str:
    text = " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in text, text
    assert done.returncode == code, text
    assert f"error[{kind}]: " in done.stderr, text
    return text


def test_the_list_names_meters_and_maps(tcabench: Cli) -> None:
    done = tcabench("meters", "list")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    for name in ("nvml", "rapl", "modbus", "snmp", "redfish", "prometheus", "csv", "mqtt", "bacnet"):
        assert f"│ {name} " in text
    assert "yes: host" in text
    for name in ("schneider-iem3000", UMG, "raritan-px", "servertech-sentry4"):
        assert name in text


def test_the_list_is_there_for_programs_too(tcabench: Cli) -> None:
    done = tcabench("meters", "list", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["meters"]["estimate"]["here"] == "yes: host"
    assert told["meters"]["modbus"]["where"] == "network"
    assert told["meters"]["modbus"]["here"] is None
    assert "raritan-px" in told["maps"]["snmp"]


def test_a_probe_tells_values_accuracy_and_the_grade_it_would_earn(tcabench: Cli, strip: ModbusPlayer) -> None:
    found = channels(tcabench("meters", "probe", at(strip), "--seconds", "1", "--json"))
    power = found["modbus.pdu.power"]
    assert (power["value"], power["unit"], power["class_pct"], power["boundary"]) == (WATTS, "W", 1.0, "rack")
    assert power["readings"] >= 2
    assert "IEC 61557-12" in power["accuracy_source"]
    assert power["grade_at_best"] == "E4"
    assert "no calibration certificate" in power["grade_why"]
    assert found["modbus.pdu.energy"]["value"] >= 3.6e9
    assert found["modbus.pdu.apparent_power"]["grade_at_best"] is None


def test_a_certificate_that_is_valid_today_earns_more(tcabench: Cli, strip: ModbusPlayer) -> None:
    certified = at(strip, "&certificate=LAB-17&calibrated=2026-03-01&due=2099-03-01&class=0.5")
    text = tcabench("meters", "probe", certified, "--seconds", "0.3").stdout
    assert "E6: " in text
    assert "3,000 W" in text
    over = at(strip, "&certificate=LAB-17&calibrated=2019-03-01&due=2020-03-01&class=0.5")
    expired = channels(tcabench("meters", "probe", over, "--seconds", "0.3", "--json"))["modbus.pdu.power"]
    assert expired["grade_at_best"] == "E4"
    assert "is valid from 2019-03-01 to 2020-03-01" in expired["grade_why"]


def test_the_meters_of_a_site_are_probed(tcabench: Cli, strip: ModbusPlayer, tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(f"id: hall\nmeters:\n  - {at(strip)}\n")
    found = channels(tcabench("meters", "probe", "--site", site, "--seconds", "0.3", "--json"))
    assert found["modbus.pdu.power"]["value"] == WATTS


@pytest.mark.parametrize("how", [("--json",), ()])
def test_a_probe_shows_no_secret(tcabench: Cli, service: redfish.RedfishServer, how: tuple[str, ...]) -> None:
    done = tcabench(
        "meters", "probe", behind(service), "--seconds", "0.5", *how, env={"PDU_PASSWORD": redfish.PASSWORD}
    )
    assert done.returncode == 0, done.stderr
    assert "Contoso" in done.stdout
    assert redfish.PASSWORD not in done.stdout + done.stderr
    assert service.open_sessions == 0


def test_a_login_that_is_refused_shows_no_secret(tcabench: Cli, service: redfish.RedfishServer) -> None:
    """This server repeats the password in its answer."""
    done = tcabench("meters", "probe", behind(service), env={"PDU_PASSWORD": "hush hush"})
    assert "hush" not in refused(done, 4, "meter-auth")


@pytest.mark.parametrize(
    ("meter", "code", "kind", "says"),
    [
        ("modbuss://127.0.0.1/1", 2, "", "modbus"),
        ("modbus://reader:hush@127.0.0.1/1?map=janitza-umg96", 2, "meter-secret", "no user or password in the address"),
        ("modbus://127.0.0.1/1?map=janitza-umg97", 2, "", "janitza-umg96"),
        ("modbus://127.0.0.1/1?map=janitza-umg96&boundry=rack", 2, "meter-argument", "Did you mean 'boundary'?"),
        ("modbus://127.0.0.1:1/1?map=janitza-umg96", 4, "meter-unreachable", "127.0.0.1:1"),
        ("redfish://127.0.0.1:1/redfish/v1/Chassis/1", 4, "meter-unreachable", "127.0.0.1:1"),
        ("redfish://127.0.0.1/x?user=me&password_env=NOT_THERE", 2, "meter-secret", "NOT_THERE"),
    ],
)
def test_a_name_that_cannot_work_says_what_to_do(tcabench: Cli, meter: str, code: int, kind: str, says: str) -> None:
    done = tcabench("meters", "probe", meter, "--seconds", "0.3", timeout=60)
    kind = kind or done.stderr.partition("error[")[2].partition("]")[0]
    text = refused(done, code, kind)
    assert says in text
    assert "hush" not in text


def test_watching_shows_watts_and_tells_when_they_stop(strip: ModbusPlayer) -> None:
    """The last value is not shown for ever: a meter that died says nothing of now."""
    with modbus_server(UMG, lambda t_s: WATTS) as server:
        command = [sys.executable, "-m", "tcabench", "meters", "watch", at(server), "--seconds", str(WATCH_S)]
        watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert watch.stdout is not None
            first = watch.stdout.readline()
            time.sleep(DIES_S)
            server.stop()
            rest, err = watch.communicate(timeout=60)
        finally:
            watch.kill()
            watch.wait(10)
    assert watch.returncode == 0, err
    assert "modbus.pdu.power 3,000.0 W" in first
    assert "Connection refused" in rest
    assert "modbus.pdu.power no reading for " in rest
