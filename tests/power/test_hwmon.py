"""ACPI power meters through a directory like /sys/class/hwmon."""

from pathlib import Path

import pytest

from tcabench.errors import MeterError, UsageError
from tcabench.power.meters.hwmon import open_hwmon
from tcabench.records import Channel, Instrument, Kind, Role

GRACE = ("Module Power Socket 0", "Grace Power Socket 0", "CPU Power Socket 0", "SysIO Power Socket 0")


def meter_in(folder: Path, number: int, oem: str, watts: float, device: str = "device", **files: str) -> Path:
    place = folder / f"hwmon{number}" / device
    place.mkdir(parents=True)
    (folder / f"hwmon{number}" / "name").write_text("power_meter\n")
    (place / "power1_oem_info").write_text(f"{oem}\n")
    (place / "power1_average").write_text(f"{round(watts * 1e6)}\n")
    (place / "power1_average_interval").write_text("50\n")
    for name, text in files.items():
        (place / name).write_text(f"{text}\n")
    return place


def grace(folder: Path) -> dict[str, Channel]:
    for number, oem in enumerate(GRACE):
        meter_in(folder, number, oem, 100.0 + number)
    (folder / "hwmon9").mkdir()
    (folder / "hwmon9" / "name").write_text("nvme\n")
    (meter,) = open_hwmon("", hwmon=folder)
    assert dict(meter.read())["hwmon.cpu0.power"] == 101.0
    meter.close()
    return {channel.domain: channel for channel in meter.channels()}


def test_of_grace_the_socket_counts_inside_its_module(tmp_path: Path) -> None:
    channels = grace(tmp_path)
    assert {name: (c.role, c.inside) for name, c in channels.items()} == {
        "module0": (Role.INFO, ""),
        "cpu0": (Role.LOAD, "module0"),
        "cpu0.cpu": (Role.INFO, "cpu0"),
        "cpu0.sysio": (Role.INFO, "cpu0"),
    }
    assert {(c.kind, c.instrument, c.boundary) for c in channels.values()} == {(Kind.POWER, Instrument.CPU, "chip")}
    assert channels["cpu0"].average_ns == 50_000_000
    assert "no accuracy stated; taken as +-10 %" in channels["cpu0"].accuracy_source


@pytest.mark.parametrize(
    ("told", "words"), [("98.0%", "+-2 % of reading"), ("100.0%", "taken as"), ("odd", "taken as")]
)
def test_the_accuracy_is_the_firmwares_where_it_states_one(tmp_path: Path, told: str, words: str) -> None:
    meter_in(tmp_path, 0, GRACE[1], 100, power1_accuracy=told)
    (meter,) = open_hwmon("", hwmon=tmp_path)
    meter.close()
    assert words in meter.channels()[0].accuracy_source


@pytest.mark.parametrize("device", ["device", "."])
def test_the_files_are_found_in_either_place(tmp_path: Path, device: str) -> None:
    meter_in(tmp_path, 0, GRACE[1], 120, device)
    (meter,) = open_hwmon("", hwmon=tmp_path)
    assert meter.read() == [("hwmon.cpu0.power", 120.0)]
    meter.close()


def test_a_meter_that_does_not_say_what_it_measures_is_shown(tmp_path: Path) -> None:
    meter_in(tmp_path, 3, "", 450)
    (meter,) = open_hwmon("", hwmon=tmp_path)
    meter.close()
    (channel,) = meter.channels()
    assert (channel.domain, channel.role, channel.instrument) == ("hwmon3", Role.INFO, Instrument.BMC)
    assert "does not say what it measures" in channel.note


def test_a_meter_that_stops_answering_is_an_error_and_reads_again(tmp_path: Path) -> None:
    file = meter_in(tmp_path, 0, GRACE[1], 120) / "power1_average"
    (meter,) = open_hwmon("", hwmon=tmp_path)
    file.write_text("")
    with pytest.raises(MeterError) as caught:
        meter.read()
    assert caught.value.kind == "hwmon-read"
    file.write_text("90000000\n")
    assert meter.read() == [("hwmon.cpu0.power", 90.0)]
    meter.close()
    meter.close()


def test_without_any_it_says_where_there_are_some(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match=r"has no ACPI power meter .*NVIDIA Grace has them") as caught:
        open_hwmon("", hwmon=tmp_path / "nowhere")
    assert caught.value.kind == "hwmon-unavailable"
    with pytest.raises(UsageError, match="takes no argument"):
        open_hwmon("0", hwmon=tmp_path)
