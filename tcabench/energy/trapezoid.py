"""Energy as the integral of power readings: straight lines between samples, gaps never bridged."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import fsum

from tcabench.energy.series import Series
from tcabench.units import NS_PER_S, seconds


def integral_j(power: Series, start_ns: int, end_ns: int) -> float:
    """Energy in J over [start_ns, end_ns]: the trapezoid rule, interpolated at both ends.

    Where no sample lies before the start or after the end, the nearest reading is held; `uncovered_ns` says for
    how long. raises: ValueError for an empty series.
    """
    first, last = bisect_right(power.t_ns, start_ns), bisect_left(power.t_ns, end_ns)
    t_ns = [start_ns, *power.t_ns[first:last], end_ns]
    p_w = [power_at(power, start_ns), *power.value[first:last], power_at(power, end_ns)]
    return fsum((t_ns[i + 1] - t_ns[i]) * (p_w[i] + p_w[i + 1]) for i in range(len(t_ns) - 1)) / (2 * NS_PER_S)


def power_at(power: Series, t_ns: int) -> float:
    """Power in W at an instant, on the straight line between its neighbours; the nearest reading outside the series.

    raises: ValueError for an empty series.
    """
    if not power.t_ns:
        raise ValueError("a series without samples has no power at any time")
    after = bisect_right(power.t_ns, t_ns)
    if after == 0 or after == len(power.t_ns):
        return power.value[max(0, after - 1)]
    t0, t1 = power.t_ns[after - 1], power.t_ns[after]
    p0, p1 = power.value[after - 1], power.value[after]
    return p0 + (p1 - p0) * ((t_ns - t0) / (t1 - t0))


def gap_limit_ns(period_ns: int, update_ns: int = 0) -> int:
    """The longest pause between samples over which a straight line is drawn: 1 s, or 5 periods, or 2 updates, of a
    slower meter."""
    return max(NS_PER_S, 5 * period_ns, 2 * update_ns)


def gaps(series: Series, start_ns: int, end_ns: int, limit_ns: int) -> tuple[int, float]:
    """(how many pauses touching [start_ns, end_ns] are longer than the limit, the longest of them in s or 0.0)."""
    before, after = bisect_right(series.t_ns, start_ns), bisect_left(series.t_ns, end_ns)
    t_ns = [
        series.t_ns[before - 1] if before > 0 else start_ns,
        *series.t_ns[before:after],
        series.t_ns[after] if after < len(series.t_ns) else end_ns,
    ]
    pauses_ns = [t_ns[i + 1] - t_ns[i] for i in range(len(t_ns) - 1) if t_ns[i + 1] - t_ns[i] > limit_ns]
    return len(pauses_ns), seconds(max(pauses_ns, default=0))


def uncovered_ns(series: Series, start_ns: int, end_ns: int) -> int:
    """How much of [start_ns, end_ns] lies before the first sample or after the last, in ns."""
    if not series.t_ns:
        return end_ns - start_ns
    return min(end_ns - start_ns, max(0, series.t_ns[0] - start_ns) + max(0, end_ns - series.t_ns[-1]))


def peak_w(powers: Sequence[Series], start_ns: int, end_ns: int) -> float | None:
    """The highest sum of the powers in W at any sample within [start_ns, end_ns]; None without a sample there."""
    inside = [power.t_ns[bisect_left(power.t_ns, start_ns) : bisect_right(power.t_ns, end_ns)] for power in powers]
    if not powers or not all(inside):
        return None
    t_ns = sorted({t for times in inside for t in times})
    return max(map(fsum, zip(*(_resampled(power, t_ns) for power in powers), strict=True)))


def _resampled(power: Series, t_ns: Sequence[int]) -> list[float]:
    """Power at each of the rising `t_ns`, walking the series once."""
    values, after = [], 0
    for t in t_ns:
        while after < len(power.t_ns) and power.t_ns[after] <= t:
            after += 1
        if after == 0 or after == len(power.t_ns):
            values.append(power.value[max(0, after - 1)])
            continue
        t0, p0 = power.t_ns[after - 1], power.value[after - 1]
        values.append(p0 + (power.value[after] - p0) * ((t - t0) / (power.t_ns[after] - t0)))
    return values
