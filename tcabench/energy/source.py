"""The two ways to an energy: a counter's steps, or the integral of power. Each knows its own uncertainty."""

from math import inf
from typing import Protocol

from tcabench.energy import budget
from tcabench.energy.counter import counted_j, edges, energy_at
from tcabench.energy.series import Series
from tcabench.energy.trapezoid import gap_limit_ns, gaps, integral_j, uncovered_ns
from tcabench.records import Channel, Component, NotMetered
from tcabench.units import seconds


class Source(Protocol):
    """One channel's samples, as a way to the energy of its domain."""

    @property
    def method(self) -> str:
        """ "counter" or "integral"."""
        ...

    @property
    def channel(self) -> Channel: ...

    @property
    def series(self) -> Series: ...

    def energy_j(self, start_ns: int, end_ns: int) -> float | NotMetered:
        """Energy in J over [start_ns, end_ns], above 0, or why it cannot be told."""
        ...

    def part_j(self, start_ns: int, end_ns: int) -> float:
        """Energy in J of a part of a span for which `energy_j` gave a number."""
        ...

    def components(self, start_ns: int, end_ns: int, energy_j: float) -> tuple[Component, ...]:
        """The budget of that energy."""
        ...


class ByCounter:
    """Energy from the steps of a counter. Gaps between samples do no harm: it counted on meanwhile."""

    method = "counter"

    def __init__(self, channel: Channel, series: Series) -> None:
        self.channel, self.series = channel, series
        self._steps = edges(series, channel.update_ns, channel.period_ns)

    def energy_j(self, start_ns: int, end_ns: int) -> float | NotMetered:
        reach_ns = max(gap_limit_ns(self.channel.period_ns), 2 * self.channel.update_ns)
        counted = counted_j(self._steps, start_ns, end_ns, reach_ns)
        if isinstance(counted, NotMetered):
            return NotMetered(f"{self.channel.id}: {counted.why}")
        return counted if 0 < counted < inf else _nothing(self.channel)

    def part_j(self, start_ns: int, end_ns: int) -> float:
        return energy_at(self._steps, end_ns) - energy_at(self._steps, start_ns)

    def components(self, start_ns: int, end_ns: int, energy_j: float) -> tuple[Component, ...]:
        return (
            budget.gain(self.channel),
            budget.counter_steps(self.channel, self._steps, start_ns, end_ns, energy_j),
            budget.clock(self.series, start_ns, end_ns, rate=False),
        )


class ByIntegral:
    """Energy as the integral of power readings. A gap leaves a hole that nothing fills.

    A reading that changes every T, or is a mean over T, tells of T/2 ago on average: each is put back by that much
    (Yang, Adamek, Armour, SC24, doi 10.1109/SC41406.2024.00028). What is left of it is the component "reading lag".
    """

    method = "integral"

    def __init__(self, channel: Channel, series: Series) -> None:
        back_ns = channel.update_ns // 2
        t_ns = tuple(t_ns - back_ns for t_ns in series.t_ns) if back_ns else series.t_ns
        self.channel, self.series = channel, Series(t_ns, series.read_ns, series.value)

    def energy_j(self, start_ns: int, end_ns: int) -> float | NotMetered:
        limit_ns = gap_limit_ns(self.channel.period_ns)
        number, longest_s = gaps(self.series, start_ns, end_ns, limit_ns)
        if number:
            return NotMetered(
                f"{self.channel.id}: {number} gap(s) in the readings, the longest {longest_s:.3f} s: no more than "
                f"{seconds(limit_ns):g} s may be bridged"
            )
        if uncovered_ns(self.series, start_ns, end_ns) >= end_ns - start_ns:
            return NotMetered(f"{self.channel.id}: not one reading in {seconds(end_ns - start_ns):g} s")
        integral = integral_j(self.series, start_ns, end_ns)
        return integral if 0 < integral < inf else _nothing(self.channel)

    def part_j(self, start_ns: int, end_ns: int) -> float:
        return integral_j(self.series, start_ns, end_ns)

    def components(self, start_ns: int, end_ns: int, energy_j: float) -> tuple[Component, ...]:
        return (
            budget.gain(self.channel),
            budget.sampling(self.channel, self.series, start_ns, end_ns, energy_j),
            budget.reading_lag(self.channel, self.series, start_ns, end_ns, energy_j),
            budget.clock(self.series, start_ns, end_ns, rate=True),
        )


def _nothing(channel: Channel) -> NotMetered:
    return NotMetered(f"{channel.id} shows no energy at all: whatever runs draws power, so this meter reads nothing")
