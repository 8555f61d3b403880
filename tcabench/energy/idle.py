"""Power at rest, before and after the load, and what the load cost above it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum, sqrt

from tcabench.energy import budget
from tcabench.energy.domain import Metered
from tcabench.energy.level import Level, mean_power, summed
from tcabench.energy.rest import REST
from tcabench.records import Component, NotMetered, Quantity, Value, Window
from tcabench.records.energy import NO_IDLE
from tcabench.units import seconds

DRIFT = "idle drift"
Line = tuple[str, float, float, str]  # name of a component, half widths down and up in J, its source
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Idle:
    """Mean power in W at rest before and after the load, and of both together; `dynamic` is the window's energy in J
    above what resting would have cost in the same time."""

    before: Value
    after: Value
    power: Value
    dynamic: Value


def idle(level: Level, window: Window) -> Idle:
    """What the idle phases of the run tell at one boundary. A phase that was not metered says why, and the other one
    stands for both."""
    spans = ((window.idle_start_ns, window.idle_end_ns), (window.idle_after_start_ns, window.idle_after_end_ns))
    phases = [[track.over(*span) for track in level.tracks] if span[0] < span[1] else None for span in spans]
    before, after = (_power(level, span, phase) for span, phase in zip(spans, phases, strict=True))
    known = [
        (span, phase)
        for span, phase, value in zip(spans, phases, (before, after), strict=True)
        if phase and isinstance(value, Quantity)
    ]
    if not known:
        why = before if phases[1] is None else after
        return Idle(before, after, why, why)
    power = _together(level, known)
    return Idle(before, after, power, _dynamic(level, window, known, power, _drift_w(before, after)))


def _power(level: Level, span: Span, phase: Sequence[Metered] | None) -> Value:
    if phase is None:
        return NO_IDLE
    total, _ = summed(phase, *span, level.rest, "no meter at this boundary")
    return mean_power(total, seconds(span[1] - span[0]))


def _together(level: Level, known: Sequence[tuple[Span, Sequence[Metered]]]) -> Value:
    """Mean power in W over all known idle phases: what is wrong with a meter is wrong with it in each of them."""
    total, _ = summed([one for _, phase in known for one in phase], 0, sum(b - a for (a, b), _ in known), level.rest)
    return mean_power(total, _length_s(known))


def _dynamic(
    level: Level, window: Window, known: Sequence[tuple[Span, Sequence[Metered]]], power: Value, drift_w: float
) -> Value:
    """Total less idle power * window, in J. A meter that reads too much does so at rest and under load: its class
    applies to the difference. Everything else is independent."""
    if isinstance(level.total, NotMetered) or isinstance(power, NotMetered):
        return level.total if isinstance(level.total, NotMetered) else power
    window_s = seconds(window.end_ns - window.start_ns)
    value = level.total.value - power.value * window_s
    scale, longer = 1 + level.rest.slope, window_s / _length_s(known)
    lines: list[Line] = []
    metered_j = 0.0
    for i, loaded in enumerate(level.metered):
        at_rest = [phase[i] for _, phase in known]
        more_j = _energy_j([loaded]) - longer * _energy_j(at_rest)
        metered_j += more_j
        lines += _class_lines(loaded, at_rest, more_j, scale, longer)
        lines += _other_lines(loaded, at_rest, scale, longer)
    half_j = level.rest.half_rel * level.rest.slope * abs(metered_j)
    lines.append((REST, half_j, half_j, level.rest.source))
    drift_j = 2 / sqrt(3) * drift_w / 2 * window_s
    lines.append((DRIFT, drift_j, drift_j, "half of what the idle power before and after differs by"))
    down = _combined([(name, half, source) for name, half, _, source in lines])
    up = _combined([(name, half, source) for name, _, half, source in lines])
    return Quantity(value, value - down, value + up, "J")


def _class_lines(loaded: Metered, at_rest: Sequence[Metered], more_j: float, scale: float, longer: float) -> list[Line]:
    """The meter's class on the difference, where one meter tells both; else on each of the two."""
    ours = _classes(loaded)
    if all(_classes(one) == ours for one in at_rest):
        return [_line(c, scale * abs(more_j), minus=more_j < 0) for c in ours]
    lines = [_line(c, scale * _energy_j([loaded]), minus=False) for c in ours]
    for one in at_rest:
        lines += [_line(c, scale * longer * _energy_j([one]), minus=True) for c in _classes(one)]
    return lines


def _other_lines(loaded: Metered, at_rest: Sequence[Metered], scale: float, longer: float) -> Iterator[Line]:
    """Everything but the class, of the window and of each idle phase stretched to it."""
    for c in loaded.components:
        if c.name != budget.GAIN:
            yield _line(c, scale * _energy_j([loaded]), minus=False)
    for one in at_rest:
        for c in one.components:
            if c.name != budget.GAIN:
                yield _line(c, scale * longer * _energy_j([one]), minus=True)


def _line(c: Component, energy_j: float, *, minus: bool) -> Line:
    """A component in J; `minus`: of an energy that is taken away, so that up is down."""
    down, up = (c.up_rel, c.down_rel) if minus else (c.down_rel, c.up_rel)
    return c.name, down * energy_j, up * energy_j, c.source


def _classes(one: Metered) -> tuple[Component, ...]:
    return tuple(c for c in one.components if c.name == budget.GAIN)


def _energy_j(metered: Sequence[Metered]) -> float:
    return fsum(one.energy_j for one in metered if not isinstance(one.energy_j, NotMetered))


def _length_s(known: Sequence[tuple[Span, Sequence[Metered]]]) -> float:
    return seconds(sum(end_ns - start_ns for (start_ns, end_ns), _ in known))


def _drift_w(before: Value, after: Value) -> float:
    if isinstance(before, NotMetered) or isinstance(after, NotMetered):
        return 0.0
    return abs(before.value - after.value)


def _combined(halves: Sequence[tuple[str, float, str]]) -> float:
    """Half widths in J, each with its component and source, as one."""
    names = dict.fromkeys(name for name, _, _ in halves)
    each = [budget.together(name, [(half, source) for n, half, source in halves if n == name]) for name in names]
    return sqrt(fsum(half * half for half in each))
