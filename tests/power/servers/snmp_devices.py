"""Rack PDUs as tables of SNMP objects, written from the makers' MIBs and not from our maps, so that each checks the
other. All of them have number 1 where they count; the outlet is number 5."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from tests.power.servers.played import PlayedLoad

Held = int | str | bytes
Object = tuple[str, Callable[[], Held]]  # "integer", "gauge", "counter" or "string", and what it holds now
Table = dict[str, Object]
HR_SYSTEM_DATE = "1.3.6.1.2.1.25.1.2.0"


class Device:
    """A played load and a clock, which knows nothing but whole seconds and may be wrong by `clock_offset_s`."""

    def __init__(self, load: PlayedLoad) -> None:
        self.load, self.clock_offset_s = load, 0.0
        self._stamp = 0

    def watts(self) -> float:
        return self.load.now()[0]

    def wh(self) -> float:
        return self.load.now()[1] / 3600

    def time_s(self) -> float:
        return time.time() + self.clock_offset_s

    def stamp(self) -> int:
        """Of the last reading: a device that has frozen stamps nothing any more."""
        if not self.load.frozen:
            self._stamp = int(self.time_s())
        return self._stamp

    def date_and_time(self) -> bytes:
        """DateAndTime of RFC 2579, in a zone two hours east."""
        at = datetime.fromtimestamp(int(self.time_s()) + 7200, UTC)
        return at.year.to_bytes(2, "big") + bytes((at.month, at.day, at.hour, at.minute, at.second, 0)) + b"+\x02\x00"


def gauge(value: Callable[[], float]) -> Object:
    return "gauge", lambda: int(value())


def integer(value: Callable[[], float]) -> Object:
    return "integer", lambda: int(value())


def is_(held: Held) -> Object:
    return "integer" if isinstance(held, int) else "string", lambda: held


def raritan(device: Device) -> Table:
    """PDU2-MIB; one decimal digit of W, none of Wh; 1 % told for the power of the inlet."""
    table: Table = {HR_SYSTEM_DATE: ("string", device.date_and_time)}
    root = "1.3.6.1.4.1.13742.6"
    for column, text in ((2, "Raritan"), (3, "PX3-5190R"), (4, "QFC7654321")):
        table[f"{root}.3.2.1.1.{column}.1"] = is_(text)
    table[f"{root}.3.2.3.1.6.1.1.1"] = is_("4.2.0.5-50274")
    for measured, described, number in (("5.2.3.1", "3.3.4.1", "1.1"), ("5.4.3.1", "3.5.4.1", "1.5")):
        for sensor, digits, unit, value in (
            (5, 1, 3, lambda: device.watts() * 10),
            (6, 0, 4, lambda: device.watts() * 1.05),
            (8, 0, 5, device.wh),
        ):
            place = f"{number}.{sensor}"
            table[f"{root}.{measured}.2.{place}"] = is_(1)
            table[f"{root}.{measured}.4.{place}"] = gauge(value)
            table[f"{root}.{measured}.5.{place}"] = gauge(device.stamp)
            table[f"{root}.{described}.6.{place}"] = is_(unit)
            table[f"{root}.{described}.7.{place}"] = is_(digits)
            table[f"{root}.{described}.8.{place}"] = is_(100 if place == "1.1.5" else 0)
            table[f"{root}.{described}.9.{place}"] = is_(5 if sensor == 5 else 1)
    return table


def apc(device: Device) -> Table:
    """PowerNet-MIB, rPDU2; it cuts loads below 115 W (0.5 A at 230 V) to 0."""
    root = "1.3.6.1.4.1.318.1.1.26"

    def seen() -> float:
        return watts if (watts := device.watts()) >= 115 else 0

    return {
        f"{root}.2.1.6.1": is_("v6.5.6"),
        f"{root}.2.1.8.1": is_("AP8853"),
        f"{root}.2.1.9.1": is_("5A1234E56789"),
        f"{root}.4.3.1.5.1": integer(lambda: seen() / 10),
        f"{root}.4.3.1.9.1": integer(lambda: device.wh() / 100),
        f"{root}.4.3.1.10.1": is_("05/30/2025 00:12:17"),
        f"{root}.4.3.1.16.1": integer(lambda: seen() / 10 * 1.05),
        f"{root}.9.4.3.1.7.5": integer(seen),
        f"{root}.9.4.3.1.10.5": is_("05/30/2025 00:12:17"),
        f"{root}.9.4.3.1.11.5": integer(lambda: device.wh() / 100),
    }


def sentry4(device: Device) -> Table:
    """Sentry4-MIB: tenths of kWh at the cord, Wh at the outlet."""
    root = "1.3.6.1.4.1.1718.4.1"
    cord, outlet = f"{root}.3.3.1.{{}}.1.1", f"{root}.8.3.1.{{}}.1.1.5"
    return {
        f"{root}.1.1.3.0": is_("Version 8.0v"),
        f"{root}.2.2.1.4.1": is_("SN-0001"),
        f"{root}.2.2.1.5.1": is_("C2WG36TE"),
        cord.format(3): integer(device.watts),
        cord.format(4): is_(0),
        cord.format(5): integer(lambda: device.watts() * 1.05),
        cord.format(10): integer(lambda: device.wh() / 100),
        outlet.format(7): integer(device.watts),
        outlet.format(8): is_(0),
        outlet.format(9): integer(lambda: device.watts() * 1.05),
        outlet.format(14): integer(device.wh),
    }


def eaton(device: Device) -> Table:
    """EATON-EPDU-MIB, one unit alone (strapping index 0)."""
    root = "1.3.6.1.4.1.534.6.6.7"
    inlet, outlet = f"{root}.3.5.1.{{}}.0.1", f"{root}.6.5.1.{{}}.0.5"
    return {
        f"{root}.1.2.1.2.0": is_("EATON ePDU MA 1P IN:C20 16A"),
        f"{root}.1.2.1.4.0": is_("H810D12345"),
        f"{root}.1.2.1.5.0": is_("02.00.0051"),
        inlet.format(3): integer(lambda: device.watts() * 1.05),
        inlet.format(4): integer(device.watts),
        inlet.format(5): gauge(device.wh),
        inlet.format(6): ("counter", lambda: 1_748_563_937),
        outlet.format(2): is_(-1),
        outlet.format(3): integer(device.watts),
        outlet.format(4): gauge(device.wh),
        outlet.format(5): ("counter", lambda: 1_748_563_937),
    }


def geist(device: Device) -> Table:
    """VERTIV-V5-MIB: the same watts at total, phase, breaker and outlet."""
    root = "1.3.6.1.4.1.21239.5.2"
    table: Table = {
        f"{root}.1.2.0": is_("5.10.4"),
        f"{root}.1.8.0": is_("GU30017L"),
        f"{root}.1.10.0": is_("0019854F1234"),
        f"{root}.3.1.1.5.1": gauge(lambda: 1),
        f"{root}.3.1.1.9.1": gauge(device.watts),
        f"{root}.3.1.1.10.1": gauge(lambda: device.watts() * 1.05),
        f"{root}.3.1.1.12.1": gauge(device.wh),
    }
    for place, number in (("2", 1), ("3", 1), ("6", 5)):
        table[f"{root}.3.{place}.1.12.{number}"] = gauge(device.watts)
        table[f"{root}.3.{place}.1.13.{number}"] = gauge(lambda: device.watts() * 1.05)
        table[f"{root}.3.{place}.1.15.{number}"] = gauge(device.wh)
    return table


def mph(device: Device) -> Table:
    """LIEBERT-GP-PDU-MIB: tenths of kWh everywhere."""
    root = "1.3.6.1.4.1.476.1.42.3.8"
    table: Table = {
        f"{root}.30.20.1.20.1.1": is_("MPHR1245"),
        f"{root}.30.20.1.55.1.1": is_("V16K2600793"),
        f"{root}.30.20.1.60.1.1": is_("0.4.5.3"),
    }
    for power, energy, apparent in (
        ("30.20.1.65.1.1", "30.20.1.50.1.1", "30.20.1.90.1.1"),
        ("50.20.1.65.1.2.5", "50.20.1.85.1.2.5", "50.20.1.70.1.2.5"),
    ):
        table[f"{root}.{power}"] = gauge(device.watts)
        table[f"{root}.{energy}"] = gauge(lambda: device.wh() / 100)
        table[f"{root}.{apparent}"] = gauge(lambda: device.watts() * 1.05)
    return table


def rfc7460(device: Device) -> Table:
    """ENERGY-OBJECT-MIB and ENTITY-MIB: mW, measured, accurate to 0.5 %."""
    root, entity = "1.3.6.1.2.1.229.1.2.1", "1.3.6.1.2.1.47.1.1.1.1"
    return {
        f"{root}.1.1": integer(lambda: device.watts() * 1000),
        f"{root}.3.1": is_(-3),
        f"{root}.4.1": is_(50),
        f"{root}.5.1": is_(3),
        f"{entity}.9.1": is_("17.9.4"),
        f"{entity}.11.1": is_("FOC1234X0YZ"),
        f"{entity}.12.1": is_("A maker of switches"),
        f"{entity}.13.1": is_("SW-48P"),
    }


DEVICES: dict[str, Callable[[Device], Table]] = {
    "raritan-px": raritan, "apc-rpdu2": apc, "servertech-sentry4": sentry4, "eaton-epdu": eaton,
    "vertiv-geist": geist, "vertiv-mph": mph, "rfc7460": rfc7460,
}  # fmt: skip
