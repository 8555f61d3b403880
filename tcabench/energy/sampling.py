"""What was missed between readings of power: the part of the budget that a counter does not have."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import fsum, sqrt

from tcabench.energy.series import Series
from tcabench.energy.trapezoid import uncovered_ns
from tcabench.records import Channel, Component

SAMPLING = "sampling"
GROUPS, FEWEST = 12, 4
RARE = 3  # an event that none of n readings shows may fill 3/n of the time (95 %): Hanley, JAMA 249 (1983) 1743
# Student's t, two-sided 95 %, by degrees of freedom from 1 on; beyond, 2.
T_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10)


def sampling(channel: Channel, power: Series, start_ns: int, end_ns: int, energy_j: float) -> Component:
    """The component "sampling" of an integral over [start_ns, end_ns], from the readings themselves, k = 2.

    Two tests, of which the larger holds. Neighbours: the spread of each reading about the line through its neighbours
    (systematic sampling with second differences: Wolter, Introduction to Variance Estimation, 2nd ed., 8.2, v3),
    less the share of the time that a reading is a mean of; to it come the steps between polls of a register, and
    peaks shorter than the distance of readings, which may fill 3/n of the time unseen. Halves: within each twelfth,
    every other reading against the rest, which a load that goes in step with the readings cannot pass. Where readings
    do not reach an end of the window and the nearest is held, the power there may be any that the window shows.

    Load that beats exactly with the readings escapes both, as it does every meter that polls.
    """
    first, last = bisect_left(power.t_ns, start_ns), bisect_right(power.t_ns, end_ns)
    fresh = _fresh(power, first, last, channel.update_ns)
    number = len(fresh)
    if number < FEWEST:
        return Component(SAMPLING, 1.0, 1.0, f"{number} readings are too few to tell")
    t_ns, value = [power.t_ns[i] for i in fresh], [power.value[i] for i in fresh]
    apart_ns = (end_ns - start_ns) / number
    unseen = max(0.0, 1 - channel.average_ns / max(channel.update_ns, apart_ns))
    polled_j2 = _polled_j2(power, first, last, 3 * channel.period_ns < 2 * channel.update_ns)
    spread_j = student(number // 2) * sqrt(unseen * _between_j2(t_ns, value) + polled_j2)
    sides = _lone_peaks(power, channel.update_ns)
    hidden_s = unseen * RARE * apart_ns / 1e9
    held_j = uncovered_ns(power, start_ns, end_ns) / 1e9 * (max(value) - min(value))
    halves_j = sqrt(unseen) * _halves_j(value, (end_ns - start_ns) / 1e9)
    down, up = (max(halves_j, _norm(spread_j, hidden_s * peak_w)) for peak_w in sides)
    why = f"{number} readings against their neighbours and every other one against the rest"
    if unseen < 1:
        why += f"; each is a mean over {100 * (1 - unseen):.0f} % of the time to the next"
    if max(sides) > 0:
        why += f"; peaks of {max(sides):.4g} W that one reading alone shows may go unseen for 3/n of the time"
    return Component(SAMPLING, _norm(down, held_j) / energy_j, _norm(up, held_j) / energy_j, why)


def _fresh(power: Series, first: int, last: int, update_ns: int) -> list[int]:
    """Indexes of the readings from `first` to `last` at least about one update apart: nearer ones repeat each other."""
    least_ns = update_ns * 9 // 10
    fresh: list[int] = []
    for i in range(first, last):
        if not fresh or power.t_ns[i] - power.t_ns[fresh[-1]] >= least_ns:
            fresh.append(i)
    return fresh


def _between_j2(t_ns: Sequence[int], value: Sequence[float]) -> float:
    """Variance in J^2 of the integral of `value`, were each reading a draw about the line through its neighbours."""
    bends = [
        (value[i] - 2 * value[i + 1] + value[i + 2]) * ((t_ns[i + 2] - t_ns[i]) / 2e9) for i in range(len(value) - 2)
    ]
    return fsum(bend * bend for bend in bends) / 6 * len(value) / (len(value) - 2)


def _polled_j2(power: Series, first: int, last: int, is_oversampled: bool) -> float:
    """Variance in J^2 from not knowing when between two reads the value changed.

    Of a value that is read several times before it changes: (change * distance)^2/12 each. Of one that is read about
    as often as it changes, a reading that comes just twice hides another that was never read: half of that square for
    the change on either side of it."""
    value, t_ns = power.value, power.t_ns
    changes = {i: (value[i + 1] - value[i]) * ((t_ns[i + 1] - t_ns[i]) / 1e9) for i in range(first, last - 1)}
    if is_oversampled:
        return fsum(change * change for change in changes.values()) / 12
    twice = [i for i in range(first + 1, last - 2) if not changes[i] and changes[i - 1] and changes[i + 1]]
    return fsum(changes[i - 1] * changes[i - 1] + changes[i + 1] * changes[i + 1] for i in twice) / 2


def _lone_peaks(power: Series, update_ns: int) -> tuple[float, float]:
    """(depth of the deepest dip, height of the highest peak) in W that one reading alone shows, on the whole tape: by
    so much the energy may be lower, or higher, where such a one was seen or missed by chance."""
    value = [power.value[i] for i in _fresh(power, 0, len(power.t_ns), update_ns)]
    inner = range(1, len(value) - 1)
    dip_w = max((min(value[i - 1], value[i + 1]) - value[i] for i in inner), default=0.0)
    peak_w = max((value[i] - max(value[i - 1], value[i + 1]) for i in inner), default=0.0)
    return max(0.0, dip_w), max(0.0, peak_w)


def _halves_j(value: Sequence[float], span_s: float) -> float:
    """Within each of up to 12 groups, every other reading against the rest: their difference d has twice the spread
    of the whole, so U = sqrt(sum of d^2)."""
    groups = min(GROUPS, len(value) // FEWEST)
    bounds = [len(value) * group // groups for group in range(groups + 1)]
    apart_j = [_alternating_w(value[bounds[i] : bounds[i + 1]]) * span_s / groups for i in range(groups)]
    return student(groups) / 2 * sqrt(fsum(d * d for d in apart_j))


def _alternating_w(values: Sequence[float]) -> float:
    """Mean of every other value less that of those beside them, which is 0 on a straight line."""
    pairs = (len(values) - 1) // 2
    odd, even = values[1 : 2 * pairs : 2], values[: 2 * pairs + 1 : 2]
    return (fsum(odd) - fsum(even) + (even[0] + even[-1]) / 2) / pairs


def student(freedom: int) -> float:
    """Student's t for a two-sided 95 % interval."""
    return T_95[freedom - 1] if freedom <= len(T_95) else 2.0


def _norm(one: float, other: float) -> float:
    return sqrt(one * one + other * other)
