"""ACPI power meters through the kernel's hwmon files: the only way to the power of NVIDIA Grace processors.

Sources: Linux, Documentation/hwmon/acpi_power_meter.rst and sysfs-interface.rst (power[1-*]_average in uW,
_average_interval in ms, _accuracy in %); ACPI 6.5, 10.4. The names are those that NVIDIA's firmware gives in
power1_oem_info. How Grace samples: Yang, Adamek, Armour, SC24, doi 10.1109/SC41406.2024.00028.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from tcabench.errors import MeterError, UsageError
from tcabench.power.meter import Fact, Meter
from tcabench.records import Channel, Instrument, Kind, Role

HWMON = Path("/sys/class/hwmon")
UW_PER_W = 1_000_000
UPDATE_NS = PERIOD_NS = 100_000_000  # GH200, SC24
DEFAULT_PCT = 10.0
GRACE = re.compile(r"(Module|Grace|CPU|SysIO) Power Socket (\d+)")
NOISE = "; single readings were seen to scatter by more than 100 W (SC24, GH200)"
NOTES = {
    "Module": "the whole module, its GPU, memory and regulators too; shown, not counted: NVML tells it by its GPU",
    "Grace": "the socket: cores, memory, regulators",
    "CPU": "the rail of the cores, a part of the socket; shown, not counted",
    "SysIO": "the rail of the rest of the chip, a part of the socket; shown, not counted",
    "": "an ACPI power meter that does not say what it measures; shown, not counted",
}
NONE_HERE = (
    "{} has no ACPI power meter (name power_meter). NVIDIA Grace has them; virtual machines and containers show none. "
    "Load the driver: sudo modprobe acpi_power_meter"
)


@dataclass(frozen=True, slots=True)
class Sensor:
    """One power file and its channel."""

    file: Path
    channel: Channel


class HwmonMeter:
    """All ACPI power meters of a machine. Each file stays open."""

    name = "hwmon"

    def __init__(self, sensors: Sequence[Sensor], facts: Mapping[str, Fact]) -> None:
        self._sensors, self._facts = tuple(sensors), facts
        self._files: dict[str, int] = {}
        try:
            for sensor in sensors:
                self._files[sensor.channel.id] = _open(sensor.file)
        except MeterError:
            self.close()
            raise

    def channels(self) -> tuple[Channel, ...]:
        return tuple(sensor.channel for sensor in self._sensors)

    def read(self) -> list[tuple[str, float]]:
        """Power in W. raises: MeterError of kind hwmon-read."""
        try:
            return [(id_, int(os.pread(file, 32, 0)) / UW_PER_W) for id_, file in self._files.items()]
        except (OSError, ValueError) as err:
            raise MeterError(f"an ACPI power meter cannot be read: {err}. See `dmesg`", "hwmon-read") from err

    def facts(self) -> dict[str, Fact]:
        return dict(self._facts)

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files = {}


def open_hwmon(argument: str, chosen: str = "named", hwmon: Path = HWMON) -> list[Meter]:
    """The ACPI power meters. Of Grace the sockets count, each inside the module of its number where NVML meters that.

    raises: MeterError of kind hwmon-unavailable or hwmon-permission; UsageError for any argument.
    """
    if argument:
        raise UsageError(f"hwmon takes no argument, not {argument!r}", "meter-argument")
    folders = sorted(hwmon.iterdir(), key=lambda folder: folder.name) if hwmon.is_dir() else []
    sensors = [sensor for folder in folders for sensor in _sensors(folder)]
    if not sensors:
        raise MeterError(NONE_HERE.format(hwmon), "hwmon-unavailable")
    meter = HwmonMeter(
        sensors,
        {
            "chosen": {"value": chosen, "source": "tcabench"},
            "sensors": {"value": {s.channel.id: str(s.file) for s in sensors}, "source": "hwmon"},
        },
    )
    try:
        meter.read()
    except MeterError:
        meter.close()
        raise
    return [meter]


def _sensors(folder: Path) -> list[Sensor]:
    """The one sensor of an ACPI power meter. Its files are in the device's folder, with newer kernels in hwmon's."""
    if _text(folder / "name") != "power_meter":
        return []
    place = next((place for place in (folder, folder / "device") if (place / "power1_average").exists()), None)
    return [] if place is None else [Sensor(place / "power1_average", _channel(place, folder.name))]


def _channel(place: Path, label: str) -> Channel:
    told = GRACE.fullmatch(_text(place / "power1_oem_info"))
    sort, socket = (told[1], told[2]) if told else ("", "")
    domain = {"Module": f"module{socket}", "Grace": f"cpu{socket}", "": label}.get(sort, f"cpu{socket}.{sort.lower()}")
    limit_pct, source = _accuracy(_text(place / "power1_accuracy"))
    half = 2 * limit_pct / 100 / sqrt(3)  # a rectangular limit, k = 2 (GUM, JCGM 100:2008, 4.3.7)
    interval_ms = _text(place / "power1_average_interval")
    return Channel(
        id=f"hwmon.{domain}.power", meter="hwmon", domain=domain, kind=Kind.POWER, unit="W", boundary="chip",
        gain_low=1 - half, gain_high=1 + half, resolution=1e-6, update_ns=UPDATE_NS, period_ns=PERIOD_NS,
        is_estimate=False, accuracy_source=f"{source}, rectangular: k=2 half width {100 * half:.3g} %",
        note=NOTES[sort] + (NOISE if told else ""), role=Role.LOAD if sort == "Grace" else Role.INFO,
        instrument=Instrument.CPU if told else Instrument.BMC,
        inside={"Grace": f"module{socket}", "CPU": f"cpu{socket}", "SysIO": f"cpu{socket}"}.get(sort, ""),
        average_ns=int(interval_ms) * 1_000_000 if interval_ms.isdigit() else 0,
    )  # fmt: skip


def _accuracy(told: str) -> tuple[float, str]:
    """The limit of error in % of reading from the accuracy in %, of which 100 is a perfect one (ACPI 6.5, 10.4.1)."""
    number = re.fullmatch(r"(\d+(?:\.\d+)?)%", told)
    if number and 0 < (limit_pct := 100 - float(number[1])) < 100:
        return limit_pct, f"power1_accuracy {told}, as the firmware says: +-{limit_pct:g} % of reading"
    return DEFAULT_PCT, f"no accuracy stated; taken as +-{DEFAULT_PCT:g} % of reading"


def _open(file: Path) -> int:
    try:
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as err:
        raise MeterError(f"{file} may not be read: run as root, or chmod a+r it", "hwmon-permission") from err
    except OSError as err:
        raise MeterError(f"{file} cannot be opened: {err}", "hwmon-unavailable") from err


def _text(file: Path) -> str:
    """What a file says, "" where it is not there or does not say."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""  # attributes that firmware does not implement are absent or answer with an error
