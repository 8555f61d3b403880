"""What the Redfish schemas call a reading: properties by resource type, units, durations, time-stamps.

Source: DMTF DSP0268 2025.4 (Sensor 1.12, PowerDistributionMetrics 1.4, Outlet 1.4, Circuit 1.9, EnvironmentMetrics 1.5,
CoolantConnector 1.3, PowerSupplyMetrics 1.1, ThermalMetrics 1.3, Power 1.7).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tcabench.power.meters.possible_time import is_possible
from tcabench.records import Kind, Role
from tcabench.units import J_PER_KWH

Resource = Mapping[str, Any]
Path = tuple[str | int, ...]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """One reading of a resource: where it stands, and `scale` from its unit to ours. Where `limit` (in `unit`) is
    given, the error that is assumed when the service states none is absolute; else it is a share of the reading."""

    quantity: str
    path: Path
    kind: Kind
    unit: str
    scale: float = 1.0
    role: Role | None = None
    limit: float = 0.0


POWER = Row("power", ("PowerWatts", "Reading"), Kind.POWER, "W")
ENERGY_KWH = Row("energy", ("EnergykWh", "Reading"), Kind.ENERGY, "J", J_PER_KWH)
ENERGY_J = Row("energy", ("EnergyJoules", "Reading"), Kind.ENERGY, "J")
LOOP = (
    Row("flow", ("FlowLitersPerMinute", "Reading"), Kind.FLOW, "L/min", 1.0, Role.FLOW),
    Row("supply", ("SupplyTemperatureCelsius", "Reading"), Kind.TEMPERATURE, "degC", 1.0, Role.SUPPLY, 1.0),
    Row("return", ("ReturnTemperatureCelsius", "Reading"), Kind.TEMPERATURE, "degC", 1.0, Role.RETURN, 1.0),
    Row("heat", ("HeatRemovedkW", "Reading"), Kind.HEAT, "W", 1000.0, Role.INFO),
)
ROWS: dict[str, tuple[Row, ...]] = {
    "PowerDistributionMetrics": (POWER, ENERGY_KWH),
    "Outlet": (POWER, ENERGY_KWH),
    "Circuit": (POWER, ENERGY_KWH),
    "EnvironmentMetrics": (POWER, ENERGY_J, ENERGY_KWH),
    "ThermalMetrics": (POWER, ENERGY_KWH),
    "PowerSupplyMetrics": (Row("power", ("InputPowerWatts", "Reading"), Kind.POWER, "W"), ENERGY_KWH),
    "Power": (Row("power", ("PowerControl", 0, "PowerConsumedWatts"), Kind.POWER, "W"),),
    "CoolantConnector": LOOP,
}
# Sensor.ReadingUnits is UCUM; "C" instead of "Cel" stands in the DMTF's own example and in the field
UNITS: dict[str, Row] = {
    "W": Row("power", ("Reading",), Kind.POWER, "W"),
    "kW": Row("power", ("Reading",), Kind.POWER, "W", 1000.0),
    "kW.h": Row("energy", ("Reading",), Kind.ENERGY, "J", J_PER_KWH),
    "kWh": Row("energy", ("Reading",), Kind.ENERGY, "J", J_PER_KWH),
    "W.h": Row("energy", ("Reading",), Kind.ENERGY, "J", 3600.0),
    "J": Row("energy", ("Reading",), Kind.ENERGY, "J"),
    "kJ": Row("energy", ("Reading",), Kind.ENERGY, "J", 1000.0),
    "Cel": Row("temperature", ("Reading",), Kind.TEMPERATURE, "degC", 1.0, Role.INFO, 1.0),
    "C": Row("temperature", ("Reading",), Kind.TEMPERATURE, "degC", 1.0, Role.INFO, 1.0),
    "L/min": Row("flow", ("Reading",), Kind.FLOW, "L/min", 1.0, Role.FLOW),
    "L/s": Row("flow", ("Reading",), Kind.FLOW, "L/min", 60.0, Role.FLOW),
    "V": Row("voltage", ("Reading",), Kind.VOLTAGE, "V", 1.0, Role.INFO),
    "A": Row("current", ("Reading",), Kind.CURRENT, "A", 1.0, Role.INFO),
    "Hz": Row("frequency", ("Reading",), Kind.FREQUENCY, "Hz", 1.0, Role.INFO),
    "V.A": Row("apparent_power", ("Reading",), Kind.APPARENT_POWER, "VA", 1.0, Role.INFO),
}
HEAT = Row("heat", ("Reading",), Kind.HEAT, "W", 1000.0, Role.INFO)


def type_of(resource: Resource) -> str:
    """The schema's name, e.g. "Outlet" of "#Outlet.v1_4_4.Outlet"; "" where the resource does not say."""
    return str(resource.get("@odata.type", "")).lstrip("#").partition(".")[0]


def sensor_row(sensor: Resource) -> Row | None:
    """How to read a Sensor; None for a unit that is no part of an energy account."""
    if sensor.get("ReadingType") == "Heat":
        return HEAT if sensor.get("ReadingUnits") == "kW" else None
    return UNITS.get(str(sensor.get("ReadingUnits")))


def at(resource: Any, path: Path) -> Any:
    """What stands at `path`, None where nothing does."""
    for step in path:
        if isinstance(step, int):
            resource = resource[step] if isinstance(resource, list) and step < len(resource) else None
        else:
            resource = resource.get(step) if isinstance(resource, Mapping) else None
    return resource


def number(value: Any) -> float | None:
    """A JSON number as it stands, None for null, words ("Out of range") and everything else that is no reading."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if found - found == 0 else None


def step_of(value: Any) -> float:
    """The last digit that a reading shows, in its unit: 0.1 for 36166.1, 1 for 6438.

    Sensor.Precision is not used: by its schema it counts significant digits, by the DMTF's own example decimals.
    """
    exponent = Decimal(str(value)).as_tuple().exponent
    return float(Decimal(1).scaleb(min(0, max(exponent, -30)))) if isinstance(exponent, int) else 0.0


def duration_s(text: Any) -> float:
    """An ISO 8601 duration of days and less ("PT5S", "PT0.5S", "P1DT1H") in s; 0 for what is none."""
    pattern = r"P(?:([\d.]+)D)?(?:T(?:([\d.]+)H)?(?:([\d.]+)M)?(?:([\d.]+)S)?)?"
    found = re.fullmatch(pattern, text) if isinstance(text, str) else None
    if found is None:
        return 0.0
    try:
        return sum(float(part or 0) * factor for part, factor in zip(found.groups(), (86400, 3600, 60, 1), strict=True))
    except ValueError:
        return 0.0


def stamp_ns(text: Any) -> int | None:
    """A Redfish date-time (DSP0266, "Date-time values": ISO 8601 with an offset) in Unix ns; None for anything else,
    and for what is no time of our day (1973 to 2100): a clock that was never set."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        return None
    ns = (moment - EPOCH) // timedelta(microseconds=1) * 1000
    return ns if is_possible(ns) else None


def stamp_resolution_ns(text: str) -> int:
    """The last digit of a date-time's seconds in ns: 1 s for "...:05Z", 1 ms for "...:05.123Z"."""
    found = re.search(r":\d\d\.(\d+)", text)
    return int(10 ** (9 - min(9, len(found[1])))) if found else 1_000_000_000
