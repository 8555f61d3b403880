"""The uncertainty budget of an energy, after the GUM (JCGM 100): relative half widths, k = 2, down and up apart.

A limit without a distribution is taken as rectangular: u = limit/sqrt(3), expanded U = 2u.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import fsum, sqrt

from tcabench.energy.counter import Edges, span_at_ns
from tcabench.energy.series import Series
from tcabench.energy.trapezoid import uncovered_ns
from tcabench.records import Channel, Component, Quantity

GAIN, STEPS, SAMPLING, LAG, CLOCK = "meter gain", "counter steps", "sampling", "reading lag", "clock"
RESIDUAL = "counter against integral"
# One cause behind all meters: the parts of the domains add up. The rest is independent from domain to domain. Boards
# of one kind may well share a gain error, so no credit is taken for their number.
SHARED = (GAIN, CLOCK)
CLOCK_RATE = 0.0005  # CLOCK_MONOTONIC may be slewed by up to 500 ppm: adjtimex(2)
LARGEST_DOWN = 0.99  # an energy that was metered is more than nothing
GROUPS, FEWEST = 12, 4


def gain(channel: Channel) -> Component:
    """The meter's own class: the true value lies in [reading * gain_low, reading * gain_high]."""
    return Component(GAIN, 1 - channel.gain_low, channel.gain_high - 1, channel.accuracy_source)


def counter_steps(channel: Channel, steps: Edges, start_ns: int, end_ns: int, energy_j: float) -> Component:
    """What lies between two steps at each end of the window: u = update/sqrt(6)/window for two rectangular ends, as if
    power swung fully within one step, and the counter's smallest digit likewise."""
    update_ns = max(channel.update_ns, span_at_ns(steps, start_ns), span_at_ns(steps, end_ns))
    time_rel, digit_rel = update_ns / (end_ns - start_ns), channel.resolution / energy_j
    half = 2 * sqrt((time_rel * time_rel + digit_rel * digit_rel) / 6)
    return Component(STEPS, half, half, f"steps {update_ns / 1e6:.0f} ms apart at the window's ends, 2*T/sqrt(6)/W")


def sampling(channel: Channel, power: Series, start_ns: int, end_ns: int, energy_j: float) -> Component:
    """What was missed between the readings, by decimation: within each twelfth of the window every other reading is
    set against the rest. Their difference d has twice the spread of the whole, so U = sqrt(sum of d^2).

    Load that beats exactly with the readings escapes this test, as it does every meter that polls.
    """
    first, last = bisect_left(power.t_ns, start_ns), bisect_right(power.t_ns, end_ns)
    stride = max(1, -(-channel.update_ns // channel.period_ns)) if channel.period_ns else 1
    fresh = power.value[first:last:stride]  # readings nearer than an update repeat each other
    groups = min(GROUPS, len(fresh) // FEWEST)
    if groups < 1:
        return Component(SAMPLING, 1.0, 1.0, f"{len(fresh)} readings are too few to tell")
    bounds = [len(fresh) * group // groups for group in range(groups + 1)]
    span_s = (end_ns - start_ns) / groups / 1e9
    apart_j = [_alternating_w(fresh[bounds[i] : bounds[i + 1]]) * span_s for i in range(groups)]
    held_j = uncovered_ns(power, start_ns, end_ns) / 1e9 * max(fresh)
    half = sqrt(fsum(d * d for d in [*apart_j, held_j])) / energy_j
    return Component(SAMPLING, half, half, f"every other of {len(fresh)} readings against the rest, in {groups} parts")


def reading_lag(channel: Channel, power: Series, start_ns: int, end_ns: int, energy_j: float) -> Component:
    """A reading is 0 to T old (T: update interval) and was put back by T/2: the window seen may still be shifted by T/2
    either way, which matters as far as power differs at its ends. U = 2 * T/2 / sqrt(3) * swing / energy."""
    old_ns = channel.update_ns or channel.period_ns
    near_ns = 2 * max(old_ns, channel.period_ns)
    near = [value for t_ns in (start_ns, end_ns) for value in _between(power, t_ns - near_ns, t_ns + near_ns)]
    swing_w = max(near) - min(near) if near else max(power.value) - min(power.value)
    half = old_ns / 1e9 / sqrt(3) * swing_w / energy_j
    return Component(LAG, half, half, f"readings up to {old_ns / 1e6:.0f} ms old, {swing_w:.1f} W swing at the ends")


def clock(series: Series, start_ns: int, end_ns: int, *, rate: bool) -> Component:
    """The instants of the readings at both ends, each known to half its read call; with `rate` (an integral over
    time) also how fast the clock itself ran."""
    read_ns = max(_reads_around(series, start_ns) + _reads_around(series, end_ns), default=0)
    instant = read_ns / (end_ns - start_ns) * sqrt(2 / 3)
    pace = 2 * CLOCK_RATE / sqrt(3) if rate else 0.0
    half = sqrt(instant * instant + pace * pace)
    why = f"reads of {read_ns / 1e6:.1f} ms at the window's ends" + (
        ", clock rate +-500 ppm (adjtimex(2))" if rate else ""
    )
    return Component(CLOCK, half, half, why)


def disagreement(residual_rel: float) -> Component:
    """A counter and an integral that differ cannot both be right: the interval reaches out to the other one.

    `residual_rel` = counter/integral - 1, and the counter is the value.
    """
    other_rel = 1 / (1 + residual_rel) - 1
    return Component(RESIDUAL, max(0.0, -other_rel), max(0.0, other_rel), f"counter/integral - 1 = {residual_rel:+.4f}")


def combined(components: Sequence[Component]) -> tuple[float, float]:
    """(down, up): relative half widths of all components in quadrature, each side by itself; down stays below 1."""
    down = sqrt(fsum(part.down_rel * part.down_rel for part in components))
    up = sqrt(fsum(part.up_rel * part.up_rel for part in components))
    return min(down, LARGEST_DOWN), up


def quantity(value: float, components: Sequence[Component], unit: str) -> Quantity:
    """`value` with the interval the components give it."""
    down, up = combined(components)
    return Quantity(value, value * (1 - down), value * (1 + up), unit)


def added(parts: Sequence[tuple[float, Sequence[Component]]]) -> tuple[Component, ...]:
    """The budget of a sum of energies (J, each with its own budget), relative to the sum."""
    total_j = fsum(energy_j for energy_j, _ in parts)
    names = dict.fromkeys(component.name for _, components in parts for component in components)
    return tuple(_added(name, parts, total_j) for name in names)


def _added(name: str, parts: Sequence[tuple[float, Sequence[Component]]], total_j: float) -> Component:
    ours = [(energy_j / total_j, part) for energy_j, components in parts for part in components if part.name == name]
    together = fsum if name in SHARED else _root_sum_square
    source = "; ".join(dict.fromkeys(part.source for _, part in ours))
    down, up = (together([share * side for share, side in sides]) for sides in _sides(ours))
    return Component(name, down, up, source)


def _sides(ours: Sequence[tuple[float, Component]]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    return [(share, part.down_rel) for share, part in ours], [(share, part.up_rel) for share, part in ours]


def _root_sum_square(values: Sequence[float]) -> float:
    return sqrt(fsum(value * value for value in values))


def _alternating_w(values: Sequence[float]) -> float:
    even, odd = values[::2], values[1::2]
    return fsum(even) / len(even) - fsum(odd) / len(odd)


def _between(series: Series, start_ns: int, end_ns: int) -> tuple[float, ...]:
    return series.value[bisect_left(series.t_ns, start_ns) : bisect_right(series.t_ns, end_ns)]


def _reads_around(series: Series, t_ns: int) -> tuple[int, ...]:
    after = bisect_right(series.t_ns, t_ns)
    return series.read_ns[max(0, after - 1) : after + 1]
