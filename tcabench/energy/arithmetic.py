"""Sums, products and quotients of measured values, after the GUM (JCGM 100:2008, 5.1.2): half widths (k = 2) of inputs
that are taken as independent, in quadrature, down and up apart. Whoever combines correlated values rewrites the
formula first, so that each meter stands in it once. A value that is not metered makes the result so, for its reason.
"""

from collections.abc import Callable, Sequence
from math import fsum, sqrt

from tcabench.records import NotMetered, Quantity, Value


def plus(unit: str, *values: Value) -> Value:
    """The sum of values of one unit. raises: ValueError without any."""
    parts = _metered(values)
    if isinstance(parts, NotMetered):
        return parts
    down, up = _root([q.value - q.low for q in parts]), _root([q.high - q.value for q in parts])
    total = fsum(q.value for q in parts)
    return Quantity(total, total - down, total + up, unit)


def less(unit: str, whole: Value, part: Value) -> Value:
    """`whole` - `part`, which may come out negative."""
    return _of(whole, part, lambda a, b: _around(
        a.value - b.value, _root([a.value - a.low, b.high - b.value]), _root([a.high - a.value, b.value - b.low]), unit
    ))  # fmt: skip


def times(unit: str, one: Value, other: Value) -> Value:
    """The product of two values that are not negative."""
    return _of(one, other, lambda a, b: _around(
        a.value * b.value,
        _root([(a.value - a.low) * b.value, (b.value - b.low) * a.value]),
        _root([(a.high - a.value) * b.value, (b.high - b.value) * a.value]),
        unit,
    ))  # fmt: skip


def over(unit: str, above: Value, below: Value) -> Value:
    """`above` / `below`; NotMetered where the interval of `below` reaches zero: then nothing bounds the quotient."""

    def divided(a: Quantity, b: Quantity) -> Value:
        if b.low <= 0:
            return NotMetered("what it is divided by may be zero")
        ratio = a.value / b.value
        if a.value < 0:
            return _around(ratio, (a.value - a.low) / b.low, (a.high - a.value) / b.low, unit)
        down = _root([(a.value - a.low) / b.value, ratio - a.value / b.high])
        up = _root([(a.high - a.value) / b.value, a.value / b.low - ratio])
        return _around(ratio, down, up, unit)

    return _of(above, below, divided)


def scaled(value: Value, factor: float, unit: str) -> Value:
    """`value` * `factor`, an exact number above 0."""
    if isinstance(value, NotMetered):
        return value
    return Quantity(value.value * factor, value.low * factor, value.high * factor, unit)


def stated(value: float, half_width_pct: float, unit: str) -> Quantity:
    """A stated figure, not negative, with its stated half width in % (k = 2)."""
    half = value * half_width_pct / 100
    return Quantity(value, max(0.0, value - half), value + half, unit)


def _of(one: Value, other: Value, combine: Callable[[Quantity, Quantity], Value]) -> Value:
    if isinstance(one, NotMetered):
        return one
    return other if isinstance(other, NotMetered) else combine(one, other)


def _metered(values: Sequence[Value]) -> list[Quantity] | NotMetered:
    if not values:
        raise ValueError("a sum of nothing is not a measurement")
    missing = [value for value in values if isinstance(value, NotMetered)]
    return missing[0] if missing else [value for value in values if isinstance(value, Quantity)]


def _around(value: float, down: float, up: float, unit: str) -> Quantity:
    return Quantity(value, value - down, value + up, unit)


def _root(parts: Sequence[float]) -> float:
    return sqrt(fsum(part * part for part in parts))
