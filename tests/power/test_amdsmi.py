"""The AMD meter through AMD's own binding, against a library that draws known power over real time."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.power.servers.amdsmi_standin import build, environment

Run = Callable[..., Any]
OPENED = """
import json
from dataclasses import asdict
from tcabench.power.meters.amdsmi import open_amdsmi
meters = open_amdsmi({argument!r})
print(json.dumps({{
    "of": {{meter.name: [c.id for c in meter.channels()] for meter in meters}},
    "channels": {{c.id.removeprefix("amdsmi."): asdict(c) for m in meters for c in m.channels()}},
    "values": {{id.removeprefix("amdsmi."): value for meter in meters for id, value in meter.read()}},
    "facts": {{meter.name: meter.facts() for meter in meters}},
}}))
for meter in meters:
    meter.close()
    meter.close()
"""
REFUSED = """
import json
from tcabench.errors import TcaError
from tcabench.power.meters.amdsmi import open_amdsmi
try:
    open_amdsmi({argument!r})
except TcaError as err:
    print(json.dumps([type(err).__name__, err.kind, str(err)]))
"""
RECORDED = """
import json, time
from dataclasses import asdict
from tcabench.clock import SystemClock
from tcabench.energy import integrate
from tcabench.power import recording
from tcabench.power.meters.amdsmi import open_amdsmi
from tcabench.records import Window
meters = open_amdsmi("")
with recording(meters, SystemClock(), lambda samples: None) as tape:
    start = time.monotonic_ns() + 300_000_000
    time.sleep({seconds} + 0.8)
end = start + round({seconds} * 1e9)
channels = [channel for meter in meters for channel in meter.channels()]
energy = integrate(channels, tape.samples(), Window(start, start, start, start, end, end, ""), "chip")
print(json.dumps({{"energy": asdict(energy), "faults": tape.faults(),
    "last": {{c.id: tape.latest(c.id).t_ns for c in channels if tape.latest(c.id)}}}}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("amd"))


@pytest.fixture
def with_amd(library: Path) -> Run:
    """Runs Python code in a process of its own that finds the stand-in; gives back what it printed as JSON."""

    def run(code: str, folder: Path = library, **scene: object) -> Any:
        command = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(command, env=environment(folder, **scene), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def opened(with_amd: Run, argument: str = "", **scene: object) -> Any:
    return with_amd(OPENED.format(argument=argument), **scene)


def test_each_gpu_has_its_meters_channels_and_values(with_amd: Run) -> None:
    got = opened(with_amd, gpus=2)
    assert got["of"]["amdsmi.gpu0"] == ["amdsmi.gpu0.energy", "amdsmi.gpu0.power"]
    expected = {
        "gpu1.power": 600, "gpu1.power_average": 600, "gpu1.temperature": 61, "gpu1.clock_gfx": 2100,
        "gpu1.clock_memory": 1300, "gpu1.power_limit": 750, "gpu1.utilisation": 0.93,
    }  # fmt: skip
    assert {name: got["values"][name] for name in expected} == expected
    assert got["values"]["gpu0.energy"] > 5000
    roles = {id_: got["channels"][id_.removeprefix("amdsmi.")]["role"] for id_ in got["of"]["amdsmi.gpu0.telemetry"]}
    assert set(roles.values()) == {"info"}


def test_the_counters_step_is_the_one_that_the_library_tells(with_amd: Run) -> None:
    energy = opened(with_amd, step_uj=15.3)["channels"]["gpu0.energy"]
    assert energy["resolution"] == pytest.approx(15.3e-6)
    assert (energy["instrument"], energy["domain"]) == ("device", "amdgpu0")
    assert "AMD states no accuracy; taken as +-10 % of reading" in energy["accuracy_source"]


def test_facts_come_with_their_source(with_amd: Run) -> None:
    facts = opened(with_amd, without="vbios", processes=3)["facts"]["amdsmi.gpu0"]
    assert facts["name"] == {"value": "Stand-in Instinct", "source": "AMD SMI amdsmi_get_gpu_asic_info"}
    assert facts["driver_version"]["value"] == "6.14.standin"
    assert facts["library_version"]["value"] == "26.0.2"
    assert facts["other_processes"]["value"] == 3
    assert facts["vbios_version"]["value"] is None
    assert "not supported" in facts["vbios_version"]["why"]
    assert facts["energy_counter"]["value"] == "counted"


@pytest.mark.parametrize(
    ("without", "channel", "note"),
    [
        ("average", "gpu0.power", "current_socket_power"),  # MI300X
        ("current", "gpu0.power", "average_socket_power"),  # MI210
    ],
)
def test_a_part_with_one_kind_of_power_counts_that(with_amd: Run, without: str, channel: str, note: str) -> None:
    got = opened(with_amd, without=without)
    assert got["channels"][channel]["role"] == "load"
    assert note in got["channels"][channel]["note"]
    assert got["values"][channel] == 300
    assert "gpu0.power_average" not in got["channels"]


@pytest.mark.parametrize(
    ("scene", "missing"),
    [
        ({"without": "energy"}, "gpu0.energy"),
        ({"without": "power"}, "gpu0.power"),
        ({"without": "temperature,clock,cap"}, "gpu0.temperature"),
        ({"activity_na": 1}, "gpu0.utilisation"),
    ],
)
def test_what_the_gpu_does_not_have_is_not_a_channel(with_amd: Run, scene: Mapping[str, object], missing: str) -> None:
    got = opened(with_amd, **scene)
    assert missing not in got["channels"]
    assert got["values"].keys() == got["channels"].keys()


def test_a_cap_that_is_told_in_watts_is_taken_as_watts(with_amd: Run) -> None:
    assert opened(with_amd, cap=750)["values"]["gpu0.power_limit"] == 750


def test_of_two_dies_the_first_tells_for_both_and_the_second_is_inside(with_amd: Run) -> None:
    got = opened(with_amd, gpus=4, dies=2)
    assert got["of"].keys() == {
        "amdsmi.gpu0", "amdsmi.gpu0.telemetry", "amdsmi.gpu1.telemetry",
        "amdsmi.gpu2", "amdsmi.gpu2.telemetry", "amdsmi.gpu3.telemetry",
    }  # fmt: skip
    assert got["values"]["gpu0.power"] == 900  # 300 W and twice as much
    assert "of both dies" in got["channels"]["gpu0.energy"]["note"]
    assert got["channels"]["gpu1.temperature"]["inside"] == "amdgpu0"
    assert "second die" in got["facts"]["amdsmi.gpu3.telemetry"]["energy_counter"]["value"]


def test_a_second_die_by_itself_is_refused(with_amd: Run) -> None:
    class_name, kind, message = with_amd(REFUSED.format(argument="1"), gpus=2, dies=2)
    assert (class_name, kind) == ("UsageError", "meter-argument")
    assert "second die of a module" in message
    assert "name amdsmi:0" in message


@pytest.mark.parametrize("which", ["2,0", "00ff0000-0000-1000-8000-000000000002,0"])
def test_a_subset_of_the_gpus(with_amd: Run, which: str) -> None:
    names = opened(with_amd, which, gpus=3)["of"]
    assert [name for name in names if "telemetry" not in name] == ["amdsmi.gpu2", "amdsmi.gpu0"]


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        ({"stuck": 1}, "stood still for 1.2 s"),
        ({"counter_gain": 50}, "at most 1500 W"),
        ({"counter_gain": 0.001}, "beside 300 W"),
    ],
)
def test_a_counter_that_cannot_be_believed_is_shown_and_power_counts(
    with_amd: Run, scene: Mapping[str, object], words: str
) -> None:
    got = opened(with_amd, **scene)
    assert got["of"]["amdsmi.gpu0"] == ["amdsmi.gpu0.power"]
    energy = got["channels"]["gpu0.energy"]
    assert energy["role"] == "info"
    assert words in energy["note"]
    assert words in got["facts"]["amdsmi.gpu0"]["energy_counter"]["value"]


@pytest.mark.parametrize(
    ("argument", "scene", "kind", "words"),
    [
        ("", {"init_fails": 34}, "amdsmi-unavailable", "amdgpu driver is not loaded"),
        ("", {"gpus": 0}, "amdsmi-unavailable", "finds no GPU"),
        ("", {"without": "energy,power"}, "amdsmi-unavailable", "neither an energy that can be believed nor its power"),
        ("", {"without": "power", "stuck": 1}, "amdsmi-unavailable", r"believed \\(the counter stood still"),
        ("", {"denied_after": 0}, "amdsmi-permission", "groups render and video"),
        ("", {"lost_after": 0}, "gpu-lost", "dmesg"),
        ("5", {"gpus": 2}, "meter-argument", "no GPU '5' here. There is: 0 .* 1 "),
    ],
)
def test_what_cannot_be_metered_is_refused_with_what_to_do(
    with_amd: Run, argument: str, scene: Mapping[str, object], kind: str, words: str
) -> None:
    class_name, got_kind, message = with_amd(REFUSED.format(argument=argument), **scene)
    assert (class_name, got_kind) == ("UsageError" if kind == "meter-argument" else "MeterError", kind)
    assert re.search(words.replace("\\\\", "\\"), message), message


def refused_without(env: Mapping[str, str]) -> Any:
    """What opening says in a process with `env`; nothing else may come to stdout, which carries the samples."""
    command = [sys.executable, "-c", REFUSED.format(argument="")]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_the_library_it_is_unavailable(tmp_path: Path) -> None:
    """A file that is no library stands where the binding looks first, so this holds on machines with ROCm too."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "libamd_smi.so").write_text("no library")
    class_name, kind, message = refused_without(environment(tmp_path) | {"ROCM_PATH": str(tmp_path)})
    assert (class_name, kind) == ("MeterError", "amdsmi-unavailable")
    assert "finds no libamd_smi.so" in message


def test_a_library_that_is_older_than_the_binding_is_told(tmp_path: Path) -> None:
    folder = build(tmp_path, leave_out="amdsmi_get_gpu_xcd_counter")
    class_name, kind, message = refused_without(environment(folder))
    assert (class_name, kind) == ("MeterError", "amdsmi-unavailable")
    assert "do not belong together" in message
    assert "amdsmi_get_gpu_xcd_counter" in message


HIDDEN = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "amdsmi" else find(name, *more)
"""


def test_without_the_binding_the_extra_is_named() -> None:
    command = [sys.executable, "-c", HIDDEN + REFUSED.format(argument="")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    class_name, kind, message = json.loads(done.stdout)
    assert (class_name, kind) == ("MeterError", "meter-missing")
    assert "pip install 'tcabench[amd]'" in message


def test_energy_is_counted_once_and_lies_in_its_interval(with_amd: Run) -> None:
    energy = with_amd(RECORDED.format(seconds=1.2), gpus=2, dies=2)["energy"]
    assert [domain["method"] for domain in energy["domains"]] == ["counter"]
    assert energy["mean_power"]["value"] == pytest.approx(900, rel=0.01)
    assert energy["domains"][0]["residual_rel"] == pytest.approx(0, abs=0.01)


def test_an_impossible_step_of_the_counter_is_a_fault_and_nothing_is_corrected(with_amd: Run) -> None:
    got = with_amd(RECORDED.format(seconds=1.2), jump_s=1.3, jump_j=1e6)
    (jump,) = [fault for fault in got["faults"] if fault.get("kind") == "amdsmi-implausible"]
    assert "more than 1500 W for a second: impossible" in jump["why"]
    assert got["energy"]["domains"][0]["method"] == "integral"
    assert got["energy"]["total"]["value"] == pytest.approx(300 * 1.2, rel=0.01)
    assert "leapt" in got["energy"]["grade_why"]


def test_a_lost_gpu_is_a_fault_and_the_other_goes_on(with_amd: Run) -> None:
    got = with_amd(RECORDED.format(seconds=2), gpus=2, lost_gpu=1, lost_after=150)
    lost = [fault for fault in got["faults"] if fault["event"] == "meter_error"]
    assert {fault["kind"] for fault in lost} == {"gpu-lost"}
    assert {fault["meter"] for fault in lost} <= {"amdsmi.gpu1", "amdsmi.gpu1.telemetry"}
    assert got["last"]["amdsmi.gpu0.energy"] > got["last"]["amdsmi.gpu1.energy"]
