"""How a metric reads one figure of the energy account, or says why there is none."""

from collections.abc import Callable, Mapping
from math import sqrt

from tcabench.metrics.energy_per_token import tokens_in_window
from tcabench.metrics.interval import per, widen
from tcabench.metrics.spec import Measured
from tcabench.metrics.spread import block_tokens, spread_rel
from tcabench.records import Carbon, Energy, Facility, NotMetered, Quantity, Split, Value
from tcabench.units import J_PER_KWH

Compute = Callable[[Measured], Mapping[str, Value]]
NO_SITE = NotMetered("no site told of a plant (--site)")
NO_CARBON = NotMetered("no site told of carbon (--site)")
NO_SPLIT = NotMetered("the energy was not split")
TOKENS_PER_KTOKEN = 1000


def of_energy(pick: Callable[[Energy], Value]) -> Compute:
    """A metric that is one figure of the energy account."""

    def compute(m: Measured) -> dict[str, Value]:
        return {"": m.energy if isinstance(m.energy, NotMetered) else pick(m.energy)}

    return compute


def of_facility(pick: Callable[[Facility], Value]) -> Compute:
    """A metric that is one figure of the plant around the system."""
    return of_energy(lambda energy: NO_SITE if energy.facility is None else pick(energy.facility))


def together(one: Value, other: Value, unit: str) -> Value:
    """The sum of two independent amounts (GUM, JCGM 100:2008, 5.1.2)."""
    if isinstance(one, NotMetered):
        return one
    if isinstance(other, NotMetered):
        return other
    value = one.value + other.value
    down, up = (
        _root(one.value - one.low, other.value - other.low),
        _root(one.high - one.value, other.high - other.value),
    )
    return Quantity(value, value - down, value + up, unit)


def multiplied(one: Value, other: Value, unit: str) -> Value:
    """The product of two independent amounts that are not negative (GUM, JCGM 100:2008, 5.1.2)."""
    if isinstance(one, NotMetered):
        return one
    if isinstance(other, NotMetered):
        return other
    value = one.value * other.value
    down = _root((one.value - one.low) * other.value, (other.value - other.low) * one.value)
    up = _root((one.high - one.value) * other.value, (other.high - other.value) * one.value)
    return Quantity(value, value - down, value + up, unit)


def _root(a: float, b: float) -> float:
    return sqrt(a * a + b * b)


def of_split(m: Measured, pick: Callable[[Split], Value]) -> Value:
    """One part of the split, in J."""
    if isinstance(m.energy, NotMetered):
        return m.energy
    return NO_SPLIT if m.energy.split is None else pick(m.energy.split)


def kwh(joules: Value) -> Value:
    """J as kWh."""
    return joules if isinstance(joules, NotMetered) else per(joules, J_PER_KWH, "kWh")


def per_token(m: Measured, amount: Value, unit: str, tokens_each: float = 1.0) -> Value:
    """`amount` over the output tokens of the window, by `tokens_each`, with the spread of the run in its interval."""
    if isinstance(amount, NotMetered):
        return amount
    tokens = tokens_in_window(m)
    if isinstance(tokens, NotMetered):
        return tokens
    return widen(per(amount, tokens / tokens_each, unit), _spread(m, amount))


def _spread(m: Measured, amount: Quantity) -> float | None:
    """The spread within the run; an amount above a fixed part (idle) wanders by as much, so relatively more."""
    spread = spread_rel(m, block_tokens)
    if spread is None or amount.unit != "J" or isinstance(m.energy, NotMetered):
        return spread
    total = m.energy.total
    return spread if isinstance(total, NotMetered) or amount.value <= 0 else spread * total.value / amount.value


def of_carbon(m: Measured, pick: Callable[[Carbon], Value]) -> Value:
    """Grams of CO2 equivalent per 1,000 output tokens, in g/ktoken."""
    if isinstance(m.energy, NotMetered):
        return m.energy
    if m.energy.carbon is None:
        return NO_CARBON
    return per_token(m, pick(m.energy.carbon), "g/ktoken", TOKENS_PER_KTOKEN)
