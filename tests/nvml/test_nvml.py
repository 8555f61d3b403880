"""The NVML meter through the real pynvml binding, against a library that draws known power over real time."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Run = Callable[..., Any]

OPENED = """
import json
from tcabench.power import open_meters
meters = open_meters([{name!r}])
print(json.dumps({{
    "meters": [meter.name for meter in meters],
    "channels": {{c.id: [str(c.kind), c.unit, c.update_ns, c.note] for m in meters for c in m.channels()}},
    "values": {{id: value for meter in meters for id, value in meter.read()}},
    "facts": {{meter.name: meter.facts() for meter in meters}},
}}))
for meter in meters:
    meter.close()
    meter.close()
"""
MIG = "MIG-00000000-0000-0000-0000-000000000001"
REFUSED = """
import json
from tcabench.errors import TcaError
from tcabench.power import open_meters
try:
    open_meters([{name!r}])
except TcaError as err:
    print(json.dumps([type(err).__name__, err.kind, str(err)]))
"""
RECORDED = """
import json, time
from dataclasses import asdict
from tcabench.clock import SystemClock
from tcabench.energy import integrate
from tcabench.power import open_meters, recording
from tcabench.records import Window
meters = open_meters(["nvml"])
with recording(meters, SystemClock(), lambda samples: None) as tape:
    start = time.monotonic_ns() + 300_000_000
    time.sleep({seconds} + 0.8)
end = start + round({seconds} * 1e9)
channels = [channel for meter in meters for channel in meter.channels()]
energy = integrate(channels, tape.samples(), Window(start, start, start, start, end, end, ""), "chip")
print(json.dumps({{"energy": asdict(energy), "start": start, "end": end, "faults": tape.faults(),
    "last": {{c.id: tape.latest(c.id).t_ns for c in channels if tape.latest(c.id)}}}}))
"""


def test_each_gpu_has_its_meters_channels_and_values(with_nvml: Run) -> None:
    got = with_nvml(OPENED.format(name="nvml"), gpus=2, low_w=120)
    assert got["meters"] == ["nvml.gpu0", "nvml.gpu0.telemetry", "nvml.gpu1", "nvml.gpu1.telemetry"]
    values = got["values"]
    assert values["nvml.gpu0.power"] == pytest.approx(120, abs=0.01)
    assert values["nvml.gpu1.power"] == pytest.approx(240, abs=0.01)
    assert values["nvml.gpu0.energy"] >= 1000
    expected = {"temperature": 55, "clock_sm": 1755, "clock_memory": 2619, "power_limit": 700, "throttle": 4}
    assert {name: values[f"nvml.gpu1.{name}"] for name in expected} == expected
    assert values["nvml.gpu0.utilisation"] == 0.97
    assert {kind for kind, *_ in got["channels"].values()} == {
        "energy", "power", "temperature", "clock", "power_limit", "throttle", "utilisation", "processes",
    }  # fmt: skip


def test_facts_come_with_their_source(with_nvml: Run) -> None:
    facts = with_nvml(OPENED.format(name="nvml"), without="vbios", processes=3)["facts"]["nvml.gpu0"]
    assert facts["name"] == {"value": "Stand-in GPU", "source": "NVML nvmlDeviceGetName"}
    assert facts["power_limit_range_w"]["value"] == [200, 700]
    assert facts["architecture"]["value"] == "Hopper"
    assert facts["other_compute_processes"]["value"] == 3
    assert facts["vbios_version"] == {"value": None, "source": "NVML nvmlDeviceGetVbiosVersion", "why": "Not Supported"}
    assert facts["chosen"]["value"] == "named"


@pytest.mark.parametrize("uuid", [False, True])
def test_a_subset_of_the_gpus(with_nvml: Run, uuid: bool) -> None:
    which = "GPU-00000000-0000-0000-0000-000000000002,0" if uuid else "2,0"
    got = with_nvml(OPENED.format(name=f"nvml:{which}"), gpus=3)
    assert [name for name in got["meters"] if "telemetry" not in name] == ["nvml.gpu2", "nvml.gpu0"]


@pytest.mark.parametrize(
    ("without", "missing"),
    [
        ("energy", {"energy"}),
        ("instant,average,power", {"power"}),
        ("instant,power,fields", {"power"}),
        ("utilisation,throttle,temperature", {"utilisation", "throttle", "temperature"}),
        ("temperature,clock,limit,throttle,utilisation", {"temperature", "clock_sm", "power_limit"}),
    ],
)
def test_what_the_gpu_does_not_have_is_not_a_channel(with_nvml: Run, without: str, missing: set[str]) -> None:
    got = with_nvml(OPENED.format(name="nvml"), without=without)
    there = {id_.rpartition(".")[2] for id_ in got["channels"]}
    assert not missing & there
    assert {"energy", "power"} & there
    assert got["values"].keys() == got["channels"].keys()


def test_a_driver_without_event_reasons_gives_throttle_reasons(
    with_nvml: Run, standin: ModuleType, tmp_path: Path
) -> None:
    older = standin.build(tmp_path, flags=["-DBEFORE_535"])
    assert with_nvml(OPENED.format(name="nvml"), folder=older)["values"]["nvml.gpu0.throttle"] == 4


@pytest.mark.parametrize(
    ("name", "scene", "kind", "words"),
    [
        ("nvml", {"init_fails": 9}, "nvml-unavailable", "driver is not loaded"),
        ("nvml", {"init_fails": 18}, "nvml-unavailable", "different versions"),
        ("nvml", {"gpus": 0}, "nvml-unavailable", "finds no GPU"),
        ("nvml", {"without": "energy,instant,average,power"}, "nvml-unavailable", "neither its energy nor its power"),
        ("nvml", {"denied_after": 0}, "nvml-permission", "utility"),
        ("nvml", {"lost_after": 0}, "gpu-lost", "dmesg"),
        ("nvml:5", {"gpus": 2}, "meter-argument", "no GPU '5' here. There is: 0 .* 1 "),
        ("nvml:zero", {}, "meter-argument", "no GPU 'zero'"),
        (f"nvml:{MIG}", {"gpus": 2, "mig": 1}, "meter-argument", "MIG instance.* whole boards.* nvml:1;.* There is: 0"),
        (f"nvml:{MIG}", {"gpus": 2}, "meter-argument", "MIG instance, .* Name the board; its reading"),
    ],
)
def test_what_cannot_be_metered_is_refused_with_what_to_do(
    with_nvml: Run, name: str, scene: dict[str, object], kind: str, words: str
) -> None:
    class_name, got_kind, message = with_nvml(REFUSED.format(name=name), **scene)
    assert (class_name, got_kind) == ("UsageError" if kind == "meter-argument" else "MeterError", kind)
    assert re.search(words, message), message


def test_without_the_library_nvml_is_unavailable(tmp_path: Path) -> None:
    """A file that is no library stands where the loader looks first, so this holds on machines with a driver too."""
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    done = subprocess.run(
        [sys.executable, "-c", REFUSED.format(name="nvml")],
        env={"LD_LIBRARY_PATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    class_name, kind, message = json.loads(done.stdout)
    assert (class_name, kind) == ("MeterError", "nvml-unavailable")
    assert "libnvidia-ml.so.1" in message


def true_j(energy: dict[str, Any], start_ns: int, low_w: float, high_w: float, period_s: float, factor: float) -> float:
    """The stand-in's waveform, which started at `start_ns`, over the window."""

    def drawn(t_ns: int) -> float:
        s = (t_ns - start_ns) / 1e9
        whole, rest = int(s / period_s), s % period_s
        half = period_s / 2
        part = low_w * rest if rest < half else low_w * half + high_w * (rest - half)
        return whole * half * (low_w + high_w) + part

    return factor * (drawn(energy["end"]) - drawn(energy["start"]))


def test_energy_of_a_known_waveform_lies_in_its_interval(with_nvml: Run) -> None:
    began_ns = time.monotonic_ns()
    scene = {"gpus": 2, "low_w": 100, "high_w": 400, "period_s": 1.7, "start_ns": began_ns}
    got = with_nvml(RECORDED.format(seconds=3.1), **scene)
    total = got["energy"]["total"]
    truth = true_j(got, began_ns, 100, 400, 1.7, factor=3)
    assert total["low"] <= truth <= total["high"]
    assert total["value"] == pytest.approx(truth, rel=0.05)
    assert [domain["method"] for domain in got["energy"]["domains"]] == ["counter", "counter"]
    assert got["energy"]["grade"] == "E1"
    assert "30 s" in got["energy"]["grade_why"]


def test_without_a_counter_the_integral_of_power_counts(with_nvml: Run) -> None:
    got = with_nvml(RECORDED.format(seconds=1.5), low_w=150, without="energy")
    assert got["energy"]["total"]["value"] == pytest.approx(225, rel=0.001)
    assert got["energy"]["domains"][0]["method"] == "integral"
    assert got["energy"]["grade"] == "E1"


def test_a_counter_that_is_off_shows_as_residual(with_nvml: Run) -> None:
    got = with_nvml(RECORDED.format(seconds=1.5), low_w=150, counter_gain=0.9)
    (domain,) = got["energy"]["domains"]
    assert domain["residual_rel"] == pytest.approx(-0.1, abs=0.01)
    assert got["energy"]["total"]["high"] >= 225
    assert got["energy"]["grade"] == "E1"


def test_a_counter_reset_in_the_window_gives_way_to_power(with_nvml: Run) -> None:
    got = with_nvml(RECORDED.format(seconds=2), low_w=150, reset_s=1.5)
    assert got["energy"]["domains"][0]["method"] == "integral"
    assert got["energy"]["total"]["value"] == pytest.approx(300, rel=0.001)
    assert "fell" in got["energy"]["grade_why"]


def test_a_lost_gpu_is_a_fault_and_the_other_goes_on(with_nvml: Run) -> None:
    got = with_nvml(RECORDED.format(seconds=3), gpus=2, low_w=150, lost_gpu=1, lost_after=160)
    lost = [fault for fault in got["faults"] if fault["event"] == "meter_error"]
    assert {fault["meter"] for fault in lost} <= {"nvml.gpu1", "nvml.gpu1.telemetry"}
    assert {fault["kind"] for fault in lost} == {"gpu-lost"}
    assert "fell off the bus" in lost[0]["why"]
    assert "meter_dead" in {fault["event"] for fault in got["faults"]}
    assert got["last"]["nvml.gpu0.energy"] > got["last"]["nvml.gpu1.energy"]
    assert "gpu1" in got["energy"]["total"]["why"]
    assert got["energy"]["grade"] is None


def test_permission_lost_in_mid_run_is_a_fault(with_nvml: Run) -> None:
    got = with_nvml(RECORDED.format(seconds=1.5), denied_after=80)
    denied = [fault for fault in got["faults"] if fault["event"] == "meter_error"]
    assert {fault["kind"] for fault in denied} == {"nvml-permission"}
    assert "Run as a user who may read /dev/nvidia*" in denied[0]["why"]
