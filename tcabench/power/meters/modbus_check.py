"""Does what a meter says make sense? A wrong register, word order or byte order shows as values that no plant has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tcabench.records import Kind

# Kind -> lowest, highest, and the least value other than 0 that is taken for real. A float32 whose registers are
# swapped is almost always beyond one of these: 230.5 V becomes 2e-41.
LIMITS = {
    Kind.POWER: (-1e9, 1e9, 1e-3), Kind.APPARENT_POWER: (-1e9, 1e9, 1e-3), Kind.HEAT: (-1e9, 1e9, 1e-3),
    Kind.ENERGY: (0.0, 1e17, 1e-3), Kind.HEAT_ENERGY: (-1e17, 1e17, 1e-3), Kind.WATER: (0.0, 1e12, 1e-6),
    Kind.VOLTAGE: (-1e6, 1e6, 1e-3), Kind.CURRENT: (-1e6, 1e6, 1e-6), Kind.POWER_FACTOR: (-2.0, 2.0, 1e-6),
    Kind.FREQUENCY: (0.0, 1000.0, 1.0), Kind.TEMPERATURE: (-60.0, 250.0, 1e-6), Kind.FLOW: (-1e6, 1e6, 1e-6),
}  # fmt: skip
SPARE_W = 20.0  # P and S are not taken in one instant, and are rounded each for itself
SPARE = 1.05
FACTOR = 5.0  # V * I * PF is the power of a balanced load; on one phase of three a mean voltage is a third of it


@dataclass(frozen=True, slots=True)
class Said:
    """One value that a meter gave, in the unit of its kind."""

    name: str
    kind: Kind
    value: float


def beyond_limits(values: Sequence[Said]) -> Iterator[str]:
    """What no plant has."""
    for said in values:
        low, high, least = LIMITS[said.kind]
        if not low <= said.value <= high or 0 < abs(said.value) < least:
            yield f"{said.name} reads {said.value:.4g}"


def contradictions(values: Sequence[Said]) -> Iterator[str]:
    """What cannot be true of one instant: active power is never above apparent power; and it is about V * I * PF, three
    phases or one. Values that were read one after the other may say so of a load that changes."""
    first = {said.kind: said for said in reversed(values)}
    power, apparent = first.get(Kind.POWER), first.get(Kind.APPARENT_POWER)
    if power and apparent and abs(power.value) > SPARE * abs(apparent.value) + SPARE_W:
        yield f"{power.name} ({power.value:.4g} W) is above {apparent.name} ({apparent.value:.4g} VA)"
    volts, amps, factor = (first.get(kind) for kind in (Kind.VOLTAGE, Kind.CURRENT, Kind.POWER_FACTOR))
    if power and volts and amps and factor:
        product_w = abs(volts.value * amps.value * min(1.0, abs(factor.value)))
        least_w, most_w = product_w / FACTOR - SPARE_W, FACTOR * product_w + SPARE_W
        if not least_w <= abs(power.value) <= most_w:
            yield f"{power.name} reads {power.value:.4g} W; voltage, current and power factor give {product_w:.4g} W"
