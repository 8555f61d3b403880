"""Power over time as a running sum on an even grid, so that its mean over any span is two look-ups."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tcabench.units import NS_PER_S, seconds

STEP_NS = 20_000_000
MOST_STEPS = 30_000


@dataclass(frozen=True, slots=True)
class Curve:
    """`sums[k]` is the energy in J (or any other running sum) at `start_ns` + k * `step_s`, straight lines between.

    `delay_s` is how far a filter has moved it back on average (0: none).
    """

    start_ns: int
    step_s: float
    sums: tuple[float, ...]
    delay_s: float = 0.0

    @property
    def length_s(self) -> float:
        """How far it reaches, less half a step."""
        return self.step_s * (len(self.sums) - 1.5)

    def at(self, t_s: float) -> float:
        """The running sum `t_s` after the start; beyond either end the last one there was."""
        place = min(max(t_s / self.step_s, 0.0), len(self.sums) - 1.0)
        cell = min(int(place), len(self.sums) - 2)
        return self.sums[cell] + (place - cell) * (self.sums[cell + 1] - self.sums[cell])


def power_curve(t_ns: Sequence[int], power: Sequence[float], start_ns: int, end_ns: int) -> Curve:
    """The running integral of readings, straight lines between them, the nearest held before and after."""
    sums = [0.0]
    for i in range(1, len(t_ns)):
        sums.append(sums[-1] + seconds(t_ns[i] - t_ns[i - 1]) * (power[i] + power[i - 1]) / 2)

    def integral(t: int) -> float:
        after = bisect_right(t_ns, t)
        if after == 0:
            return seconds(t - t_ns[0]) * power[0]
        if after == len(t_ns):
            return sums[-1] + seconds(t - t_ns[-1]) * power[-1]
        share = (t - t_ns[after - 1]) / (t_ns[after] - t_ns[after - 1])
        here = power[after - 1] + share * (power[after] - power[after - 1])
        return sums[after - 1] + seconds(t - t_ns[after - 1]) * (power[after - 1] + here) / 2

    step_ns = _step_ns(start_ns, end_ns)
    return Curve(start_ns, seconds(step_ns), tuple(integral(t) for t in range(start_ns, end_ns + step_ns, step_ns)))


def sum_curve(t_ns: Sequence[int], sums: Sequence[float], start_ns: int, end_ns: int) -> Curve:
    """A running sum that is known at some instants, straight lines between them, flat before and after."""

    def known(t: int) -> float:
        after = bisect_right(t_ns, t)
        if after == 0 or after == len(t_ns):
            return sums[max(0, after - 1)] - sums[0]
        share = (t - t_ns[after - 1]) / (t_ns[after] - t_ns[after - 1])
        return sums[after - 1] - sums[0] + share * (sums[after] - sums[after - 1])

    step_ns = _step_ns(start_ns, end_ns)
    return Curve(start_ns, seconds(step_ns), tuple(known(t) for t in range(start_ns, end_ns + step_ns, step_ns)))


def smoothed(curve: Curve, tau_s: float) -> Curve:
    """What a first-order filter with time constant `tau_s` makes of it: y' = (x - y) / tau, by the midpoint rule."""
    h, sums = curve.step_s, [0.0]
    y = (curve.sums[1] - curve.sums[0]) / h
    for i in range(1, len(curve.sums)):
        x = (curve.sums[i] - curve.sums[i - 1]) / h
        before, y = y, (y * (2 * tau_s - h) + 2 * h * x) / (2 * tau_s + h)
        sums.append(sums[-1] + h * (before + y) / 2)
    return Curve(curve.start_ns, h, tuple(sums), curve.delay_s + tau_s)


def _step_ns(start_ns: int, end_ns: int) -> int:
    """20 ms, or longer where that would make too many."""
    return max(STEP_NS, (end_ns - start_ns) // MOST_STEPS)


def since_s(curve: Curve, t_ns: int) -> float:
    """An instant of the run, in s since the curve's start."""
    return (t_ns - curve.start_ns) / NS_PER_S
