"""Processor packages and their memory through the kernel's powercap files: RAPL energy counters of Intel and AMD.

Sources: Linux, Documentation/power/powercap/powercap.rst and drivers/powercap/intel_rapl_common.c; Documentation/hwmon/
amd_energy.rst (updated every 1 ms). Who may read them: CVE-2020-8694, INTEL-SA-00389.
"""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tcabench.errors import MeterError
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.rapl_zones import Found, Zone, find_zones
from tcabench.records import Channel, Role

POWERCAP, CPUINFO = Path("/sys/class/powercap"), Path("/proc/cpuinfo")
UJ_PER_J = 1_000_000
MOVES_WITHIN_S, LOOK_S = 0.2, 0.01
NO_ACCESS = (
    "Since CVE-2020-8694 Linux lets only root read these counters: they can give other programs' secrets away. Run as "
    "root, or let one group read them until the next boot: sudo sh -c 'chgrp GROUP /sys/class/powercap/*/energy_uj; "
    "chmod g+r /sys/class/powercap/*/energy_uj' (a udev rule makes it last), or give the interpreter the capability "
    "CAP_DAC_READ_SEARCH"
)
STUCK = "it did not move within {:g} s, and whatever runs draws power: virtual machines show such counters"


class RaplMeter:
    """Some zones' counters. Each file stays open: who may read it is settled on opening."""

    def __init__(self, name: str, zones: Sequence[Zone], facts: Mapping[str, Fact]) -> None:
        self.name, self._facts = name, facts
        self._channels = tuple(zone.channel for zone in zones)
        self._files: dict[str, int] = {}
        try:
            for zone in zones:
                self._files[zone.channel.id] = _open(zone)
        except MeterError:
            self.close()
            raise
        self._paths = {zone.channel.id: zone.file for zone in zones}

    def channels(self) -> tuple[Channel, ...]:
        return self._channels

    def read(self) -> list[tuple[str, float]]:
        """Energy in J of every zone. raises: MeterError of kind rapl-read."""
        return [(id_, self._energy_j(id_, file)) for id_, file in self._files.items()]

    def facts(self) -> dict[str, Fact]:
        return dict(self._facts)

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files = {}

    def _energy_j(self, id_: str, file: int) -> float:
        try:
            return int(os.pread(file, 32, 0)) / UJ_PER_J
        except (OSError, ValueError) as err:
            why = f"{id_}: {self._paths[id_]} cannot be read any more: {err}. Was the intel_rapl module taken out?"
            raise MeterError(why, "rapl-read") from err


def open_rapl(argument: str, chosen: str = "named", powercap: Path = POWERCAP, cpuinfo: Path = CPUINFO) -> list[Meter]:
    """ "rapl": packages and their memory, every 50 ms; and, where there are any, "rapl.parts": what is shown and not
    counted (cores, graphics, the platform counter), every second.

    `argument` selects packages by number ("0,1"); "" takes all. `powercap` and `cpuinfo` are where the kernel tells.

    raises: MeterError of kind rapl-unavailable where the kernel shows no counters, or shows such as do not move,
    rapl-permission where they may not be read; UsageError for a package that is not there.
    """
    found = find_zones(argument, powercap, cpuinfo)
    counted, left_out = _moving([zone for zone in found.zones if zone.channel.role is Role.LOAD])
    shown, unreadable = _readable([zone for zone in found.zones if zone.channel.role is not Role.LOAD])
    facts = _facts(found, {**found.left_out, **left_out, **unreadable}, chosen)
    meters: list[Meter] = [RaplMeter("rapl", counted, facts)]
    if shown:
        meters.append(RaplMeter("rapl.parts", shown, {}))
    return meters


def _open(zone: Zone) -> int:
    try:
        return os.open(zone.file, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as err:
        raise MeterError(f"{zone.name} ({zone.file}) may not be read. {NO_ACCESS}", "rapl-permission") from err
    except OSError as err:
        raise MeterError(f"{zone.name} ({zone.file}) cannot be opened: {err}", "rapl-unavailable") from err


def _moving(zones: Sequence[Zone]) -> tuple[list[Zone], dict[str, str]]:
    """The zones whose counters move, and why the others are left out. raises: MeterError when that is a package."""
    meter = RaplMeter("rapl", zones, {})
    try:
        first, still, until = dict(meter.read()), {zone.channel.id: zone for zone in zones}, time.monotonic()
        until += MOVES_WITHIN_S
        while still and time.monotonic() < until:
            time.sleep(LOOK_S)
            for id_, energy_j in meter.read():
                if energy_j != first[id_]:
                    still.pop(id_, None)
    finally:
        meter.close()
    why = STUCK.format(MOVES_WITHIN_S)
    for zone in still.values():
        if zone.is_package:
            raise MeterError(f"{zone.name} ({zone.file}): {why}", "rapl-unavailable")
    return [zone for zone in zones if zone.channel.id not in still], {zone.name: why for zone in still.values()}


def _readable(zones: Sequence[Zone]) -> tuple[list[Zone], dict[str, str]]:
    """The zones that may be read, and why the others are left out: nothing is computed with them."""
    able, left_out = [], {}
    for zone in zones:
        try:
            os.close(_open(zone))
        except MeterError as err:
            left_out[zone.name] = str(err)
        else:
            able.append(zone)
    return able, left_out


def _facts(found: Found, left_out: Mapping[str, str], chosen: str) -> dict[str, Fact]:
    zones = {zone.name: zone.channel.domain for zone in found.zones if zone.name not in left_out}
    return {
        "chosen": {"value": chosen, "source": "tcabench"},
        "processor": found.processor,
        "zones": {"value": zones, "source": str(found.powercap)},
        "left_out": {"value": dict(left_out), "source": "tcabench"},
    }
