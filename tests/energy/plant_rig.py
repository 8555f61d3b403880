"""Channels and readings of a plant whose figures can be worked out by hand."""

from collections.abc import Callable
from typing import Any

from tcabench.records import Channel, Context, Kind, PowerSample, Quantity, Role, Value, Window

S = 1_000_000_000
WINDOW = Window(0, 0, 0, 100 * S, 700 * S, 700 * S, "test")
WINDOW_S = 600.0
UNITS = {
    Kind.POWER: "W", Kind.ENERGY: "J", Kind.TEMPERATURE: "degC", Kind.FLOW: "L/min", Kind.HEAT: "W",
    Kind.HEAT_ENERGY: "J", Kind.WATER: "L",
}  # fmt: skip


def channel(domain: str, kind: Kind, role: Role, **changes: Any) -> Channel:
    """A 1 % channel of the plant that is read every second."""
    settings: dict[str, Any] = {
        "id": f"{domain}.{role}.{kind}", "meter": "m", "domain": domain, "kind": kind, "unit": UNITS[kind],
        "boundary": "facility", "gain_low": 0.99, "gain_high": 1.01, "resolution": 0.0, "update_ns": S, "period_ns": S,
        "is_estimate": False, "accuracy_source": "a test's own invention", "role": role,
    }  # fmt: skip
    return Channel(**(settings | changes))


def readings(
    one: Channel, level: float | Callable[[float], float], start_s: int = 0, end_s: int = 800
) -> list[PowerSample]:
    """One reading a second of a level; a counter counts it up, per second (water: per second as well)."""
    samples, counted = [], 0.0
    for s in range(start_s, end_s):
        now = level(s) if callable(level) else level
        is_counter = one.kind in (Kind.ENERGY, Kind.HEAT_ENERGY, Kind.WATER)
        samples.append(PowerSample(s * S, 1_000_000, one.id, counted if is_counter else now))
        counted += now
    return samples


def joules(watts: float, rel: float = 0.01) -> Quantity:
    """A level over the window as energy, +-rel."""
    value = watts * WINDOW_S
    return Quantity(value, value * (1 - rel), value * (1 + rel), "J")


def site(**parts: Any) -> Context:
    return Context(site={"id": "rig", **parts})


def number(value: Value) -> float:
    assert isinstance(value, Quantity), value
    assert value.low <= value.value <= value.high
    return value.value


def why(value: Value) -> str:
    assert not isinstance(value, Quantity), value
    return value.why
