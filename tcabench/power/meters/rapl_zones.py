"""Which energy counters the kernel shows under powercap, and what each stands for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

from tcabench.errors import MeterError, UsageError
from tcabench.power.meter import Fact
from tcabench.records import Channel, Instrument, Kind, Role

FAST_NS, SLOW_NS, UPDATE_NS = 50_000_000, 1_000_000_000, 1_000_000
COUNTER_STEPS = 2**32  # the register has 32 bits: max_energy_range_uj is so many of its steps (intel_rapl_common.c)
FILE_J, COARSEST_J = 1e-6, 1e-2  # the file tells whole uJ; a step coarser than 10 mJ is not the register's
ZONE = re.compile(r"intel-rapl:(\d+)(?::(\d+))?")  # AMD's processors are under this name, too
PACKAGE = re.compile(r"package-(\d+)(?:-die-(\d+))?")
INTEL = (
    "Intel states no accuracy; measured at the voltage regulators since Haswell-EP (Hackenberg et al. 2015, doi "
    "10.1109/IPDPSW.2015.70); taken as +-{:g} % of reading"
)
INTEL_DRAM = (
    "Intel states no accuracy; offsets that are constant and differ between machines were found (Desrochers, Paradis, "
    "Weaver, MEMSYS 2016, doi 10.1145/2989081.2989088); taken as +-{:g} % of reading"
)
AMD = (
    "AMD states no accuracy; modelled on the chip, not measured (Schoene et al., arXiv 2108.00808, on Zen 2); taken as "
    "+-{:g} % of reading"
)
OTHER = "no accuracy stated; taken as +-{:g} % of reading"
ACCURACY: Mapping[tuple[str, str], tuple[float, str]] = {
    ("GenuineIntel", "package"): (5.0, INTEL),
    ("GenuineIntel", "dram"): (20.0, INTEL_DRAM),
    ("AuthenticAMD", "package"): (15.0, AMD),
}
NOTES = {
    "package": "cores, caches, memory controllers and what else is in the package",
    "dram": "the memory modules of this package",
    "core": "the cores, a part of the package: shown, not counted",
    "uncore": "graphics or caches, a part of the package: shown, not counted",
    "psys": "the platform, as far as its maker wired it to the processor, the packages among it: what it covers is not "
    "standardised; shown, not counted",
}
APU = "MI300A"  # its package is the socket whose energy AMD SMI tells, too
FILTERED = "; with SGX or energy filtering on, Intel blurs short readings on purpose (INTEL-SA-00389)"
NONE_HERE = (
    "{} shows no RAPL counters. Virtual machines have none, Docker and Podman hide the host's, Arm processors have "
    "other means (NVIDIA Grace: --meter hwmon); on bare metal load the driver: sudo modprobe intel_rapl_msr (for AMD "
    "from Linux 5.11 on)"
)


@dataclass(frozen=True, slots=True)
class Zone:
    """One counter: its zone's name ("intel-rapl:0:1 dram"), its file, and its channel."""

    name: str
    file: Path
    channel: Channel
    is_package: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The zones to read, why others are not, and the processor they belong to."""

    zones: tuple[Zone, ...]
    left_out: Mapping[str, str]
    processor: Fact
    powercap: Path


def find_zones(argument: str, powercap: Path, cpuinfo: Path) -> Found:
    """The zones of the packages in `argument`. raises: MeterError without any; UsageError."""
    vendor, processor = _processor(cpuinfo)
    there, left_out = _labelled(powercap)
    packages = {key: match for key, label in there.items() if (match := PACKAGE.fullmatch(label))}
    if not packages:
        raise MeterError(NONE_HERE.format(powercap), "rapl-unavailable")
    wanted = _wanted(argument, sorted({match[1] for match in packages.values()}, key=int))
    zones: dict[str, Zone] = {}
    for key, label in there.items():
        owner = packages.get(key.rpartition(":")[0] if key.count(":") > 1 else key)
        if owner is not None and owner[1] not in wanted:
            continue
        zone = _zone(key, label, owner, vendor, powercap)
        if owner is not None and zone.is_package and APU in str(processor["value"]):
            zone = replace(zone, channel=_in_socket(zone.channel, owner[1]))
        if zone.channel.domain in zones:
            left_out[zone.name] = f"the same as {zones[zone.channel.domain].name}: counted once"
        else:
            zones[zone.channel.domain] = zone
    return Found(tuple(zones.values()), left_out, processor, powercap)


def _labelled(powercap: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Zone -> what it calls itself; and the zones that tell of the same thing by another way."""
    there: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for folder in sorted(powercap.iterdir(), key=_in_order) if powercap.is_dir() else ():
        label = folder / "name"
        if ZONE.fullmatch(folder.name) and label.is_file():
            there[folder.name] = label.read_text().strip()
        elif folder.name.startswith("intel-rapl-mmio:"):
            left_out[folder.name] = "the package once more, through memory-mapped registers: counted once"
    return there, left_out


def _in_order(folder: Path) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", folder.name)))


def _wanted(argument: str, there: list[str]) -> set[str]:
    wanted = {part.strip() for part in argument.split(",")} if argument else set(there)
    if strange := sorted(wanted - set(there)):
        raise UsageError(
            f"rapl: there is no processor package {strange[0]!r} here. There is: {', '.join(there)}", "meter-argument"
        )
    return wanted


def _zone(key: str, label: str, owner: re.Match[str] | None, vendor: str, powercap: Path) -> Zone:
    sort = "package" if PACKAGE.fullmatch(label) else label
    number = (owner[1] + (f".die{owner[2]}" if owner[2] else "")) if owner else ""
    domain = {"package": f"cpu{number}", "dram": f"dram{number}", "psys": "platform"}.get(sort, f"cpu{number}.{sort}")
    file = powercap / key / "energy_uj"
    return Zone(
        f"{key} {label}", file, _channel(sort, domain, f"cpu{number}", vendor, powercap / key), sort == "package"
    )


def _channel(sort: str, domain: str, package: str, vendor: str, folder: Path) -> Channel:
    limit_pct, source = ACCURACY.get((vendor, sort), (20.0 if sort == "dram" else 15.0, OTHER))
    half = 2 * limit_pct / 100 / sqrt(3)  # a rectangular limit, k = 2 (GUM, JCGM 100:2008, 4.3.7)
    is_counted = sort in ("package", "dram")
    range_j = _range_j(folder)
    step_j = range_j / COUNTER_STEPS
    note = NOTES.get(sort, f"zone {sort!r}, not known to this meter: shown, not counted")
    return Channel(
        id=f"rapl.{domain}.energy", meter="rapl", domain=domain, kind=Kind.ENERGY, unit="J",
        boundary="node" if sort == "psys" else "chip", gain_low=1 - half, gain_high=1 + half,
        resolution=step_j if FILE_J < step_j < COARSEST_J else FILE_J, update_ns=UPDATE_NS,
        period_ns=FAST_NS if is_counted else SLOW_NS, is_estimate=False,
        accuracy_source=f"{source.format(limit_pct)}, rectangular: k=2 half width {100 * half:.3g} %",
        note=note + (FILTERED if vendor == "GenuineIntel" and is_counted else ""),
        role=Role.LOAD if is_counted else Role.INFO, instrument=Instrument.CPU,
        inside="" if is_counted or sort == "psys" else package, modulus=range_j,
    )  # fmt: skip


def _in_socket(package: Channel, number: str) -> Channel:
    note = f"{package.note}; MI300A: AMD SMI tells the energy of the whole socket, which holds this"
    return replace(package, inside=f"amdgpu{number}", note=note)


def _range_j(folder: Path) -> float:
    """Where the counter starts again at 0, in J. raises: MeterError where the kernel does not say."""
    try:
        return int((folder / "max_energy_range_uj").read_text()) / 1e6
    except (OSError, ValueError) as err:
        why = f"{folder}/max_energy_range_uj does not tell where the counter starts again: {err}"
        raise MeterError(why, "rapl-unavailable") from err


def _processor(cpuinfo: Path) -> tuple[str, Fact]:
    """Its maker ("GenuineIntel", "AuthenticAMD", "" where not told) and its name as a fact."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError as err:
        return "", {"value": None, "source": str(cpuinfo), "why": str(err)}
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    name = told.get("model name") or None
    fact: Fact = {"value": name, "source": str(cpuinfo)}
    return told.get("vendor_id", ""), fact if name else {**fact, "why": "it names no model"}
