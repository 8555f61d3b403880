"""What each NVML channel stands for: how it samples by generation, what counts, what is shown, what is inside what."""

import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Run = Callable[..., Any]
MS = 1_000_000
GRACE = "NVIDIA GH200 480GB"
OPENED = """
import json
from dataclasses import asdict
from pathlib import Path
from tcabench.power.meters.nvml import open_nvml
meters = open_nvml("", pci=Path({pci!r}))
channels = [channel for meter in meters for channel in meter.channels()]
print(json.dumps({{
    "channels": {{c.id.removeprefix("nvml."): asdict(c) for c in channels}},
    "values": {{id.removeprefix("nvml."): value for meter in meters for id, value in meter.read()}},
    "of": {{meter.name: [c.id for c in meter.channels()] for meter in meters}},
}}))
for meter in meters:
    meter.close()
"""
COUNTED = """
import json, time
from pathlib import Path
from dataclasses import asdict
from tcabench.clock import SystemClock
from tcabench.energy import integrate
from tcabench.power import recording
from tcabench.power.meters.nvml import open_nvml
from tcabench.records import Window
meters = open_nvml("", pci=Path({pci!r}))
with recording(meters, SystemClock(), lambda samples: None) as tape:
    start = time.monotonic_ns() + 300_000_000
    time.sleep(1.8)
end = start + 1_000_000_000
channels = [channel for meter in meters for channel in meter.channels()]
energy = integrate(channels, tape.samples(), Window(start, start, start, start, end, end, ""), "chip")
print(json.dumps(asdict(energy)))
"""


def opened(with_nvml: Run, pci: Path | str = "/nowhere", **scene: object) -> Any:
    return with_nvml(OPENED.format(pci=str(pci)), **scene)


def sockets(folder: Path, *nodes: int) -> Path:
    """A tree like /sys/bus/pci/devices: GPU i of the stand-in is on NUMA node nodes[i]."""
    for i, node in enumerate(nodes):
        device = folder / f"7fff:{i + 1:02x}:00.0"
        device.mkdir(parents=True)
        (device / "numa_node").write_text(f"{node}\n")
    return folder


@pytest.mark.parametrize(
    ("scene", "update_ms", "average_ms", "words"),
    [
        ({"architecture": 4}, 20, 10, "50 % of the time is seen"),
        ({"architecture": 6}, 100, 100, "100 % of the time is seen"),
        ({"architecture": 7, "pci_device": "0x20B010DE"}, 100, 25, "25 % of the time is seen (Yang"),
        ({"architecture": 7, "pci_device": "0x220410DE"}, 100, 100, "RTX 3090"),
        ({"name": "NVIDIA H100 80GB HBM3"}, 100, 25, "25 % of the time is seen (Yang"),
        ({"name": "NVIDIA H200"}, 100, 25, "assumed as H100"),
        ({"name": GRACE}, 100, 20, "20 % of the time is seen"),
        ({"architecture": 10, "capability": "10.0", "name": "NVIDIA B200"}, 100, 25, "assumed: nobody has published"),
        ({"architecture": 10, "capability": "12.0"}, 20, 0, "is not known (seen on one board"),
        ({"architecture": 10, "without": "capability"}, 100, 25, "assumed: nobody has published"),
        ({"architecture": 99}, 100, 25, "assumed: nobody has published"),
        ({"without": "architecture"}, 100, 25, "assumed: nobody has published"),
        ({"without": "instant"}, 100, 1000, "NVML_FI_DEV_POWER_AVERAGE: a new value every 100 ms, the mean of 1000 ms"),
        ({"without": "fields"}, 100, 1000, "nvmlDeviceGetPowerUsage, on Ampere (except GA100) and newer a mean"),
        ({"without": "fields", "architecture": 7, "pci_device": "0x20B010DE"}, 100, 25, "instant on GA100"),
        ({"without": "fields", "architecture": 7, "pci_device": "0x220410DE"}, 100, 1000, "the mean of 1000 ms"),
        ({"without": "fields", "architecture": 6}, 100, 100, "before Ampere"),
        ({"mig": 1}, 100, 25, "MIG is on: this is the whole board"),
    ],
)
def test_the_power_channel_says_how_its_generation_samples(
    with_nvml: Run, scene: dict[str, object], update_ms: int, average_ms: int, words: str
) -> None:
    got = opened(with_nvml, **scene)
    power = got["channels"]["gpu0.power"]
    assert (power["update_ns"], power["average_ns"]) == (update_ms * MS, average_ms * MS)
    assert words in power["note"]
    assert (power["role"], power["instrument"], power["period_ns"]) == ("load", "device", 50 * MS)
    assert got["values"]["gpu0.power"] == pytest.approx(120, abs=0.01)


def test_the_averaged_power_stands_beside_the_instant_one_and_is_not_counted(with_nvml: Run) -> None:
    got = opened(with_nvml)
    average = got["channels"]["gpu0.power_average"]
    assert (average["domain"], average["kind"], average["role"]) == ("gpu0", "power", "info")
    assert (average["update_ns"], average["average_ns"]) == (100 * MS, 1000 * MS)
    assert got["values"]["gpu0.power_average"] == pytest.approx(120, abs=0.01)
    assert "gpu0.power_average" not in opened(with_nvml, without="instant")["channels"]


def test_memory_power_is_shown_as_a_part_of_the_gpu(with_nvml: Run) -> None:
    got = opened(with_nvml, scopes="memory")
    memory = got["channels"]["gpu0.memory.power"]
    assert (memory["domain"], memory["inside"], memory["role"]) == ("gpu0.memory", "gpu0", "info")
    assert got["values"]["gpu0.memory.power"] == pytest.approx(12, abs=0.01)
    assert "gpu0.memory.power" not in opened(with_nvml, scopes="memory", memory_share=0)["channels"]


def test_telemetry_is_shown_and_never_counted(with_nvml: Run) -> None:
    got = opened(with_nvml, scopes="memory")
    roles = {id_: got["channels"][id_.removeprefix("nvml.")]["role"] for id_ in got["of"]["nvml.gpu0.telemetry"]}
    assert set(roles.values()) == {"info"}
    assert len(roles) == 9


@pytest.mark.parametrize(
    ("scene", "others"),
    [
        ({"processes": 3}, 3),
        ({"graphics": 2}, 2),
        ({"processes": 3, "graphics": 2}, 4),  # one of them is in both lists
        ({"processes": 3, "without": "graphics"}, 3),
        ({"processes": 3, "own": 1}, 2),
        ({}, 0),
    ],
)
def test_processes_on_the_gpu_are_counted_once_each(with_nvml: Run, scene: Mapping[str, object], others: int) -> None:
    assert opened(with_nvml, **scene)["values"]["gpu0.processes"] == others


def test_a_gpu_that_lists_no_processes_has_no_such_channel(with_nvml: Run) -> None:
    assert "gpu0.processes" not in opened(with_nvml, without="graphics,processes")["channels"]


def test_on_grace_hopper_the_counter_is_the_modules_and_the_gpu_is_inside(with_nvml: Run, tmp_path: Path) -> None:
    scene = {"name": GRACE, "scopes": "module", "gpus": 2}
    got = opened(with_nvml, sockets(tmp_path, 0, 1), **scene)
    channels = got["channels"]
    counter, power = channels["module0.energy"], channels["module0.power"]
    assert [(c["domain"], c["role"], c["inside"]) for c in (counter, power)] == [("module0", "load", "")] * 2
    assert (channels["gpu0.power"]["inside"], channels["gpu1.power"]["inside"]) == ("module0", "module1")
    assert "whole module" in counter["note"]
    assert got["values"]["module0.power"] == pytest.approx(120 + 100, abs=0.01)
    assert got["of"]["nvml.gpu1"] == ["nvml.module1.energy", "nvml.gpu1.power", "nvml.module1.power"]
    assert not any(id_.endswith("gpu0.energy") for id_ in channels)


@pytest.mark.parametrize("nodes", [(), (0, 0), (0, -1)])
def test_grace_hopper_without_known_sockets_has_one_module_per_gpu(
    with_nvml: Run, tmp_path: Path, nodes: tuple[int, ...]
) -> None:
    """Two counters in one domain would lose one of them."""
    got = opened(with_nvml, sockets(tmp_path, *nodes), name=GRACE, gpus=2)
    assert {"module0.energy", "module1.energy"} <= got["channels"].keys()


def test_on_grace_blackwell_the_module_is_shown_once_and_the_gpus_count(with_nvml: Run, tmp_path: Path) -> None:
    got = opened(with_nvml, sockets(tmp_path, 0, 0, 1, 1), name="NVIDIA GB200", scopes="module", gpus=4)
    modules = {id_: c for id_, c in got["channels"].items() if c["domain"].startswith("module")}
    assert {id_: c["role"] for id_, c in modules.items()} == {"module0.power": "info", "module1.power": "info"}
    assert [got["channels"][f"gpu{i}.energy"]["inside"] for i in range(4)] == [""] * 4
    assert "nvml.module1.power" in got["of"]["nvml.gpu2.telemetry"]


def test_a_module_of_unknown_socket_is_not_shown(with_nvml: Run, tmp_path: Path) -> None:
    got = opened(with_nvml, tmp_path, name="NVIDIA GB200", scopes="module", gpus=2)
    assert not any(c["domain"].startswith("module") for c in got["channels"].values())


@pytest.mark.parametrize(
    ("scene", "domain", "watts"),
    [
        ({"name": GRACE, "scopes": "module,memory", "counts_module": 1}, "module0", 220),
        ({"name": "NVIDIA GB200", "scopes": "module,memory"}, "gpu0", 120),
        ({"name": "NVIDIA H100 80GB HBM3", "scopes": "memory"}, "gpu0", 120),
    ],
)
def test_nothing_is_counted_twice(
    with_nvml: Run, tmp_path: Path, scene: Mapping[str, object], domain: str, watts: float
) -> None:
    got = with_nvml(COUNTED.format(pci=str(sockets(tmp_path, 0))), **scene)
    assert got["mean_power"]["value"] == pytest.approx(watts, rel=0.01)
    (counted,) = (one for one in got["domains"] if one["domain"] == domain)
    assert counted["residual_rel"] == pytest.approx(0, abs=0.01)


RELOADED = """
import json, time
from tcabench.errors import MeterError
from tcabench.power import open_meters
meters = open_meters(["nvml"])
began, told = time.monotonic(), []
while time.monotonic() < began + 1.6:
    for meter in meters:
        try:
            told += [[id, value] for id, value in meter.read()]
        except MeterError as err:
            told.append([err.kind, str(err)])
    time.sleep(0.05)
print(json.dumps(told))
for meter in meters:
    meter.close()
"""


def test_after_a_reload_of_the_driver_the_gpu_is_read_again_and_its_counter_starts_anew(with_nvml: Run) -> None:
    told = with_nvml(RELOADED, gpus=2, low_w=150, reload_s=0.5, reload_for_s=0.3)
    errors = {kind: words for kind, words in told if not kind.startswith("nvml.gpu")}
    assert "driver is not loaded" in errors["nvml-unavailable"]
    for id_, start_j in (("nvml.gpu0.energy", 1000), ("nvml.gpu1.energy", 2000)):
        counted = [value for name, value in told if name == id_]
        assert counted[0] >= start_j
        assert 0 < counted[-1] < 2 * 150 * 1.6
    assert told[-1][0].startswith("nvml.gpu1")


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        ("DOUBLE", 250500.0, struct.pack("=d", 250500.0)),
        ("UNSIGNED_INT", 250500, struct.pack("=I", 250500) + b"\xff\xff\xff\xff"),
        ("UNSIGNED_LONG", 2**40, struct.pack("=Q", 2**40)),
        ("UNSIGNED_LONG_LONG", 2**63, struct.pack("=Q", 2**63)),
        ("SIGNED_LONG_LONG", -5, struct.pack("=q", -5)),
        ("SIGNED_INT", -5, struct.pack("=i", -5) + b"\x00" * 4),
        ("UNSIGNED_SHORT", 500, struct.pack("=H", 500) + b"\xff" * 6),
    ],
)
def test_a_value_is_read_as_nvml_says(kind: str, value: float, written: bytes) -> None:
    """What NVML leaves of the 8 bytes unwritten is anything."""
    import pynvml

    from tcabench.power.meters.nvml_fields import VIEWS

    told = pynvml.c_nvmlValue_t.from_buffer_copy(written)
    assert getattr(told, VIEWS[getattr(pynvml, f"NVML_VALUE_TYPE_{kind}")]) == value


def test_the_counter_is_the_same_as_a_field_and_by_its_call(with_nvml: Callable[..., Any]) -> None:
    """A driver whose fields lack the counter has the call still."""
    code = """
import json, time
from tcabench.power import open_meters
meter = open_meters(["nvml"])[0]
told = dict(meter.read())
print(json.dumps([told["nvml.gpu0.energy"], time.monotonic(), sorted(told)]))
"""
    for without in ("", "energy_field"):
        start_ns = time.monotonic_ns()
        energy_j, at_s, channels = with_nvml(code, low_w=150, start_ns=start_ns, without=without)
        assert channels == ["nvml.gpu0.energy", "nvml.gpu0.power"]
        assert energy_j == pytest.approx(1000 + 150 * (at_s - start_ns / 1e9), abs=150 * 0.15)


COST = """
import json, time
from tcabench.power import open_meters
fast = [meter for meter in open_meters(["nvml"]) if "telemetry" not in meter.name]
def spent():
    began = time.thread_time()
    for _ in range(200):
        for meter in fast:
            meter.read()
    return (time.thread_time() - began) / 200
print(json.dumps(min(spent() for _ in range(5))))
"""


def test_twenty_reads_a_second_of_eight_gpus_leave_the_core_free(standin: ModuleType, nvml_folder: Path) -> None:
    """CPU time of this thread alone, and the least of five: what else runs on the machine does not decide."""
    done = subprocess.run(
        [sys.executable, "-c", COST], env=standin.environment(nvml_folder, gpus=8, scopes="module,memory"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) * 20 < 0.006
