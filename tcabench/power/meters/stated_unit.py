"""A unit as a person or a device states it: what turns its numbers into the unit that a channel of that kind has."""

from dataclasses import dataclass

from tcabench.errors import UsageError
from tcabench.records import Kind
from tcabench.units import J_PER_KWH

ZERO_CELSIUS_K = 273.15
L_PER_US_GALLON = 3.785411784

_POWER = {"mW": 1e-3, "W": 1.0, "kW": 1e3, "MW": 1e6}
_ENERGY = {
    "mJ": 1e-3,
    "J": 1.0,
    "kJ": 1e3,
    "MJ": 1e6,
    "GJ": 1e9,
    "Wh": 3600.0,
    "kWh": J_PER_KWH,
    "MWh": 1e3 * J_PER_KWH,
}
# factors to the first unit of each kind, which is the channel's
FACTORS: dict[Kind, tuple[str, dict[str, float]]] = {
    Kind.POWER: ("W", _POWER),
    Kind.ENERGY: ("J", _ENERGY),
    Kind.HEAT: ("W", _POWER),
    Kind.HEAT_ENERGY: ("J", _ENERGY),
    Kind.TEMPERATURE: ("degC", {"degC": 1.0, "C": 1.0, "K": 1.0, "F": 5 / 9}),
    Kind.FLOW: ("L/min", {"L/min": 1.0, "L/s": 60.0, "L/h": 1 / 60, "m3/h": 1000 / 60, "m3/s": 60_000.0,
                          "gal/min": L_PER_US_GALLON}),
    Kind.WATER: ("L", {"L": 1.0, "m3": 1000.0, "gal": L_PER_US_GALLON}),
    Kind.APPARENT_POWER: ("VA", {"VA": 1.0, "kVA": 1e3}),
    Kind.POWER_FACTOR: ("1", {"1": 1.0, "%": 0.01}),
    Kind.UTILISATION: ("1", {"1": 1.0, "%": 0.01}),
    Kind.VOLTAGE: ("V", {"V": 1.0, "mV": 1e-3, "kV": 1e3}),
    Kind.CURRENT: ("A", {"A": 1.0, "mA": 1e-3}),
    Kind.FREQUENCY: ("Hz", {"Hz": 1.0}),
}  # fmt: skip
OFFSETS = {(Kind.TEMPERATURE, "K"): -ZERO_CELSIUS_K, (Kind.TEMPERATURE, "F"): -160 / 9}


@dataclass(frozen=True, slots=True)
class Scale:
    """`value * factor + offset` is in `unit`."""

    unit: str
    factor: float
    offset: float

    def of(self, value: float) -> float:
        return value * self.factor + self.offset


def scale_of(scheme: str, kind: Kind, stated: str) -> Scale:
    """From the `stated` unit to the channel's. raises: UsageError naming the units of that kind."""
    unit, factors = FACTORS[kind]
    if stated not in factors:
        raise UsageError(
            f"{scheme}: unit={stated!r} is none of {', '.join(factors)} for kind={kind.value}", "meter-argument"
        )
    return Scale(unit, factors[stated], OFFSETS.get((kind, stated), 0.0))
