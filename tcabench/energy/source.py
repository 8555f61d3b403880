"""The two ways to an energy: a counter's steps, or the integral of power. Each knows its own uncertainty."""

from collections.abc import Callable
from math import inf, sqrt
from typing import Protocol

from tcabench.energy import budget
from tcabench.energy.counter import counted_j, edges, energy_at, not_made_up_j, stood_still, usual_j, usual_ns
from tcabench.energy.mend import mended, unsure_wraps
from tcabench.energy.sampling import sampling
from tcabench.energy.series import Series
from tcabench.energy.trapezoid import gap_limit_ns, gaps, integral_j, uncovered_ns
from tcabench.records import Alignment, Channel, Component, Instrument, NotMetered
from tcabench.timeline.track import own_delay_ns
from tcabench.units import seconds

MARKER, HOST = "load marker", "host clock"
SINGLE_DIGITS = 1.5  # a usual step of no more than this many last digits is one digit
Drawn = Callable[[int, int], float | None]


def nothing_drawn(start_ns: int, end_ns: int) -> None:
    """What is known of the energy where there are no power readings."""


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

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the readings, in words."""
        ...

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
    """Energy from the steps of a counter. Gaps between samples do no harm: it counted on meanwhile.

    `drawn_j` tells the energy in J by power readings, where there are any: a pause of the counter is held against it.
    `was_frozen`: some of its readings were left out, for the counter stood still.
    """

    method = "counter"

    def __init__(
        self,
        channel: Channel,
        series: Series,
        alignment: Alignment | None = None,
        drawn_j: Drawn = nothing_drawn,
        was_frozen: bool = False,
    ) -> None:
        sound = mended(series, channel.modulus, channel.resolution)
        self.channel, self.series, self.notes = channel, sound.series, sound.notes
        self._alignment, self._drawn_j, self._was_frozen = alignment, drawn_j, was_frozen
        seen = edges(sound.series, channel.update_ns, channel.period_ns, sound.leap_ns)
        digit_j = budget.shown_j(channel, seen)
        self._steps = edges(sound.series, channel.update_ns, channel.period_ns, sound.leap_ns, digit_j)
        self._pause_ns = max(gap_limit_ns(channel.period_ns), 5 * channel.update_ns)
        self._reach_ns = max(gap_limit_ns(channel.period_ns, channel.update_ns), 2 * usual_ns(self._steps))
        in_single_digits = 0 < usual_j(self._steps) <= SINGLE_DIGITS * channel.resolution
        self._most_j = channel.resolution if in_single_digits else inf

    def energy_j(self, start_ns: int, end_ns: int) -> float | NotMetered:
        if why := self._unread(start_ns, end_ns):
            return NotMetered(f"{self.channel.id}: {why}")
        counted = counted_j(self._steps, start_ns, end_ns, self._reach_ns, self._most_j)
        if isinstance(counted, NotMetered):
            return NotMetered(f"{self.channel.id}: {counted.why}")
        if why := stood_still(self._steps, start_ns, end_ns, self._pause_ns, self._expected_j):
            return NotMetered(f"{self.channel.id}: {why}")
        if why := self._overrun(start_ns, end_ns):
            return NotMetered(f"{self.channel.id}: {why}")
        return counted if 0 < counted < inf else _nothing(self.channel)

    def part_j(self, start_ns: int, end_ns: int) -> float:
        return energy_at(self._steps, end_ns, self._most_j) - energy_at(self._steps, start_ns, self._most_j)

    def components(self, start_ns: int, end_ns: int, energy_j: float) -> tuple[Component, ...]:
        swing_w = budget.counter_swing_w(self._steps, start_ns, end_ns)
        placed = budget.alignment(self._alignment, swing_w, energy_j)
        open_j = not_made_up_j(self._steps, start_ns, end_ns, self._pause_ns, self._expected_j)
        paused = budget.pause(open_j, energy_j)
        return (
            budget.gain(self.channel),
            budget.last_digit_j(self.channel, self._steps, start_ns, end_ns, energy_j),
            budget.counter_edges(self._steps, start_ns, end_ns, energy_j),
            *(part for part in (placed, paused) if part),
            budget.clock(self.series, start_ns, end_ns, 1.0, rate=False),
        )

    def _expected_j(self, from_ns: int, to_ns: int, rate: float) -> float:
        """What a pause of the counter must have cost in J: by the power readings; without them at `rate`, if the
        counter was seen to stand still, and nothing where it was only not read."""
        drawn_j = self._drawn_j(from_ns, to_ns)
        if drawn_j is not None:
            return drawn_j
        was_read = not gaps(self.series, from_ns, to_ns, self._pause_ns)[0]
        return rate * (to_ns - from_ns) if was_read or self._was_frozen else 0.0

    def _overrun(self, start_ns: int, end_ns: int) -> str:
        """Why nobody knows how often the counter wrapped unseen, "" where its readings or those of power tell."""
        modulus = self.channel.modulus
        for from_ns, to_ns, rose_j in unsure_wraps(self.series, modulus, start_ns, end_ns) if modulus > 0 else ():
            drawn_j = self._drawn_j(from_ns, to_ns)
            if drawn_j is None or 2 * abs(drawn_j - rose_j) > modulus:
                return (
                    f"the counter wraps at {modulus:g} J and was not read for {seconds(to_ns - from_ns):.3f} s, in "
                    "which it may have wrapped more often than seen: read it more often"
                )
        return ""

    def _unread(self, start_ns: int, end_ns: int) -> str:
        """Why the readings do not reach both ends, "" if they do: a step that nobody saw may have come there."""
        if not self.series.t_ns:
            return f"not one reading in {seconds(end_ns - start_ns):g} s"
        limit_ns = gap_limit_ns(self.channel.period_ns, self.channel.update_ns)
        if (late_ns := self.series.t_ns[0] - start_ns) > limit_ns:
            return f"the first reading came {seconds(late_ns):.3f} s after the start"
        if (early_ns := end_ns - self.series.t_ns[-1]) > limit_ns:
            return f"the last reading came {seconds(early_ns):.3f} s before the end"
        return ""


class ByIntegral:
    """Energy as the integral of power readings. A gap leaves a hole that nothing fills.

    A reading that changes every T and is a mean over A tells of (T + A)/2 ago on average: each is put back by that much
    (Yang, Adamek, Armour, SC24, doi 10.1109/SC41406.2024.00028). One that carries the meter's own time-stamp is put
    back by A/2 alone, and none where a load marker has measured the whole delay. What is left is in the budget.
    """

    method = "integral"
    notes: tuple[str, ...] = ()

    def __init__(self, channel: Channel, series: Series, alignment: Alignment | None = None) -> None:
        self.channel, self.series = channel, _later(series, -delay_ns(channel, alignment))
        self._alignment = alignment

    def energy_j(self, start_ns: int, end_ns: int) -> float | NotMetered:
        limit_ns = gap_limit_ns(self.channel.period_ns, self.channel.update_ns)
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

    def drawn_j(self, start_ns: int, end_ns: int) -> float | None:
        """Energy in J over a span, None where it cannot be told."""
        drawn = self.energy_j(start_ns, end_ns)
        return None if isinstance(drawn, NotMetered) else drawn

    def components(self, start_ns: int, end_ns: int, energy_j: float) -> tuple[Component, ...]:
        channel, series = self.channel, self.series
        swing_w = budget.power_swing_w(channel, series, start_ns, end_ns)
        placed = budget.alignment(self._alignment, swing_w, energy_j)
        known = self._alignment is not None and self._alignment.method == MARKER
        moved_rel = swing_w * (end_ns - start_ns) / 1e9 / energy_j
        return (
            budget.gain(channel),
            budget.last_digit_w(channel, end_ns - start_ns, energy_j),
            sampling(channel, series, start_ns, end_ns, energy_j),
            budget.power_edges(channel, series, start_ns, end_ns, energy_j, delay_known=known),
            *((placed,) if placed else ()),
            budget.clock(series, start_ns, end_ns, moved_rel, rate=True),
        )


def delay_ns(channel: Channel, alignment: Alignment | None) -> int:
    """How long ago, on average, that was of which a reading of this channel tells, beyond what was moved already."""
    method = alignment.method if alignment else HOST
    if method == MARKER:
        return 0
    if channel.has_own_clock and method != HOST:
        return channel.average_ns // 2
    return own_delay_ns(channel)


def _later(series: Series, by_ns: int) -> Series:
    return Series(tuple(t_ns + by_ns for t_ns in series.t_ns), series.read_ns, series.value) if by_ns else series


def zero_up_j(power: ByIntegral, start_ns: int, end_ns: int) -> float | None:
    """What a meter that reads exactly 0 W from `start_ns` to `end_ns` may have missed in J: its last digit, which may
    be cut off, as a rectangular limit (k = 2). None where it reads something or too seldom, is not an outer meter
    (chips that run draw power), or states no last digit, so that nobody knows how near to nothing 0 is."""
    channel, series = power.channel, power.series
    if (
        channel.instrument not in (Instrument.METER, Instrument.BMC)
        or channel.is_estimate
        or not channel.resolution > 0
    ):
        return None
    limit_ns = gap_limit_ns(channel.period_ns, channel.update_ns)
    if gaps(series, start_ns, end_ns, limit_ns)[0] or uncovered_ns(series, start_ns, end_ns) >= end_ns - start_ns:
        return None
    if any(w for t_ns, w in zip(series.t_ns, series.value, strict=True) if start_ns <= t_ns <= end_ns):
        return None
    if integral_j(series, start_ns, end_ns) != 0:
        return None
    return 2 / sqrt(3) * channel.resolution * seconds(end_ns - start_ns)


def _nothing(channel: Channel) -> NotMetered:
    return NotMetered(f"{channel.id} shows no energy at all: whatever runs draws power, so this meter reads nothing")
