"""What a Redfish service says, held against physics: real power against apparent, heat against flow and temperatures.

Nothing is corrected: a contradiction is written into the facts and into the note of the channels concerned.
"""

from collections.abc import Mapping
from typing import Any

from tcabench.power.meters.redfish_schema import Resource, at, number

# Water at 35 degC (IAPWS-95): used where the service names no coolant
WATER_KG_M3, WATER_J_KG_K = 994.0, 4178.0
L_MIN_PER_M3_S = 60_000.0
TOLERANCE = 0.10
RISE_ERROR_K = 0.5
SENSOR_TOLERANCE = 0.20  # between a sensor and its copy, which is read a moment earlier


def power_contradiction(resource: Resource) -> str:
    """Why PowerWatts cannot be right, "" where nothing speaks against it. Real power never exceeds apparent power."""
    real, apparent = number(at(resource, ("PowerWatts", "Reading"))), number(at(resource, ("PowerWatts", "ApparentVA")))
    if real is None or not apparent or abs(real) <= 1.01 * apparent + 1:
        return ""
    return f"PowerWatts reads {real:g} W with {apparent:g} VA: real power cannot exceed apparent power"


def heat_contradiction(connector: Resource, coolant: Mapping[str, Any]) -> str:
    """Why HeatRemovedkW cannot be right, "" where nothing speaks against it: Q = rho * V * cp * (T_return - T_supply).

    The tolerance is 10 % and 0.5 K of temperature difference.
    """
    names = ("FlowLitersPerMinute", "SupplyTemperatureCelsius", "ReturnTemperatureCelsius", "HeatRemovedkW")
    flow, supply, back, heat = (number(at(connector, (name, "Reading"))) for name in names)
    if flow is None or supply is None or back is None:
        return ""
    rise = back - supply
    if rise < -RISE_ERROR_K and flow > 0:
        return f"the coolant comes back {-rise:.2g} K colder than it went out: are supply and return swapped?"
    if heat is None or abs(rise) < 1:
        return ""
    density, capacity, fluid = properties(coolant)
    expected = density * flow / L_MIN_PER_M3_S * capacity * rise / 1000
    if abs(heat - expected) <= (TOLERANCE + RISE_ERROR_K / abs(rise)) * abs(expected):
        return ""
    return (
        f"HeatRemovedkW reads {heat:g} kW, but {flow:g} L/min of {fluid} and a rise of {rise:.3g} K carry "
        f"{expected:.3g} kW"
    )


def sensor_contradiction(copy: float, original: float) -> str:
    """Why a sensor and its excerpt elsewhere cannot both be right, "" where they agree."""
    if abs(copy - original) <= SENSOR_TOLERANCE * max(abs(copy), abs(original)):
        return ""
    return f"the sensor reads {original:g}, its copy {copy:g}: the sensor is taken"


def properties(coolant: Mapping[str, Any]) -> tuple[float, float, str]:
    """Density in kg/m3, specific heat in J/(kg K) and the name of a `Coolant` object, else those of water at 35 degC.

    SpecificHeatkJoulesPerKgK is in kJ, yet some services give J there: above 100 it cannot be kJ.
    """
    density, capacity = number(coolant.get("DensityKgPerCubicMeter")), number(coolant.get("SpecificHeatkJoulesPerKgK"))
    if not density or not capacity:
        return WATER_KG_M3, WATER_J_KG_K, "water (no coolant properties stated)"
    return density, capacity if capacity > 100 else 1000 * capacity, str(coolant.get("CoolantType", "coolant"))
